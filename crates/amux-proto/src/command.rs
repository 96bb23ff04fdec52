//! Orders. One noun a module, one verb a struct; the verb's name is its CLI file, its decide function and its
//! TypeScript type. References to things are text (`name`, `name@team`, an id, the end of an id) and are resolved
//! where the order is decided, so that a name can never change its meaning in between.

pub mod agent;
pub mod host;
pub mod kind;
pub mod layout;
pub mod message;
pub mod pane;
pub mod policy;
pub mod request;
pub mod run;
pub mod setting;
pub mod tab;
pub mod team;
pub mod workspace;

nouns! {
    /// Everything that can be ordered of the writer.
    Command {
        Team(team), Agent(agent), Run(run), Workspace(workspace), Tab(tab), Pane(pane), Layout(layout),
        Request(request), Message(message), Setting(setting), Host(host),
        Kind(kind), Policy(policy),
    }
}

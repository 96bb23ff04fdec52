//! The command line: what can be said, and who does it.

mod agent;
mod archive;
mod ask;
mod attach;
mod bare;
mod config;
mod doctor;
mod down;
mod events;
mod import;
mod inbox;
mod layout;
mod letter;
mod log;
mod ls;
mod mail;
mod mcp;
mod message;
mod msg;
mod open;
mod pane;
mod policy;
mod request;
mod server;
mod tab;
mod team;
mod up;
mod wait;
mod workspace;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::context::Context;
use crate::relay;
use crate::report::Failure;

pub(crate) use wait::until;

/// Runs a team of coding agents on your machine, keeps them alive and shows what each is doing.
#[derive(Parser)]
#[command(
    name = "agentmux",
    version,
    disable_help_subcommand = true,
    after_help = "Example: agentmux new api --agent shell"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Args)]
pub(crate) struct Global {
    /// One data root with one server; else AGENTMUX_PROFILE, else default
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Where the server keeps everything; else AGENTMUX_STATE_DIR
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Where settings are; else AGENTMUX_CONFIG_DIR
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) config_dir: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print nothing when it worked
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Never start a server
    #[arg(long, global = true)]
    pub(crate) no_start: bool,
    /// When to colour; NO_COLOR is respected
    #[arg(long, global = true, value_enum, default_value = "auto")]
    pub(crate) color: Color,
    /// Refuse when the thing named first has another revision by now
    #[arg(long, global = true, value_name = "REV", hide = true)]
    pub(crate) expect: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a team as its file says, and start its agents
    #[command(after_help = "Example: agentmux up --dry-run")]
    Up(up::Up),
    /// Stop the agents of a team
    #[command(after_help = "Example: agentmux down shop")]
    Down(down::Down),
    /// List agents that run or wait for something
    #[command(after_help = "Example: agentmux ls --all")]
    Ls(ls::Ls),
    /// Show one agent in full, with the evidence for its state
    #[command(after_help = "Example: agentmux show api")]
    Show(agent::Show),
    /// Create an agent and start it
    #[command(after_help = "Example: agentmux new build --agent cmd -- make -j4")]
    New(agent::New),
    /// Start an agent
    #[command(after_help = "Example: agentmux start api")]
    Start(agent::Start),
    /// Stop an agent and everything it started
    #[command(after_help = "Example: agentmux stop api")]
    Stop(agent::Stop),
    /// Stop an agent and start it again
    #[command(after_help = "Example: agentmux restart api")]
    Restart(agent::Stop),
    /// Remove an agent
    #[command(after_help = "Example: agentmux rm api --stop")]
    Rm(agent::Rm),
    /// Give an agent another name
    #[command(after_help = "Example: agentmux rename api backend")]
    Rename(agent::Rename),
    /// Give agents work, or tell them something
    #[command(after_help = "Example: agentmux send api -m 'run the tests' --wait acked")]
    Send(message::Send),
    /// Send a message, wait for the answer and print it
    #[command(after_help = "Example: agentmux ask api -m 'which port do you use?' --timeout 10m")]
    Ask(ask::Ask),
    /// What came for you; for a person, everything that waits for one
    #[command(after_help = "Example: agentmux inbox --unread")]
    Inbox(inbox::Inbox),
    /// Acknowledge messages: seen and taken
    #[command(after_help = "Example: agentmux ack 3f9a21c0")]
    Ack(msg::Ack),
    /// Answer a message
    #[command(after_help = "Example: agentmux reply 3f9a21c0 -m 'on port 8080'")]
    Reply(msg::Reply),
    /// What waits for an agent, in the order it will be given, and why it waits
    #[command(after_help = "Example: agentmux queue api")]
    Queue(msg::Queue),
    /// Messages: look at one, take it back, change it, find out what became of it
    #[command(subcommand, after_help = "Example: agentmux msg show 3f9a21c0")]
    Msg(msg::Msg),
    /// When an agent may be given its mail
    #[command(after_help = "Example: agentmux mail api --pause")]
    Mail(mail::Mail),
    /// End an agent's running turn; the agent stays
    #[command(after_help = "Example: agentmux interrupt api")]
    Interrupt(agent::Named),
    /// What an agent said and did
    #[command(after_help = "Example: agentmux log api -f")]
    Log(log::Log),
    /// Show an agent's screen, or the end of what it said
    #[command(after_help = "Example: agentmux look api --lines 40")]
    Look(agent::Look),
    /// Press keys in an agent's terminal
    #[command(after_help = "Example: agentmux keys api 'git status' Enter")]
    Keys(agent::Keys),
    /// Use an agent's terminal, full-screen; C-\ d leaves it
    #[command(after_help = "Example: agentmux attach api")]
    Attach(attach::Attach),
    /// Block until agents are in a state
    #[command(after_help = "Example: agentmux wait build --for offline,failed --timeout 5m")]
    Wait(wait::Wait),
    /// Create, list, rename and remove teams
    #[command(subcommand, after_help = "Example: agentmux team create shop")]
    Team(team::Team),
    /// Workspaces: ordered sets of tabs
    #[command(subcommand, after_help = "Example: agentmux workspace create review")]
    Workspace(workspace::Workspace),
    /// Tabs: one layout each
    #[command(subcommand, after_help = "Example: agentmux tab create review --name logs")]
    Tab(tab::Tab),
    /// Panes: views of agents, where they are placed
    #[command(subcommand, after_help = "Example: agentmux pane open --agent api --tab logs")]
    Pane(pane::Pane),
    /// The layout as a tree; sizes; undo of a close
    #[command(subcommand, after_help = "Example: agentmux layout show")]
    Layout(layout::Layout),
    /// What waits for a human
    #[command(after_help = "Example: agentmux requests")]
    Requests,
    /// Allow what an agent asks for
    #[command(after_help = "Example: agentmux approve 3f9a21c0")]
    Approve(request::Approve),
    /// Refuse what an agent asks for
    #[command(after_help = "Example: agentmux deny 3f9a21c0 -m 'not on main'")]
    Deny(request::Deny),
    /// Answer what an agent asks
    #[command(after_help = "Example: agentmux answer 3f9a21c0 1")]
    Answer(request::Answer),
    /// The event stream as JSON lines
    #[command(after_help = "Example: agentmux events -f --topic agent")]
    Events(events::Events),
    /// The tools of an agent for its MCP host, on standard streams
    #[command(after_help = "Example: agentmux mcp")]
    Mcp(mcp::Mcp),
    /// Use the web interface: open it in a browser, signed in
    #[command(after_help = "Example: agentmux open --print")]
    Open(open::Open),
    /// Browsers that are signed in: list them, sign them out
    #[command(after_help = "Example: agentmux sessions")]
    Sessions(open::Sessions),
    /// Start, stop and look after the server
    #[command(subcommand, after_help = "Example: agentmux server status")]
    Server(server::Server),
    /// Check every part, with remedies; works without a server
    #[command(after_help = "Example: agentmux doctor")]
    Doctor,
    /// A part of the server in detail
    #[command(after_help = "Example: agentmux diag boot")]
    Diag(doctor::Diag),
    /// Runs that were packed away: list, bring back, copy out
    #[command(subcommand, after_help = "Example: agentmux archive ls")]
    Archive(archive::Archive),
    /// Settings: check the file, show what holds, print where it is
    #[command(subcommand, after_help = "Example: agentmux config show")]
    Config(config::Config),
    /// What agents may do to each other
    #[command(subcommand, after_help = "Example: agentmux policy show")]
    Policy(policy::Policy),
    /// Team files from what another tool was configured with
    #[command(subcommand, after_help = "Example: agentmux import relay ~/.config/agentmux")]
    Import(import::Import),
    /// Shell completions
    #[command(after_help = "Example: agentmux completions bash > ~/.local/share/bash-completion/completions/agentmux")]
    Completions { shell: clap_complete::Shell },
    /// The version of this program, and of the server when one runs
    #[command(after_help = "Example: agentmux version")]
    Version,
    /// Roles that the program plays for itself
    #[command(subcommand, hide = true)]
    Internal(Internal),
}

#[derive(Subcommand)]
enum Internal {
    /// Runs an agent's turns one by one
    Relay,
}

/// What was said. The description of every command is made only where it is wanted: for one that scripts say a
/// thousand times, making and dropping all of them would cost more than saying it.
pub(crate) fn parse(said: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = match of_one(said).and_then(|only| matched(only, said).ok()) {
        Some(matches) => matches,
        // Whatever is not understood is explained by the whole.
        None => matched(Cli::command(), said)?,
    };
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut Cli::command()))
}

fn matched(mut command: Command, said: &[OsString]) -> Result<clap::ArgMatches, clap::Error> {
    let matches = command.try_get_matches_from_mut(said);
    // The process is about to do one thing and end; thousands of small pieces are not taken apart before.
    std::mem::forget(command);
    matches
}

/// A command line that knows one verb only, if it is one of those that agents and scripts say.
fn of_one(said: &[OsString]) -> Option<Command> {
    type Describe = fn(Command) -> Command;
    const OFTEN: [(&str, Describe); 12] = [
        ("ack", msg::Ack::augment_args),
        ("ask", ask::Ask::augment_args),
        ("inbox", inbox::Inbox::augment_args),
        ("keys", agent::Keys::augment_args),
        ("log", log::Log::augment_args),
        ("look", agent::Look::augment_args),
        ("ls", ls::Ls::augment_args),
        ("queue", msg::Queue::augment_args),
        ("reply", msg::Reply::augment_args),
        ("send", message::Send::augment_args),
        ("show", agent::Show::augment_args),
        ("wait", wait::Wait::augment_args),
    ];
    const FLAGS: [&str; 4] = ["--json", "--quiet", "-q", "--no-start"];
    let mut words = said.iter().skip(1).map(|word| word.to_str().unwrap_or_default());
    let verb = words.find(|word| !FLAGS.contains(word))?;
    let (name, describe) = OFTEN.iter().find(|(name, _)| *name == verb)?;
    // Help is about the whole: what a command is for and its example are said there.
    let one = describe(Command::new(*name)).disable_help_flag(true);
    let command = Command::default().name("agentmux").disable_help_subcommand(true).disable_help_flag(true);
    Some(Global::augment_args(command).subcommand(one))
}

pub(crate) fn run(cli: Cli) -> Result<ExitCode, Failure> {
    // Needs no place to be: the packager of a distribution has no home.
    if let Some(Verb::Completions { shell }) = cli.verb {
        clap_complete::generate(shell, &mut Cli::command(), "agentmux", &mut std::io::stdout());
        return Ok(ExitCode::SUCCESS);
    }
    // Its place is the agent's, and all it knows comes over its stdin.
    if let Some(Verb::Internal(Internal::Relay)) = cli.verb {
        return Ok(relay::run());
    }
    let context = Context::new(&cli.global)?;
    let Some(verb) = cli.verb else { return bare::run(&context) };
    match verb {
        Verb::Up(up) => up.run(&context),
        Verb::Down(down) => down.run(&context),
        Verb::Ls(ls) => ls.run(&context),
        Verb::Show(show) => show.run(&context),
        Verb::New(new) => new.run(&context),
        Verb::Start(start) => agent::start(&context, &start),
        Verb::Stop(stop) => agent::stop(&context, &stop),
        Verb::Restart(stop) => agent::restart(&context, &stop),
        Verb::Rm(rm) => rm.run(&context),
        Verb::Rename(rename) => rename.run(&context),
        Verb::Send(send) => send.run(&context),
        Verb::Ask(ask) => ask.run(&context),
        Verb::Inbox(inbox) => inbox.run(&context),
        Verb::Ack(ack) => ack.run(&context),
        Verb::Reply(reply) => reply.run(&context),
        Verb::Queue(queue) => queue.run(&context),
        Verb::Msg(msg) => msg.run(&context),
        Verb::Mail(mail) => mail.run(&context),
        Verb::Interrupt(named) => agent::interrupt(&context, &named),
        Verb::Log(log) => log.run(&context),
        Verb::Approve(approve) => approve.run(&context),
        Verb::Deny(deny) => deny.run(&context),
        Verb::Answer(answer) => answer.run(&context),
        Verb::Look(look) => look.run(&context),
        Verb::Keys(keys) => keys.run(&context),
        Verb::Attach(attach) => attach.run(&context),
        Verb::Wait(wait) => wait.run(&context),
        Verb::Team(team) => team.run(&context),
        Verb::Workspace(workspace) => workspace.run(&context),
        Verb::Tab(tab) => tab.run(&context),
        Verb::Pane(pane) => pane.run(&context),
        Verb::Layout(layout) => layout.run(&context),
        Verb::Requests => request::list(&context),
        Verb::Events(events) => events.run(&context),
        Verb::Mcp(mcp) => mcp.run(&context, &cli.global),
        Verb::Open(open) => open.run(&context),
        Verb::Sessions(sessions) => sessions.run(&context),
        Verb::Server(server) => server.run(&context),
        Verb::Doctor => doctor::run(&context),
        Verb::Diag(diag) => diag.run(&context),
        Verb::Archive(archive) => archive.run(&context),
        Verb::Config(config) => config.run(&context),
        Verb::Policy(policy) => policy.run(&context),
        Verb::Import(import) => import.run(&context),
        Verb::Completions { .. } | Verb::Internal(_) => Ok(ExitCode::SUCCESS),
        Verb::Version => server::version(&context),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::Path;

    use clap::{CommandFactory as _, Parser as _};

    use super::{Cli, matched, of_one};

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_help_has_an_example_that_can_be_said() {
        let mut command = Cli::command();
        command.build();
        let mut left = vec![command];
        while let Some(command) = left.pop() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let name = command.get_bin_name().unwrap_or_default().to_owned();
            let example = help.strip_prefix("Example: ").unwrap_or_else(|| panic!("{name} has no example"));
            // A redirection is the shell's.
            let example = example.split(" > ").next().unwrap_or_default();
            let words = words(example);
            if let Err(error) = Cli::try_parse_from(&words) {
                panic!("{words:?}: {error}");
            }
            assert!(example.starts_with(&name), "{name}: {example}");
            left.extend(command.get_subcommands().filter(|command| !command.is_hide_set()).cloned());
        }
    }

    #[test]
    fn whoever_is_told_to_say_something_can_say_it() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut left = vec![root.join("README.md"), root.join("docs"), root.join("crates"), root.join("web/src")];
        let (all, mut said) = (Cli::command(), 0);
        while let Some(path) = left.pop() {
            if path.is_dir() {
                left.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            if !path.extension().is_some_and(|kind| ["md", "rs", "ts", "svelte"].iter().any(|one| kind == *one)) {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for (at, _) in text.match_indices("agentmux ") {
                let is_quoted = text[..at].ends_with(['`', '"']) || text[..at].ends_with("then: ");
                let is_line = text[..at].ends_with('\n') && path.extension().is_some_and(|kind| kind == "md");
                let line = text[at..].split(['\n', '`', '"']).next().unwrap_or_default();
                let mut words = line.split(' ').skip(1);
                let verb = words.next().unwrap_or_default();
                let is_verb = !verb.is_empty() && verb.bytes().all(|byte| byte.is_ascii_lowercase());
                assert!(
                    !text[..at].ends_with('`') || !is_verb || all.find_subcommand(verb).is_some(),
                    "{}: {line}",
                    path.display()
                );
                let verb = all.find_subcommand(verb);
                let names = verb.map(|verb| verb.get_subcommands().map(clap::Command::get_name).collect::<Vec<_>>());
                let next = words.next().unwrap_or_default();
                let is_word = !next.is_empty() && next.bytes().all(|byte| byte.is_ascii_lowercase());
                if let Some(names) = names.filter(|names| (is_quoted || is_line) && !names.is_empty() && is_word) {
                    said += 1;
                    assert!(names.contains(&next), "{}: {line}", path.display());
                }
            }
        }
        assert!(said > 50, "{said}");
    }

    #[test]
    fn a_verb_by_itself_is_understood_as_among_all_the_others() {
        let said = |line: &str| -> Vec<OsString> { words(line).into_iter().map(OsString::from).collect() };
        let mut often = 0;
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let Some(example) = help.strip_prefix("Example: ") else { continue };
            let said = said(example);
            let Some(one) = of_one(&said) else { continue };
            often += 1;
            let (alone, among) = (matched(one, &said).unwrap(), matched(Cli::command(), &said).unwrap());
            assert_eq!(understood(&alone), understood(&among), "{example}");
        }
        assert_eq!(often, 12);
        // What it does not take, it leaves to the whole.
        let long = "agentmux send a b -m x --json --wait acked --profile other --timeout 1m --priority low";
        let alone = matched(of_one(&said(long)).unwrap(), &said(long)).unwrap();
        assert_eq!(understood(&alone), understood(&matched(Cli::command(), &said(long)).unwrap()));
        for other in
            ["agentmux send --help", "agentmux send -h", "agentmux ls --version", "agentmux look", "agentmux send"]
        {
            assert!(matched(of_one(&said(other)).unwrap(), &said(other)).is_err(), "{other}");
        }
        let flagged = said("agentmux --json -q ls --all");
        let alone = matched(of_one(&flagged).unwrap(), &flagged).unwrap();
        assert_eq!(understood(&alone), understood(&matched(Cli::command(), &flagged).unwrap()));
        for other in ["agentmux --profile ls send", "agentmux", "agentmux --json", "agentmux team ls"] {
            assert!(of_one(&said(other)).is_none(), "{other}");
        }
    }

    /// What was said and what was not, at every level; not what else could have been.
    fn understood(matches: &clap::ArgMatches) -> Vec<String> {
        let mut all: Vec<_> = matches
            .ids()
            .map(|id| format!("{id} {:?} {:?}", matches.try_get_raw(id.as_str()), matches.value_source(id.as_str())))
            .collect();
        all.sort();
        if let Some((name, of)) = matches.subcommand() {
            all.push(name.to_owned());
            all.extend(understood(of));
        }
        all
    }

    /// As a shell would split it, with single quotes.
    fn words(line: &str) -> Vec<String> {
        let mut words = Vec::new();
        for (at, part) in line.split('\'').enumerate() {
            match at % 2 {
                0 => words.extend(part.split_whitespace().map(str::to_owned)),
                _ => words.push(part.to_owned()),
            }
        }
        words
    }
}

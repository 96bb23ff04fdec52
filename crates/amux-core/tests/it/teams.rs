//! Teams, and how one goes while its agents run.

use amux_proto::Code;
use amux_proto::command::agent::{Command as AgentCommand, Create as AgentCreate};
use amux_proto::command::team::{Command, Create, Remove, Rename};
use amux_proto::entity::FlowState;

use crate::world::{World, create, exited, failed, name, remove as remove_agent, start};

#[test]
fn the_default_team_is_made_when_it_is_needed() {
    let mut world = World::new();
    assert_eq!(world.events(AgentCommand::Create(create("scout"))), ["team.created", "agent.created"]);
    assert_eq!(world.events(AgentCommand::Create(create("lead"))), ["agent.created"]);
    world.refused_with(Code::Exists, Command::Create(Create { id: None, name: name("default") }));
}

#[test]
fn names_of_teams_are_unique_and_free_again_after_a_rename() {
    let mut world = World::new();
    let shop = world.team("shop");
    world.team("lab");
    let rename = |to| Command::Rename(Rename { team: shop.to_string(), name: name(to) });
    assert_eq!(world.refused(rename("lab")).code, Code::Exists);
    assert_eq!(world.events(rename("shop")), [""; 0]);
    assert_eq!(world.events(rename("store")), ["team.renamed"]);
    world.team("shop");
}

#[test]
fn a_team_with_agents_goes_only_when_that_is_said() {
    let mut world = World::new();
    world.agent("scout");
    let refusal = world.refused(remove(false));
    assert_eq!(refusal.code, Code::Conflict);
    assert_eq!(refusal.hint.as_deref(), Some("agentmux team rm default --with-agents"));
    assert_eq!(world.events(remove(true)), ["agent.removed", "team.removed"]);
    assert!(world.state.teams.is_empty() && world.state.agents.is_empty());
}

#[test]
fn a_team_with_running_agents_goes_with_the_last_of_them() {
    let mut world = World::new();
    let (lead, scout) = (world.running("lead"), world.running("scout"));
    let going = world.running("going");
    world.agent("resting");
    world.says(remove_agent(going, true));
    assert_eq!(
        world.events(remove(true)),
        [
            "team.removing",
            "agent.removed",
            "agent.stop_wanted",
            "agent.removing",
            "agent.stop_wanted",
            "agent.removing",
            "flow.started"
        ]
    );
    assert_eq!(world.events(remove(true)), [""; 0]);
    world.refused_with(Code::Conflict, AgentCommand::Create(create("late")));
    world.refused_with(Code::Conflict, start(lead));
    assert_eq!(world.events(exited(lead, 1)), ["run.exited", "agent.removed", "flow.advanced"]);
    let waiting = world.state.flows.values().map(|flow| match &flow.state {
        FlowState::RemovingTeam { waiting, .. } => waiting.clone(),
    });
    assert_eq!(waiting.collect::<Vec<_>>(), [vec![scout, going]]);
    world.says(exited(going, 1));
    assert_eq!(world.events(exited(scout, 1)), ["run.exited", "agent.removed", "flow.finished", "team.removed"]);
    assert!(world.state.teams.is_empty() && world.state.flows.is_empty());
}

#[test]
fn a_start_that_fails_finishes_a_removal_too() {
    let mut world = World::new();
    let agent = world.agent("scout");
    world.says(start(agent));
    world.says(remove(true));
    assert_eq!(world.events(failed(agent, 1)), ["run.failed", "agent.removed", "flow.finished", "team.removed"]);
}

#[test]
fn there_are_at_most_two_hundred_teams() {
    let mut world = World::new();
    for at in 0..200 {
        world.team(&format!("t{at}"));
    }
    world.refused_with(Code::Limit, Command::Create(Create { id: None, name: name("one-more") }));
    // The default team counts as any other.
    world.refused_with(Code::Limit, AgentCommand::Create(create("scout")));
    let order = AgentCreate { team: Some("t7".into()), ..create("scout") };
    assert_eq!(world.events(AgentCommand::Create(order)), ["agent.created"]);
}

fn remove(with_agents: bool) -> Command {
    Command::Remove(Remove { team: "default".into(), with_agents })
}

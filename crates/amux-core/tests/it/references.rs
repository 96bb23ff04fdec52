//! What a reference means.

use amux_core::resolve;
use amux_proto::command::agent::{Command, Create};
use amux_proto::{AgentId, Code};
use uuid::Uuid;

use crate::world::{World, create, name};

#[test]
fn an_agent_is_meant_by_its_name_its_address_its_id_or_the_end_of_it() {
    let mut world = World::new();
    let scout = world.agent("scout");
    world.agent("lead");
    let id = scout.to_string();
    let end = &id[id.len() - 4..];
    for reference in ["scout", "SCOUT", "scout@default", "Scout@Default", &id, &id.to_uppercase(), end, &id[20..]] {
        assert_eq!(resolve::agent(&world.state, reference).map(|agent| agent.id), Ok(scout), "{reference}");
    }
    for reference in ["", "@", "scout@", "@default", "scout@shop", &id[id.len() - 3..], "scout@default@x", "\u{1F600}"]
    {
        assert_eq!(resolve::agent(&world.state, reference).unwrap_err().code, Code::NotFound, "{reference:?}");
    }
}

#[test]
fn a_bare_name_of_two_agents_is_ambiguous_and_lists_them() {
    let mut world = World::new();
    world.team("shop");
    world.agent("scout");
    world.says(Command::Create(Create { team: Some("shop".into()), ..create("scout") }));
    let refusal = resolve::agent(&world.state, "scout").unwrap_err();
    assert_eq!(refusal.code, Code::Ambiguous);
    assert_eq!(refusal.details.unwrap()["candidates"], serde_json::json!(["scout@default", "scout@shop"]));
    assert!(resolve::agent(&world.state, "scout@shop").is_ok());
}

#[test]
fn an_end_that_two_ids_share_is_ambiguous() {
    let mut world = World::new();
    for (at, tail) in [0xaaaa_1234_u128, 0xbbbb_1234].into_iter().enumerate() {
        let id = Some(AgentId(Uuid::from_u128(tail)));
        world.says(Command::Create(Create { id, ..create(&format!("a{at}")) }));
    }
    assert_eq!(resolve::agent(&world.state, "1234").unwrap_err().code, Code::Ambiguous);
    assert!(resolve::agent(&world.state, "a1234").is_ok());
    assert!(resolve::agent(&world.state, "0000-0000bbbb1234").is_ok());
}

#[test]
fn a_name_that_reads_like_the_end_of_an_id_is_a_name() {
    let mut world = World::new();
    let other = AgentId(Uuid::from_u128(0xbeef));
    world.says(Command::Create(Create { id: Some(other), ..create("lead") }));
    let named = world.agent("beef");
    assert_eq!(resolve::agent(&world.state, "beef").map(|agent| agent.id), Ok(named));
}

#[test]
fn a_mistyped_name_is_answered_with_the_nearest() {
    let mut world = World::new();
    world.agent("scout");
    world.agent("lead");
    for reference in ["scuot", "scot", "scouts", "sc", "scuot@default"] {
        let refusal = resolve::agent(&world.state, reference).unwrap_err();
        assert_eq!(refusal.hint.as_deref(), Some("did you mean scout@default?"), "{reference}");
        assert_eq!(refusal.details.unwrap()["near"], serde_json::json!(["scout@default"]));
    }
    let refusal = resolve::agent(&world.state, "nobody").unwrap_err();
    assert_eq!(
        (refusal.message.as_str(), refusal.hint.as_deref()),
        ("no such agent: nobody", Some("agentmux ls --all"))
    );
}

#[test]
fn a_workspace_is_meant_by_its_name_while_one_has_it() {
    let mut world = World::new();
    let main = world.workspace("Main");
    assert_eq!(resolve::workspace(&world.state, "main").map(|workspace| workspace.id), Ok(main));
    world.workspace("main");
    assert_eq!(resolve::workspace(&world.state, "Main").unwrap_err().code, Code::Ambiguous);
    assert!(resolve::workspace(&world.state, &main.to_string()).is_ok());
}

#[test]
fn a_team_that_is_not_there_can_be_made() {
    let mut world = World::new();
    world.team("shop");
    let hint = |reference| resolve::team(&world.state, reference).unwrap_err().hint;
    assert_eq!(hint("shpo").as_deref(), Some("did you mean shop?"));
    assert_eq!(hint("laboratory").as_deref(), Some("agentmux team create laboratory"));
    assert_eq!(hint("not a name"), None);
    assert_eq!(resolve::team(&world.state, "SHOP").map(|team| team.name.clone()), Ok(name("shop")));
}

//! Who may do what to whom by `policy.toml`, and what nobody is given by it.

use amux_core::sight::Sight;
use amux_core::{policy, view};
use amux_proto::command::agent::Command as Agent;
use amux_proto::command::policy::{Command as Policy, Load};
use amux_proto::command::setting::{Command as Setting, Set, Unset};
use amux_proto::command::{agent, message, request};
use amux_proto::entity::{KindName, May, RequestKind, Right, RuleAnswer};
use amux_proto::event::{Event, agent as agent_event, request as request_event};
use amux_proto::query::{self, Act, Query, act};
use amux_proto::{AgentId, Code, Command, Epoch, MessageId, Principal, Rejection, RunNo, Seq};
use amux_testkit::commands::{Rng, random_command};
use serde_json::json;
use uuid::Uuid;

use crate::policies::{GIVEN, verbs};
use crate::requests_and_messages::send;
use crate::world::{World, asked, create, decide_request, id, name, option, remove, restart, start, started, stop};

fn may(who: &str, rights: &[Right], to: &str) -> May {
    May { who: who.into(), rights: rights.to_vec(), to: to.into() }
}

fn load(may: &[May]) -> Policy {
    Policy::Load(Load { rules: Vec::new(), may: may.to_vec() })
}

/// lead@shop, api@shop, db@other: all of them run.
struct Office {
    world: World,
    lead: AgentId,
    api: AgentId,
    db: AgentId,
}

impl Office {
    fn new() -> Self {
        let mut world = World::new();
        world.team("shop");
        world.team("other");
        let mut make = |who: &str, team: &str| {
            let created = world.says(Agent::Create(agent::Create { team: Some(team.into()), ..create(who) }));
            let agent = AgentId(id(&created.answer, "uid"));
            world.says(start(agent));
            world.says(started(agent, 1));
            agent
        };
        let (lead, api, db) = (make("lead", "shop"), make("api", "shop"), make("db", "other"));
        Self { world, lead, api, db }
    }

    fn with(entries: &[May]) -> Self {
        let mut office = Self::new();
        office.world.says(load(entries));
        office
    }

    fn of(&self, label: &str) -> AgentId {
        match label {
            "lead@shop" => self.lead,
            "api@shop" => self.api,
            "db@other" => self.db,
            other => panic!("nobody is called {other}"),
        }
    }

    /// Whether an agent may do everything that a right is needed for, all of it or nothing.
    fn verdict(&mut self, who: AgentId, right: Right, target: AgentId) -> Result<(), Rejection> {
        let actor = principal(who);
        let reference = target.to_string();
        let state = &self.world.state;
        let order = |command: &Command| policy::may_order(state, &actor, command);
        let ask = |query: Query| policy::may_ask(state, &actor, &query);
        let acts = |act: Act| policy::may_act(state, &actor, &act);
        let each: Vec<Result<(), Rejection>> = match right {
            Right::Send => vec![order(&send(&[&reference], "x").into())],
            Right::Look => vec![
                ask(Query::Look(query::Look { agent: reference.clone(), lines: None, ansi: false })),
                ask(Query::Queue(query::Queue { agent: reference.clone() })),
                ask(Query::Processes(query::Processes { agent: reference.clone() })),
                ask(Query::Frames(query::Frames {
                    agent: reference.clone(),
                    run: None,
                    after: None,
                    before: None,
                    limit: None,
                })),
                ask(Query::Transcript(query::Transcript {
                    agent: reference,
                    run: None,
                    after: None,
                    before: None,
                    limit: None,
                })),
            ],
            Right::Mail => vec![order(&mail(&reference))],
            Right::Interrupt => vec![acts(Act::Interrupt(act::Interrupt { agent: reference }))],
            Right::Keys => vec![
                acts(Act::Keys(act::Keys { agent: reference.clone(), keys: Vec::new() })),
                acts(Act::Resize(act::Resize { agent: reference, rows: 1, cols: 2 })),
            ],
            Right::Decide => {
                let number = target.0.as_u128();
                self.world.sees(target, &[asked(number, RequestKind::Permission)]);
                let decide = decide_request(number, option("yes"));
                vec![policy::may_order(&self.world.state, &actor, &decide.into())]
            }
            Right::Start => vec![order(&start(target).into())],
            Right::Stop => vec![order(&stop(target).into())],
            Right::Create => {
                let team = self.world.the(target).team.to_string();
                let made = agent::Create { team: Some(team), ..create("made") };
                vec![order(&Agent::Create(made).into())]
            }
            Right::Remove => vec![order(&remove(target, false).into())],
        };
        assert!(each.windows(2).all(|pair| pair[0].is_ok() == pair[1].is_ok()), "{right:?}: {each:?}");
        each.into_iter().next().expect("every right is for something")
    }
}

fn principal(agent: AgentId) -> Principal {
    Principal::Agent { agent, run: RunNo(1) }
}

fn mail(agent: &str) -> Command {
    let order = agent::Mail {
        agent: agent.into(),
        paused: Some(true),
        while_working: None,
        boundary_ms: None,
        wakes_per_hour: None,
    };
    Agent::Mail(order).into()
}

fn rule(refusal: &Rejection) -> String {
    assert_eq!(refusal.code, Code::Denied, "{refusal:?}");
    assert!(refusal.hint.as_ref().is_some_and(|hint| hint.contains("policy.toml")), "{refusal:?}");
    refusal.details.as_ref().unwrap()["rule"].as_str().unwrap().to_owned()
}

#[test]
fn where_nothing_is_said_an_agent_writes_to_all_looks_at_its_team_and_no_more() {
    let mut office = Office::new();
    let (lead, api, db) = (office.lead, office.api, office.db);
    for (right, target, allowed) in Right::ALL.into_iter().flat_map(|right| {
        let own = matches!(right, Right::Send | Right::Look);
        let team = matches!(right, Right::Send | Right::Look);
        [(right, lead, own), (right, api, team), (right, db, right == Right::Send)]
    }) {
        let verdict = office.verdict(lead, right, target);
        assert_eq!(verdict.is_ok(), allowed, "{right:?} {target}: {verdict:?}");
        if let Err(refusal) = verdict {
            let own = if target == lead { ["own_keys", "own_request"] } else { ["", ""] };
            let rule = rule(&refusal);
            assert!(rule == format!("default {}", right.word()) || own.contains(&rule.as_str()), "{right:?}: {rule}");
        }
    }
}

/// Entries, who, does what, to whom, and what comes of it: nothing, or the rule that refuses it.
type Case<'a> = (&'a [May], &'a str, Right, &'a str, Result<(), &'a str>);

#[test]
fn what_the_file_says_is_what_holds() {
    use Right::{Create, Interrupt, Keys, Look, Send, Start, Stop};
    let first = "may 1 of policy.toml";
    let cases: &[Case<'_>] = &[
        // Whom an entry means.
        (&[may("lead@shop", &[Keys], "all")], "lead@shop", Keys, "db@other", Ok(())),
        (&[may("lead@shop", &[Keys], "all")], "api@shop", Keys, "db@other", Err("default keys")),
        (&[may("team:shop", &[Stop], "all")], "api@shop", Stop, "db@other", Ok(())),
        (&[may("team:shop", &[Stop], "all")], "db@other", Stop, "api@shop", Err("default stop")),
        (&[may("role:plans", &[Stop], "all")], "lead@shop", Stop, "db@other", Ok(())),
        (&[may("role:plans", &[Stop], "all")], "api@shop", Stop, "db@other", Err("default stop")),
        (&[may("agents", &[Start], "all")], "db@other", Start, "lead@shop", Ok(())),
        // Whom it lets them do it to.
        (&[may("agents", &[Keys], "team")], "lead@shop", Keys, "api@shop", Ok(())),
        (&[may("agents", &[Keys], "team")], "lead@shop", Keys, "db@other", Err(first)),
        (&[may("agents", &[Stop], "team")], "lead@shop", Stop, "lead@shop", Err(first)),
        (&[may("agents", &[Stop], "all")], "lead@shop", Stop, "lead@shop", Err(first)),
        (&[may("agents", &[Stop], "self")], "lead@shop", Stop, "lead@shop", Ok(())),
        (&[may("agents", &[Stop], "self")], "lead@shop", Stop, "api@shop", Err(first)),
        (&[may("agents", &[Interrupt], "db@other")], "lead@shop", Interrupt, "db@other", Ok(())),
        (&[may("agents", &[Interrupt], "db@other")], "lead@shop", Interrupt, "api@shop", Err(first)),
        (&[may("agents", &[Look], "team:other")], "lead@shop", Look, "db@other", Ok(())),
        (&[may("agents", &[Create], "team")], "lead@shop", Create, "api@shop", Ok(())),
        (&[may("agents", &[Create], "team")], "lead@shop", Create, "db@other", Err(first)),
        (&[may("agents", &[Create], "team:other")], "lead@shop", Create, "db@other", Ok(())),
        // What is said takes the place of the default; several entries add up.
        (&[may("lead@shop", &[Send], "team")], "lead@shop", Send, "db@other", Err(first)),
        (&[may("lead@shop", &[Send], "team")], "api@shop", Send, "db@other", Ok(())),
        (&[may("agents", &[Look], "nobody")], "lead@shop", Look, "api@shop", Err(first)),
        (&[may("agents", &[Look], "nobody")], "lead@shop", Look, "lead@shop", Ok(())),
        (&[may("agents", &[Look], "nobody"), may("lead@shop", &[Look], "all")], "lead@shop", Look, "db@other", Ok(())),
        (
            &[may("db@other", &[Keys], "all"), may("agents", &[Keys], "nobody")],
            "lead@shop",
            Keys,
            "api@shop",
            Err("may 2 of policy.toml"),
        ),
        // One right is not another.
        (&[may("agents", &[Look], "all")], "lead@shop", Keys, "api@shop", Err("default keys")),
    ];
    for (entries, who, right, target, wanted) in cases {
        let mut office = Office::with(entries);
        let role = agent::Describe {
            agent: "lead@shop".into(),
            role: Some("Plans".into()),
            groups: std::collections::BTreeSet::new(),
        };
        office.world.says(Agent::Describe(role));
        let (who, target) = (office.of(who), office.of(target));
        let verdict = office.verdict(who, *right, target).map_err(|refusal| rule(&refusal));
        assert_eq!(verdict, wanted.map_err(str::to_owned), "{entries:?}: {right:?}");
    }
}

#[test]
fn a_verb_that_does_two_things_needs_both_rights() {
    for rights in [[Right::Stop], [Right::Start]] {
        let mut office = Office::with(&[may("agents", &rights, "all")]);
        let refused = office.world.try_as(principal(office.lead), None, restart(office.api)).unwrap_err();
        assert!(rule(&refused).starts_with("default "));
    }
    let mut office = Office::with(&[may("agents", &[Right::Stop, Right::Start], "all")]);
    assert!(office.world.try_as(principal(office.lead), None, restart(office.api)).is_ok());
    // No rule lets an agent say what another one is.
    let amux_proto::entity::Definition { kind, argv, cwd, env, model, mode, worktree, .. } =
        office.world.the(office.api).definition.clone();
    let define = Some(amux_proto::entity::Work { kind, argv, cwd, env, size: None, model, mode, worktree });
    let order = agent::Restart { agent: office.api.to_string(), grace_ms: None, define };
    let refused = office.world.try_as(principal(office.lead), None, Agent::Restart(order)).unwrap_err();
    assert_eq!(rule(&refused), "operator_only");
    let mut office = Office::with(&[may("agents", &[Right::Remove], "all")]);
    let refused = office.world.try_as(principal(office.lead), None, remove(office.api, true)).unwrap_err();
    assert_eq!(rule(&refused), "default stop");
}

#[test]
fn a_message_to_several_goes_to_all_of_them_or_to_none() {
    let mut office = Office::with(&[may("agents", &[Right::Send], "team")]);
    let me = principal(office.lead);
    for (to, allowed) in [("all", false), ("team:shop", true), ("team:other", false), ("operator", true)] {
        let sent = office.world.try_as(me.clone(), None, send(&[to], "x"));
        assert_eq!(sent.is_ok(), allowed, "{to}: {sent:?}");
    }
    assert_eq!(office.world.try_as(me, None, send(&["nobody"], "x")).unwrap_err().code, Code::NotFound);
}

#[test]
fn whoever_is_made_by_an_agent_may_no_more_than_its_maker() {
    let entries = [
        may("api@shop", &[Right::Create], "all"),
        may("boss@shop", &[Right::Decide], "all"),
        may("team:other", &[Right::Stop], "all"),
        may("role:plans", &[Right::Keys], "all"),
    ];
    let mut office = Office::with(&entries);
    let me = principal(office.api);
    let made = |name: &str, team: Option<&str>| agent::Create { team: team.map(Into::into), ..create(name) };
    for (order, wanted) in [
        (made("boss", Some("shop")), "may 2 of policy.toml"),
        (made("any", Some("other")), "may 3 of policy.toml"),
        (agent::Create { mode: Some("yolo".into()), ..made("any", None) }, "create_limits"),
        (agent::Create { resume: Some("theirs".into()), ..made("any", None) }, "create_limits"),
        (
            agent::Create { kind: KindName(KindName::TMUX.into()), argv: vec!["a:0.0".into()], ..made("any", None) },
            "create_limits",
        ),
    ] {
        let refused = office.world.try_as(me.clone(), None, Agent::Create(order.clone()));
        let said = refused.unwrap_err().details.unwrap()["rule"].as_str().unwrap().to_owned();
        assert_eq!(said, wanted, "{order:?}");
    }
    let created = office.world.try_as(me.clone(), None, Agent::Create(made("helper", None))).unwrap();
    assert_eq!(created.answer["agent"], "helper@shop", "in the team of its maker");
    let helper = created.answer["uid"].as_str().unwrap().to_owned();
    let describe = |role: &str| {
        let groups = std::collections::BTreeSet::new();
        Agent::Describe(agent::Describe { agent: helper.clone(), role: Some(role.into()), groups })
    };
    assert!(office.world.try_as(me.clone(), None, describe("tests")).is_ok());
    let refused = office.world.try_as(me.clone(), None, describe("plans")).unwrap_err();
    assert_eq!(refused.details.unwrap()["rule"], "may 4 of policy.toml");
    for n in 0..29 {
        office.world.try_as(me.clone(), None, Agent::Create(made(&format!("helper-{n}"), None))).unwrap();
    }
    let refused = office.world.try_as(me, None, Agent::Create(made("one-more", None))).unwrap_err();
    assert_eq!(refused.code, Code::Limit);
}

#[test]
fn no_policy_lets_an_agent_decide_its_own_requests_or_do_what_is_a_persons() {
    let everything = |to: &str| may("agents", &Right::ALL, to);
    let generous: Vec<Vec<May>> = vec![
        vec![everything("self"), everything("team"), everything("all")],
        vec![everything("lead@shop"), everything("api@shop"), everything("team:shop")],
    ];
    let never: Vec<&str> =
        verbs().filter(|verb| policy::allows(&principal(AgentId(Uuid::nil())), verb).is_err()).collect();
    for verb in [
        "login_code",
        "server.stop",
        "policy.add",
        "team_file",
        "team.write",
        "preview",
        "policy.load",
        "setting.set",
        "agent.set",
        "agent.define",
    ] {
        assert!(never.contains(&verb) && !GIVEN.contains(&verb), "{verb}");
    }
    for entries in generous {
        let mut office = Office::with(&entries);
        let me = principal(office.lead);
        office.world.sees(office.lead, &[asked(1, RequestKind::Permission)]);
        let refused = office.world.try_as(me.clone(), None, decide_request(1, option("yes"))).unwrap_err();
        assert_eq!(rule(&refused), "own_request");
        assert!(refused.hint.unwrap().contains("no agent decides its own requests"));
        let keys = office.verdict(office.lead, Right::Keys, office.lead).unwrap_err();
        assert_eq!(rule(&keys), "own_keys", "keys in its own terminal would be answers");
        assert!(office.world.try_as(principal(office.api), None, decide_request(1, option("yes"))).is_ok());
    }
}

#[test]
fn whatever_the_file_says_and_whoever_asks_the_persons_things_stay_a_persons() {
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let mut office = Office::new();
        for _ in 0..60 {
            // Any file, and as generous a one as there is.
            let (_, command) = random_command(&office.world.state, &mut rng);
            if let Command::Policy(_) = &command {
                let _ = office.world.try_as(Principal::System, None, command);
                continue;
            }
            if rng.one_in(6) {
                let rights = [may("agents", &Right::ALL, "all"), may("agents", &Right::ALL, "self")];
                office.world.says(load(&rights));
            }
            let asks = office.world.state.requests.len() as u128;
            let agents = [office.lead, office.api, office.db];
            let me = *rng.pick(&agents).unwrap();
            if asks < 8
                && office
                    .world
                    .state
                    .agents
                    .get(&me)
                    .is_some_and(|agent| agent.run.as_ref().is_some_and(|run| run.no == RunNo(1) && run.is_live()))
            {
                office.world.sees(me, &[asked(1000 + u128::from(seed) * 100 + asks, RequestKind::Permission)]);
            }
            let before = office.world.state.clone();
            let decided = office.world.try_as(principal(me), None, command.clone());
            let name = command.name();
            if decided.is_ok() {
                let is_said = name.starts_with("message.") && policy::allows(&principal(me), name).is_ok();
                assert!(is_said || GIVEN.contains(&name), "an agent did {name}");
            }
            for event in decided.into_iter().flat_map(|decided| decided.events) {
                if let Event::Request(request_event::Event::Decided(decided)) = event {
                    let asker = before.requests[&decided.request].agent;
                    assert_ne!(asker, me, "it decided its own request");
                }
            }
        }
    }
}

#[test]
fn a_loop_of_agents_is_let_go_on_by_no_agent() {
    let mut office = Office::with(&[may("agents", &Right::ALL, "all"), may("agents", &Right::ALL, "self")]);
    let pair = [office.lead, office.api];
    for step in 0..12 {
        let (from, to) = (pair[step % 2], pair[(step + 1) % 2]);
        let sent = office.world.try_as(principal(from), None, send(&[&to.to_string()], "thank you")).unwrap();
        if !office.world.state.requests.is_empty() {
            break;
        }
        crate::mail::handed(&mut office.world, to, &[MessageId(id(&sent.answer, "id"))]);
    }
    let held = office.world.state.requests.values().next().cloned().expect("they are stopped");
    assert_eq!(held.kind, RequestKind::HeldMessage);
    for agent in [office.lead, office.api, office.db] {
        let decide = request::Decide { request: held.id.to_string(), answer: option("release") };
        let refused = office.world.try_as(principal(agent), None, request::Command::Decide(decide)).unwrap_err();
        let rule = rule(&refused);
        assert_eq!(rule, if agent == held.agent { "own_request" } else { "held_message" });
    }
}

#[test]
fn an_agent_reads_its_own_conversations_and_those_of_whom_it_may_look_at() {
    let mut office = Office::new();
    let (lead, api, db) = (office.lead, office.api, office.db);
    let sent = office.world.try_as(principal(db), None, send(&["operator"], "a secret of db")).unwrap();
    let secret = sent.answer["id"].as_str().unwrap().to_owned();
    let sent = office.world.try_as(principal(api), None, send(&["db@other"], "known to shop")).unwrap();
    let known = sent.answer["id"].as_str().unwrap().to_owned();
    office.world.sees(db, &[asked(7, RequestKind::Permission)]);
    let now = office.world.now;
    let see = |office: &Office, who: AgentId| {
        let (state, actor) = (&office.world.state, principal(who));
        let snapshot = view::snapshot(state, Epoch(Uuid::nil()), Seq(1));
        let seen = Sight::of(state, &actor).snapshot(snapshot);
        let text = serde_json::to_string(&seen).unwrap();
        let message = |reference: &str| view::message(state, &[], &actor, reference, now).map(|message| message.body);
        let thread = |thread: &str| view::thread(state, &[], &actor, &query::Thread { thread: thread.into() }, now);
        let requests = Sight::of(state, &actor).requests().len();
        (text, message(&secret), message(&known), thread(&secret), thread(&known), requests)
    };
    for who in [lead, api] {
        let (snapshot, secret, known, secret_thread, known_thread, requests) = see(&office, who);
        assert!(!snapshot.contains("a secret of db") && snapshot.contains("known to shop"), "{snapshot}");
        assert!(snapshot.contains("\"db\"") && !snapshot.contains("rm -rf build"), "names stay, requests do not");
        assert_eq!(secret.unwrap_err().code, Code::NotFound, "not even that it is there");
        assert_eq!(known.unwrap(), "known to shop");
        assert_eq!(secret_thread.unwrap_err().code, Code::NotFound);
        assert_eq!((known_thread.unwrap().len(), requests), (1, 0));
    }
    let (snapshot, secret_of_its_own, .., requests) = see(&office, db);
    assert!(snapshot.contains("a secret of db") && snapshot.contains("rm -rf build"), "{snapshot}");
    assert_eq!((secret_of_its_own.unwrap().as_str(), requests), ("a secret of db", 1));
    // Nobody joins what it cannot read, nor answers it.
    let message::Command::Send(order) = send(&["db@other"], "me too") else { panic!("it is a message") };
    let thread = Some(secret.parse::<MessageId>().unwrap());
    let joins = message::Send { thread: thread.map(|id| amux_proto::ThreadId(id.0)), ..order.clone() };
    let answers = message::Send { reply_to: thread, ..order };
    for order in [joins, answers] {
        let refused = office.world.try_as(principal(lead), None, message::Command::Send(order)).unwrap_err();
        assert_eq!(refused.code, Code::NotFound);
    }
    office.world.says(load(&[may("lead@shop", &[Right::Look], "all")]));
    let (snapshot, secret, ..) = see(&office, lead);
    assert!(snapshot.contains("a secret of db") && secret.is_ok());
    office.world.says(load(&[may("agents", &[Right::Look], "nobody")]));
    let (snapshot, ..) = see(&office, lead);
    assert!(!snapshot.contains("known to shop"), "{snapshot}");
}

#[test]
fn every_event_is_narrowed_as_the_snapshot_is() {
    let mut office = Office::new();
    let (lead, db) = (office.lead, office.db);
    let mut happened: Vec<Event> = Vec::new();
    let defined = agent::Create {
        team: Some("other".into()),
        argv: vec!["secret-argument".into()],
        env: std::collections::BTreeMap::from([("KEY".into(), "secret-value".into())]),
        ..create("other-db")
    };
    happened.extend(office.world.says(Agent::Create(defined)).events);
    happened.extend(office.world.try_as(principal(db), None, send(&["operator"], "secret words")).unwrap().events);
    let report = office.world.report(db, &[asked(3, RequestKind::Permission)]);
    happened.extend(office.world.says(report).events);
    happened.extend(office.world.says(decide_request(3, option("yes"))).events);
    let secrets = ["secret-argument", "secret-value", "secret words", "rm -rf build"];
    let state = &office.world.state;
    let told = |who: &Principal| -> Vec<String> {
        let sight = Sight::of(state, who);
        let seen = happened.iter().filter_map(|event| sight.event(event.clone()));
        seen.map(|event| format!("{} {}", event.name(), event.encode().unwrap())).collect()
    };
    let all = told(&Principal::Operator);
    assert_eq!(all.len(), happened.len());
    assert!(secrets.iter().all(|secret| all.iter().any(|line| line.contains(secret))), "{all:#?}");
    let seen = told(&principal(lead));
    assert!(!secrets.iter().any(|secret| seen.iter().any(|line| line.contains(secret))), "{seen:#?}");
    assert!(seen.iter().any(|line| line.starts_with("agent.created") && line.contains("other-db")), "{seen:#?}");
    assert!(seen.iter().any(|line| line.starts_with("run.active")), "that it is busy is told: {seen:#?}");
    assert!(!seen.iter().any(|line| line.starts_with("message.") || line.starts_with("request.opened")), "{seen:#?}");
    let own = told(&principal(db));
    assert!(own.iter().any(|line| line.contains("secret words")), "{own:#?}");
    // Of whom nobody knows any more whose team it was in, only that it is gone.
    let created = happened.iter().find(|event| matches!(event, Event::Agent(agent_event::Event::Created(_))));
    let mut gone = state.clone();
    gone.agents.retain(|_, agent| agent.name != name("other-db"));
    let seen = Sight::of(&gone, &principal(db)).event(created.unwrap().clone()).unwrap();
    assert!(!seen.encode().unwrap().get().contains("secret"), "{seen:?}");
}

#[test]
fn what_a_person_keeps_about_the_board_is_told_to_no_agent() {
    let mut office = Office::new();
    let set = |key: &str, value| Setting::Set(Set { key: key.into(), value });
    let mut happened = office.world.says(set("web.seen", json!(["1 secret"]))).events;
    happened.extend(office.world.says(set("agent.mcp", json!(0))).events);
    happened.extend(office.world.says(Setting::Unset(Unset { key: "web.seen".into() })).events);
    office.world.says(set("web.muted", json!(["secret"])));
    let state = &office.world.state;
    let (person, agent) = (Sight::of(state, &Principal::Operator), Sight::of(state, &principal(office.lead)));
    let told = |sight: &Sight<'_>| happened.iter().filter_map(|event| sight.event(event.clone())).count();
    assert_eq!((told(&person), told(&agent)), (3, 1));
    let snapshot = |sight: &Sight<'_>| sight.snapshot(view::snapshot(state, Epoch(Uuid::nil()), Seq(1))).settings.len();
    assert_eq!((snapshot(&person), snapshot(&agent)), (2, 1));
    assert_eq!((person.settings().len(), agent.settings().len()), (2, 1));
}

#[test]
fn what_holds_can_be_shown() {
    let entries = [may("lead@shop", &[Right::Look, Right::Keys], "all"), may("team:shop", &[Right::Keys], "db@other")];
    let office = Office::with(&entries);
    let rights = policy::rights(&office.world.state, None).unwrap();
    let agents: Vec<_> = rights.iter().map(|rights| rights.agent.as_str()).collect();
    assert_eq!(agents, ["api@shop", "db@other", "lead@shop"]);
    let of_lead = &policy::rights(&office.world.state, Some("lead@shop")).unwrap()[0];
    let said: Vec<_> = of_lead.may.iter().map(|may| (may.right, may.to.as_str(), may.rule.as_str())).collect();
    assert_eq!(said[0], (Right::Send, "all", "default send"));
    assert_eq!(said[1], (Right::Look, "all", "may 1 of policy.toml"));
    assert!(said.contains(&(Right::Keys, "all", "may 1 of policy.toml")));
    assert!(said.contains(&(Right::Keys, "db@other", "may 2 of policy.toml")));
    assert!(said.contains(&(Right::Decide, "nobody", "default decide")));
    assert_eq!(policy::rights(&office.world.state, Some("nobody")).unwrap_err().code, Code::NotFound);
}

#[test]
fn a_file_with_a_senseless_entry_is_not_used_at_all() {
    let mut office = Office::new();
    for (entry, says) in [
        (may("everyone", &[Right::Look], "all"), "who"),
        (may("agent", &[Right::Look], "all"), "did you mean agents?"),
        (may("lead", &[Right::Look], "all"), "who"),
        (may("role:", &[Right::Look], "all"), "who"),
        (may("agents", &[Right::Look], "teem"), "did you mean team?"),
        (may("agents", &[Right::Look], "team:Not A Name"), "name"),
        (may("agents", &[], "all"), "do"),
        (may(&"x".repeat(5000), &[Right::Look], "all"), "who"),
    ] {
        let refused = office.world.refused(load(&[may("agents", &[Right::Keys], "all"), entry]));
        assert!(refused.code == Code::BadArgs && refused.message.contains(says), "{refused:?}");
    }
    office.world.refused_with(Code::Limit, load(&vec![may("agents", &[Right::Look], "all"); 201]));
    assert_eq!(office.world.state.may, []);
    // The two parts of the file are loaded together, and one that says the same changes nothing.
    let rule = amux_proto::entity::Rule { agent: None, tool: None, subject: None, answer: RuleAnswer::Ask };
    let both = Policy::Load(Load { rules: vec![rule], may: vec![may("agents", &[Right::Look], "all")] });
    assert_eq!(office.world.events(both.clone()), ["policy.changed"]);
    assert_eq!(office.world.events(both), [""; 0]);
}

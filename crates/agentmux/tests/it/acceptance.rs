//! What any system that carries messages between agents should be able to do, one promise for each of the fifteen that
//! the comparison asks of all of them. Where another suite keeps a promise, this table says where.
//!
//! | | promise | test |
//! |---|---|---|
//! | A1 | what waits when the server is killed is given once | `twenty_that_wait_are_given_once_after_a_kill`; in flight: `faults::thousands_of_messages_are_worked_on_once_and_in_their_order_through_kills` |
//! | A2 | ten thousand messages to one agent | `ten_thousand_messages_to_one_agent_are_each_worked_on_once` |
//! | A3 | a text that ends a paste ends none | `a_text_full_of_controls_is_a_text`; `amux-runner display::a_message_cannot_leave_its_paste` |
//! | A4 | nobody acts as another | `masks`, `doors::an_agent_cannot_take_the_operators_place`, `mcp::a_name_narrows_and_never_widens`, `amux-core policies` |
//! | A5 | a new server restarts no agent | `faults::sixty_agents_at_rest_go_through_a_restart`, `life::a_restart_takes_the_new_program_and_stop_takes_everything` |
//! | A6 | a changed team file restarts who changed | `teams::only_what_changed_restarts_and_only_when_that_was_agreed_to` |
//! | A7 | thirty panes at rest cost nothing | `thirty_panes_at_rest_cost_no_process_and_no_time` |
//! | A8 | many senders of one user beside an open view | `sixteen_senders_beside_an_open_view_are_all_heard_once` |
//! | A9 | mail for an absent person is there | `a_person_who_was_away_finds_what_came` |
//! | A10 | a wrong choice closes nothing | `a_wrong_choice_leaves_the_question_open_and_a_right_one_answers_it` |
//! | A11 | a deleted socket comes back | `life::a_deleted_socket_comes_back_and_a_deleted_lock_makes_no_second_server` |
//! | A12 | how fast | measured, not tested: `cargo xtask bench` (`send`), docs/benchmarks.md |
//! | A13 | a line of a gigabyte | `doors::a_gigabyte_without_a_newline_costs_nothing` |
//! | A14 | one that hangs delays nobody | `one_that_hangs_at_its_start_delays_nobody` |
//! | A15 | keys act while mail waits | `keys_act_while_mail_waits` |

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::time::{Duration, Instant};

use amux_sys::process;
use serde_json::{Value, json};

use crate::cast::{Cast, id_of, numbers_after};
use crate::harness::until;
use crate::panes::Tmux;

/// A1
#[test]
fn twenty_that_wait_are_given_once_after_a_kill() {
    let cast = Cast::new();
    cast.fake("api", "claude", &[]);
    cast.json(&["mail", "api", "--pause"]);
    let sent: Vec<String> = (0..20).map(|n| cast.send("api", &format!("number-{n}."))).collect();
    cast.kill();
    assert!(sent.iter().all(|id| cast.stage(id) == "held"), "all of them still wait");
    cast.json(&["mail", "api", "--resume"]);
    for id in &sent {
        cast.reaches(id, "acked");
    }
    assert_eq!(numbers_after(&cast.read("api"), "number-"), (0..20).collect::<Vec<_>>());
}

/// What ten thousand messages may cost the server: their texts and ladders, not a connection or a buffer each.
const TEN_THOUSAND_BYTES_MAX: u64 = 160 * 1024 * 1024;

/// A2: half of it waits when the agent begins to take, the other half comes while it works.
#[test]
fn ten_thousand_messages_to_one_agent_are_each_worked_on_once() {
    const SENDERS: usize = 5;
    const EACH: usize = 2_000;
    let cast = Cast::new();
    cast.fake("taker", "acp", &[]);
    cast.json(&["mail", "taker", "--pause", "--wakes-per-hour", "1000000"]);
    let names: Vec<String> = (0..SENDERS).map(|n| format!("giver-{n}")).collect();
    let mut givers: Vec<_> = names
        .iter()
        .map(|name| {
            cast.extra(name);
            cast.speaks_as(name)
        })
        .collect();
    let (server, began) = (cast.world.pid("pid"), Instant::now());
    let before = process::rss_bytes(server).unwrap();
    let mut last = vec![String::new(); SENDERS];
    for half in [0..EACH / 2, EACH / 2..EACH] {
        // All of them at once, each on a connection of its own.
        for piece in half.collect::<Vec<_>>().chunks(40) {
            let mut asked = Vec::new();
            for (giver, wire) in givers.iter_mut().enumerate() {
                for n in piece {
                    let body = format!("from-{giver}-number-{n}.");
                    let args = json!({ "to": ["taker"], "body": body });
                    asked.push((giver, wire.start(json!({ "cmd": "message.send", "args": args })).unwrap()));
                }
            }
            for (giver, asked) in asked {
                let answer = givers[giver].answer(asked).unwrap();
                assert!(answer["error"].is_null(), "{answer}");
                last[giver] = id_of(&answer["ok"]);
            }
        }
        cast.json(&["mail", "taker", "--resume"]);
    }
    let sent = began.elapsed();
    for id in &last {
        // However long it takes, as long as it goes on.
        while cast.stage(id) != "acked" {
            let taken = cast.turns("taker").len();
            until("it goes on", || (cast.turns("taker").len() > taken || cast.stage(id) == "acked").then_some(()));
        }
    }
    let (all, after) = (began.elapsed(), process::rss_bytes(server).unwrap());
    let read = cast.read("taker");
    for giver in 0..SENDERS {
        let numbers = numbers_after(&read, &format!("from-{giver}-number-"));
        assert!(numbers == (0..EACH).collect::<Vec<_>>(), "each once and in order: {} of {giver}", numbers.len());
    }
    let turns = cast.turns("taker").lines().count();
    assert!((100..=EACH * SENDERS / 2 + 100).contains(&turns), "what waited came in pieces of fifty: {turns} turns");
    let grown = after.saturating_sub(before);
    eprintln!("sent in {sent:.1?}, done in {all:.1?}, {turns} turns, {} MB more", grown >> 20);
    assert!(grown < TEN_THOUSAND_BYTES_MAX, "the server grew by {} MB", grown >> 20);
    assert_eq!(cast.json(&["queue", "taker"]), json!([]));
}

/// A3
#[test]
fn a_text_full_of_controls_is_a_text() {
    let cast = Cast::new();
    cast.fake("tui", "tui", &[]);
    cast.is_on_screen("tui", "ready");
    let hostile = "one\u{1b}[201~\rrm -rf /\r\u{1b}[200~\u{9b}201~\u{3}two";
    cast.send("tui", hostile);
    let turns = until("it is submitted", || Some(cast.turns("tui")).filter(|turns| turns.contains("submitted")));
    assert!(!turns.contains("typed outside of a paste"), "{turns:?}");
    assert_eq!(turns.matches("submitted").count(), 1, "{turns:?}");
    assert!(turns.contains("one") && turns.contains("two"), "{turns:?}");
}

/// How many minor faults the children had for which this process has waited: a child that came and went is in it.
fn faults_of_children(pid: u32) -> u64 {
    stat(pid)[10]
}

/// In ticks, of which a second has a hundred.
fn time_used(pid: u32) -> u64 {
    let stat = stat(pid);
    stat[13] + stat[14]
}

/// The numbers of `/proc/PID/stat`, counted from 0 and with nothing where no number is.
fn stat(pid: u32) -> Vec<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = text.rsplit_once(") ").unwrap();
    [0, 0].into_iter().chain(rest.split_whitespace().map(|field| field.parse().unwrap_or(0))).collect()
}

/// A7
#[test]
fn thirty_panes_at_rest_cost_no_process_and_no_time() {
    const WATCHED: Duration = Duration::from_secs(3);
    let Some(tmux) = Tmux::new() else { return };
    let cast = Cast::new();
    for n in 0..30 {
        tmux.run(&["new-window", "-d", "-t", &format!("work:{}", n + 1), "PS1='% ' exec /bin/sh"]);
        tmux.adopted(&cast.world, &format!("pane-{n}"), &format!("work:{}", n + 1));
    }
    let server = cast.world.pid("pid");
    let children = || {
        let mut pids: Vec<u32> = process::descendants(server).iter().map(|child| child.pid).collect();
        pids.sort_unstable();
        pids
    };
    let known = children();
    assert_eq!(known.len(), 30, "one client each");
    let used = || [server].iter().chain(&known).map(|pid| time_used(*pid)).sum::<u64>();
    // The first while they may still be looked at for having come.
    until("a hundredth of the time at most, and no process that came or went", || {
        let (faults, server_before, all_before) = (faults_of_children(server), time_used(server), used());
        // Here time is what is looked at.
        std::thread::sleep(WATCHED);
        let (server_ticks, all_ticks) = (time_used(server) - server_before, used() - all_before);
        eprintln!("{server_ticks} ticks of the server and {all_ticks} with the clients in {WATCHED:?}");
        (server_ticks <= 3 && faults_of_children(server) == faults && children() == known).then_some(())
    });
    // And they are heard.
    cast.json(&["send", "pane-29", "-m", "echo heard$((1+1))", "--wait", "handed"]);
    cast.is_on_screen("pane-29", "heard2");
}

/// A8
#[test]
fn sixteen_senders_beside_an_open_view_are_all_heard_once() {
    const SENDERS: usize = 16;
    const EACH: usize = 5;
    let cast = Cast::new();
    let mut view = cast.begin(&["events", "-f", "--from", "0"]);
    let mut lines = BufReader::new(view.stdout.take().unwrap()).lines().map_while(Result::ok);
    until("it follows", || (cast.json(&["diag", "connections"])["now"].as_u64()? >= 2).then_some(()));
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let cast = &cast;
            scope.spawn(move || {
                for n in 0..EACH {
                    cast.json(&["send", "operator", "-m", &format!("from-{sender}-{n}")]);
                }
            });
        }
    });
    let mut heard: BTreeMap<String, usize> = BTreeMap::new();
    cast.send("operator", "the last");
    loop {
        let event: Value = serde_json::from_str(&lines.next().expect("the view goes on")).unwrap();
        if event["type"] != "message.sent" {
            continue;
        }
        let body = event["data"]["message"]["body"].as_str().unwrap().to_owned();
        if body == "the last" {
            break;
        }
        *heard.entry(body).or_default() += 1;
    }
    assert_eq!((heard.len(), heard.values().max()), (SENDERS * EACH, Some(&1)), "{heard:?}");
    for sender in 0..SENDERS {
        let mine: Vec<_> = (0..EACH).filter(|n| heard.contains_key(&format!("from-{sender}-{n}"))).collect();
        assert_eq!(mine.len(), EACH);
    }
    view.kill().unwrap();
    view.wait().unwrap();
}

/// A9
#[test]
fn a_person_who_was_away_finds_what_came() {
    let cast = Cast::new();
    cast.extra("api");
    // Nobody of the person's is connected, and then nothing runs at all.
    let sent = cast.speaks_as("api").must("message.send", json!({ "to": ["operator"], "body": "it is done" }));
    assert_eq!(sent["deliveries"][0]["stage"], "accepted");
    cast.json(&["server", "stop"]);
    let mail = cast.json(&["inbox"]);
    assert_eq!(
        (&mail[0]["from"], &mail[0]["body"], &mail[0]["unread"]),
        (&json!("api@default"), &json!("it is done"), &json!(true))
    );
    cast.json(&["ack", &id_of(&mail[0])]);
    assert_eq!((cast.json(&["inbox"]), cast.stage(&id_of(&sent)).as_str()), (json!([]), "acked"));
}

/// A10
#[test]
fn a_wrong_choice_leaves_the_question_open_and_a_right_one_answers_it() {
    let cast = Cast::new();
    for mode in ["claude", "codex", "acp"] {
        cast.fake(mode, mode, &[]);
        let sent = cast.send(mode, "ask");
        let request = until("it asks", || {
            let open = cast.json(&["requests"]);
            open.as_array()?.iter().find(|request| request["agent"] == format!("{mode}@default")).cloned()
        });
        let id = id_of(&request);
        assert_ne!(cast.world.code(&["answer", &id, "no-such-option"]), 0);
        let wrong = cast.world.answer(&["answer", &id, "no-such-option"]);
        assert!(wrong["error"]["message"].is_string() && wrong["error"]["hint"].is_string(), "{wrong}");
        let open = cast.json(&["requests"]);
        assert!(open.as_array().unwrap().contains(&request), "it is still asked, and as it was: {open}");
        assert!(!cast.turns(mode).contains("answered"), "and the agent has heard nothing");
        cast.json(&["answer", &id, request["options"][0]["id"].as_str().unwrap()]);
        cast.reaches(&sent, "acked");
        assert_eq!(cast.turns(mode).matches("answered").count(), 1, "{}", cast.turns(mode));
    }
}

/// A14
#[test]
fn one_that_hangs_at_its_start_delays_nobody() {
    let cast = Cast::new();
    let member =
        |name: &str, kind: &str, more: &str| format!("[[agent]]\nname = \"{name}\"\nkind = \"{kind}\"\n{more}");
    let file = [
        "[team]\nname = \"shop\"\n".to_owned(),
        member("hangs", "fake-acp", "args = [\"--deaf\"]\n"),
        member("first", "shell", ""),
        member("second", "fake-claude", ""),
    ];
    fs::write(cast.world.home.dir.join("agentmux.toml"), file.concat()).unwrap();
    let mut up = cast.begin(&["--json", "up"]);
    for name in ["first@shop", "second@shop"] {
        until("it runs", || {
            let all = cast.json(&["ls", "--all"]);
            let found =
                all.as_array()?.iter().find(|agent| format!("{}@shop", agent["name"].as_str().unwrap()) == name)?;
            (found["pid"].is_u64() && found["state"] != "starting").then_some(())
        });
    }
    cast.json(&["send", "second@shop", "-m", "say:1", "--wait", "acked"]);
    let hangs = cast.world.agent("hangs@shop");
    assert_eq!(hangs["state"], "starting", "and it is seen which one hangs: {hangs}");
    assert!(up.try_wait().unwrap().is_none(), "whoever wants all of them still waits");
    // And is told as soon as nothing is left to wait for.
    cast.json(&["stop", "hangs@shop", "--grace", "300ms"]);
    let out = up.wait_with_output().unwrap();
    let told: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{out:?}"));
    let of = |name: &str| told["data"]["agents"].as_array().unwrap().iter().find(|it| it["agent"] == name).cloned();
    for name in ["first@shop", "second@shop"] {
        assert!(of(name).is_some_and(|agent| agent["ok"] == true && agent["pid"].is_u64()), "{told}");
    }
}

/// A15
#[test]
fn keys_act_while_mail_waits() {
    let cast = Cast::new();
    cast.fake("tui", "tui", &[]);
    cast.is_on_screen("tui", "ready");
    // A person's unsent words hold the mail up, as a dialog would that waits for Escape.
    cast.json(&["keys", "tui", "half"]);
    let held = cast.send("tui", "the message");
    assert_eq!((cast.stage(&held).as_str(), cast.reason(&held).as_str()), ("held", "a person is typing to it"));
    let began = Instant::now();
    cast.wire().must("agent.keys", json!({ "agent": "tui", "keys": ["Escape"] }));
    until("it acts", || cast.read("tui").ends_with('\u{1b}').then_some(()));
    eprintln!("Escape in {:.1?}", began.elapsed());
    assert_eq!((cast.stage(&held).as_str(), cast.read("tui").contains("the message")), ("held", false));
}

//! The promises of old mail: it leaves the memory and nothing else.

use std::path::PathBuf;

use amux_engine::store::{Keep, MIGRATIONS, Upcasters};
use amux_engine::{Answer, Options, Store, Submission, Writer, doctor};
use amux_proto::command::message::{self, Ack, File, Retry, Send};
use amux_proto::command::{agent, team};
use amux_proto::entity::{Class, Priority};
use amux_proto::query::{self, Query};
use amux_proto::view::Level;
use amux_proto::{CmdId, Command, MessageId, Name, Principal, Time};
use serde_json::Value;
use uuid::Uuid;

struct Post {
    _dir: tempfile::TempDir,
    db: PathBuf,
    writer: Option<Writer>,
    now: Time,
    said: u128,
}

const HOUR_MS: i64 = 60 * 60_000;

impl Post {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("agentmux.db");
        let mut post = Self { _dir: dir, db, writer: None, now: Time(1_700_000_000_000), said: 0 };
        post.open();
        post
    }

    fn open(&mut self) {
        self.writer = None;
        let upcasters = Upcasters::current();
        let options = Options {
            migrations: MIGRATIONS,
            upcasters: &upcasters,
            on_migrating: &|_| {},
            backups: self.db.with_file_name("backups"),
            now_ms: self.now.0,
        };
        self.writer = Some(Writer::new(Store::open(&self.db, &options).unwrap()));
    }

    fn writer(&mut self) -> &mut Writer {
        self.writer.as_mut().unwrap()
    }

    fn try_to(&mut self, actor: Principal, command: impl Into<Command>) -> Answer {
        self.said += 1;
        let cmd_id = CmdId(Uuid::from_u128(self.said));
        let submission = Submission { cmd_id, actor, command: command.into(), expect: None, cause: None };
        let mut seed = self.said << 32;
        let mut entropy = || {
            seed += 1;
            seed
        };
        let now = self.now;
        self.writer().step(&[submission], now, &mut entropy).unwrap().remove(0)
    }

    fn says(&mut self, command: impl Into<Command>) -> Value {
        serde_json::from_str(self.try_to(Principal::Operator, command).unwrap().answer.get()).unwrap()
    }

    fn sends(&mut self, send: Send) -> MessageId {
        self.says(message::Command::Send(send))["id"].as_str().unwrap().parse().unwrap()
    }

    fn acks(&mut self, message: MessageId) {
        self.says(message::Command::Ack(Ack { message: message.to_string() }));
    }

    /// A message to the operator that is done with.
    fn settled(&mut self, send: Send) -> MessageId {
        let message = self.sends(send);
        self.acks(message);
        message
    }

    fn files(&mut self) -> u64 {
        let answer = self.try_to(Principal::System, message::Command::File(File {})).unwrap();
        serde_json::from_str::<Value>(answer.answer.get()).unwrap()["filed"].as_u64().unwrap()
    }

    fn is_in_memory(&mut self, message: MessageId) -> bool {
        self.writer().published().message(message).is_some()
    }

    fn asks(&mut self, query: &Query) -> Value {
        let now = self.now;
        let feed = self.writer().feed();
        let asks = feed.asks_for_old_mail(&Principal::Operator, query);
        let old = if asks { feed.old_mail(&Principal::Operator, query).unwrap() } else { Vec::new() };
        let answer = feed.published().answer(&Principal::Operator, query, &old, now).unwrap().unwrap();
        serde_json::from_str(answer.get()).unwrap()
    }

    fn bodies(&mut self, query: &Query) -> Vec<String> {
        let answer = self.asks(query);
        answer.as_array().unwrap().iter().map(|message| message["body"].as_str().unwrap().to_owned()).collect()
    }

    fn is_healthy(&self) -> bool {
        doctor::check(&self.db)[0].level == Level::Ok
    }
}

fn to(to: &str, body: &str) -> Send {
    Send {
        attachments: Vec::new(),
        id: None,
        to: vec![to.into()],
        body: body.into(),
        reply_to: None,
        thread: None,
        key: None,
        priority: Priority::Normal,
        class: Class::Request,
        ttl_ms: None,
        wants_answer: false,
    }
}

fn all() -> Query {
    Query::Inbox(query::Inbox { agent: None, unread: false, all: true, limit: None })
}

#[test]
fn what_is_settled_and_old_leaves_the_memory_and_can_still_be_read() {
    let mut post = Post::new();
    let (done, open) = (post.settled(to("operator", "done")), post.sends(to("operator", "open")));
    assert_eq!(post.files(), 0, "it is of today");
    post.now.0 += HOUR_MS;
    let late = post.settled(to("operator", "late"));
    assert_eq!(post.files(), 1);
    assert!(!post.is_in_memory(done) && post.is_in_memory(open) && post.is_in_memory(late));
    for _ in 0..2 {
        assert_eq!(post.bodies(&all()), ["done", "open", "late"]);
        let end = &done.to_string()[28..];
        let shown = post.asks(&Query::Message(query::Message { message: end.into(), led_to: false }));
        assert_eq!((shown["body"].as_str(), shown["deliveries"][0]["stage"].as_str()), (Some("done"), Some("acked")));
        assert!(post.is_healthy());
        post.open();
    }
}

#[test]
fn history_can_be_forgotten_behind_old_mail() {
    let mut post = Post::new();
    post.settled(to("operator", "done"));
    post.now.0 += HOUR_MS;
    assert_eq!(post.files(), 1);
    let keep = Keep { rows: 0, age_ms: 0, receipts_age_ms: 0 };
    post.now.0 += 1;
    let now = post.now;
    while post.writer().compact(keep, now).unwrap() {}
    post.open();
    assert_eq!(post.bodies(&all()), ["done"]);
    assert!(post.is_healthy());
}

#[test]
fn a_reply_to_old_mail_brings_it_back_into_its_thread() {
    let mut post = Post::new();
    let first = post.settled(to("operator", "first"));
    post.now.0 += HOUR_MS;
    post.files();
    let second = post.sends(Send { reply_to: Some(first), ..to("operator", "second") });
    let shown = post.asks(&Query::Message(query::Message { message: first.to_string(), led_to: false }));
    assert_eq!(shown["deliveries"][0]["stage"], "answered");
    let thread = Query::Thread(query::Thread { thread: second.to_string() });
    assert_eq!(post.bodies(&thread), ["first", "second"]);
    post.acks(second);
    post.now.0 += HOUR_MS;
    assert_eq!(post.files(), 2, "it rests again, once");
    assert_eq!(post.bodies(&thread), ["first", "second"]);
    assert_eq!(post.bodies(&all()), ["first", "second"]);
    assert!(post.is_healthy());
}

#[test]
fn a_key_means_its_message_however_old() {
    let mut post = Post::new();
    let keyed = || Send { key: Some("nightly".into()), ..to("operator", "report") };
    let message = post.settled(keyed());
    post.now.0 += HOUR_MS;
    post.files();
    post.open();
    assert_eq!(post.sends(keyed()), message);
    assert_eq!(post.bodies(&all()), ["report"]);
    let taken = post
        .try_to(Principal::Operator, message::Command::Send(Send { id: Some(message), ..to("operator", "another") }));
    assert!(taken.is_err(), "an id is one message");
}

#[test]
fn what_failed_long_ago_can_be_given_again() {
    let mut post = Post::new();
    let name = |name| Name::new(name).unwrap();
    post.says(team::Command::Create(team::Create { id: None, name: name("default") }));
    post.says(agent::Command::Create(agent::Create {
        name: name("scout"),
        start: false,
        ..serde_json::from_value(serde_json::json!({ "name": "scout", "kind": "shell", "cwd": "/" })).unwrap()
    }));
    let message = post.sends(to("scout", "work"));
    let cancel = message::Cancel { message: message.to_string(), to: None };
    post.says(message::Command::Cancel(cancel));
    post.now.0 += HOUR_MS;
    assert_eq!(post.files(), 1);
    let again = || message::Command::Retry(Retry { message: message.to_string(), to: None });
    post.says(again());
    assert!(post.is_in_memory(message), "it waits again");
    assert!(post.try_to(Principal::Operator, again()).is_err(), "and only once");
    post.open();
    assert!(post.is_in_memory(message));
    assert!(post.is_healthy());
}

#[test]
fn memory_holds_a_bounded_number_of_settled_messages() {
    let mut post = Post::new();
    let mut seed = 1 << 100;
    let mut entropy = || {
        seed += 1;
        seed
    };
    for n in 0..36 {
        let orders: Vec<_> = (0..100)
            .flat_map(|at| {
                let body = format!("{}", n * 100 + at);
                let id = MessageId(Uuid::from_u128(1_000 + n * 100 + at));
                let ack = message::Command::Ack(Ack { message: id.to_string() });
                [message::Command::Send(Send { id: Some(id), ..to("operator", &body) }), ack]
            })
            .zip(n * 200 + 1..)
            .map(|(command, said)| Submission {
                cmd_id: CmdId(Uuid::from_u128(said)),
                actor: Principal::Operator,
                command: command.into(),
                expect: None,
                cause: None,
            })
            .collect();
        post.now.0 += 1;
        let now = post.now;
        let answers = post.writer().step(&orders, now, &mut entropy).unwrap();
        assert!(answers.iter().all(Result::is_ok));
        while post.writer().file_mail(false, now, &mut entropy).unwrap() {}
    }
    let kept = post.writer().published().read(|state, _| state.messages.len());
    assert!((3_000..3_500).contains(&kept), "{kept}");
    let newest = Query::Inbox(query::Inbox { agent: None, unread: false, all: true, limit: Some(1) });
    assert_eq!(post.bodies(&newest), ["3599"], "the newest stay");
    assert!(post.is_healthy());
}

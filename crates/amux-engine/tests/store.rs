//! The promises of the store and the writer, on a real file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use amux_engine::store::{Error, Keep, MIGRATIONS, Migration, Upcasters};
use amux_engine::{Answer, Cursor, Mode, Options, Page, Store, Submission, Writer, doctor};
use amux_proto::command::{agent, team};
use amux_proto::view::Level;
use amux_proto::{CmdId, Code, Command, Effect, Event, Name, Principal, Seq, Time};
use uuid::Uuid;

struct Disk {
    _dir: tempfile::TempDir,
    db: PathBuf,
}

impl Disk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { db: dir.path().join("agentmux.db"), _dir: dir }
    }

    fn open_with(&self, migrations: &[Migration], on_migrating: &dyn Fn(u32)) -> Result<Writer, Error> {
        let upcasters = Upcasters::current();
        let backups = self.db.with_file_name("backups");
        let options = Options { migrations, upcasters: &upcasters, on_migrating, backups, now_ms: 1 };
        Store::open(&self.db, &options).map(Writer::new)
    }

    fn open(&self) -> Writer {
        self.open_with(MIGRATIONS, &|_| {}).unwrap()
    }
}

fn id(n: u128) -> CmdId {
    CmdId(Uuid::from_u128(n))
}

fn create(n: u128, name: &str) -> Submission {
    let command = Command::Team(team::Command::Create(team::Create { id: None, name: Name::new(name).unwrap() }));
    Submission { cmd_id: id(n), actor: Principal::Operator, command, expect: None, cause: None }
}

fn step(writer: &mut Writer, batch: &[Submission]) -> Vec<Answer> {
    let mut seed = batch.first().map_or(0, |first| first.cmd_id.0.as_u128());
    let mut entropy = || {
        seed += 1;
        seed
    };
    writer.step(batch, Time(1_700_000_000_000), &mut entropy).unwrap()
}

fn head(writer: &Writer) -> Seq {
    writer.published().read(|_, head| head)
}

#[test]
fn whoever_follows_is_woken_when_the_answers_are_on_their_way() {
    let disk = Disk::new();
    let mut writer = disk.open();
    let mut heard = writer.published().watch_head();
    heard.borrow_and_update();
    step(&mut writer, &[create(1, "one")]);
    let committed = head(&writer);
    assert!(!heard.has_changed().unwrap(), "whoever is answered looks at it first");
    assert!(committed > *heard.borrow(), "it is there to be read all the same");
    writer.answered();
    assert_eq!(*heard.borrow_and_update(), committed);
    // Nobody need be answered for them to hear of it at last.
    step(&mut writer, &[create(2, "two")]);
    let committed = head(&writer);
    step(&mut writer, &[create(3, "three")]);
    assert_eq!(*heard.borrow_and_update(), committed);
}

fn assert_healthy(db: &Path) {
    let findings = doctor::check(db);
    assert_eq!(findings[0].level, Level::Ok, "{findings:?}");
}

#[test]
fn what_was_answered_is_there_after_the_file_is_opened_again() {
    let disk = Disk::new();
    let mut writer = disk.open();
    let answers = step(&mut writer, &[create(1, "one"), create(2, "two"), create(3, "one")]);
    assert!(answers[0].is_ok() && answers[1].is_ok());
    assert_eq!(answers[2].as_ref().unwrap_err().code, Code::Exists);
    assert_eq!(answers[1].as_ref().unwrap().seq, Seq(answers[0].as_ref().unwrap().seq.0 + 1), "one order, no holes");
    let before = writer.published().read(|state, head| (state.clone(), head));
    let epoch = writer.epoch();
    drop(writer);
    let writer = disk.open();
    assert_eq!(writer.published().read(|state, head| (state.clone(), head)), before);
    assert_eq!(writer.epoch(), epoch, "a restart is not another history");
    assert_healthy(&disk.db);
}

#[test]
fn a_retry_is_free_and_an_id_is_one_command() {
    let disk = Disk::new();
    let mut writer = disk.open();
    let first = step(&mut writer, &[create(1, "one"), create(1, "one")]);
    let before = head(&writer);
    assert_eq!(first[0].as_ref().unwrap().answer.get(), first[1].as_ref().unwrap().answer.get());
    drop(writer);
    let mut writer = disk.open();
    let again = step(&mut writer, &[create(1, "one")]);
    assert_eq!(again[0].as_ref().unwrap().answer.get(), first[0].as_ref().unwrap().answer.get());
    assert_eq!(head(&writer), before);

    let other_words = step(&mut writer, &[create(1, "two")]);
    assert_eq!(other_words[0].as_ref().unwrap_err().code, Code::CmdIdReused);
    let somebody_else = Submission { actor: Principal::System, ..create(1, "one") };
    assert_eq!(step(&mut writer, &[somebody_else])[0].as_ref().unwrap_err().code, Code::CmdIdReused);
}

#[test]
fn a_refusal_stays_a_refusal_for_the_same_id() {
    let disk = Disk::new();
    let mut writer = disk.open();
    step(&mut writer, &[create(1, "one")]);
    assert!(step(&mut writer, &[create(2, "one")])[0].is_err());
    let remove = team::Remove { team: "one".into(), with_agents: false };
    let remove = Submission { command: Command::Team(team::Command::Remove(remove)), ..create(3, "x") };
    step(&mut writer, &[remove])[0].as_ref().unwrap();
    assert!(step(&mut writer, &[create(2, "one")])[0].is_err(), "same id, same answer");
    assert!(step(&mut writer, &[create(4, "one")])[0].is_ok());
}

#[test]
fn a_newer_store_is_refused_before_a_byte_is_written() {
    let disk = Disk::new();
    drop(disk.open());
    let conn = rusqlite::Connection::open(&disk.db).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    conn.pragma_update(None, "journal_mode", "delete").unwrap();
    drop(conn);
    let before = std::fs::read(&disk.db).unwrap();
    let error = disk.open_with(MIGRATIONS, &|_| {}).err().unwrap();
    assert!(matches!(error, Error::NewerSchema { found: 99, .. }), "{error}");
    assert_eq!(std::fs::read(&disk.db).unwrap(), before);
}

#[test]
fn a_store_that_cannot_be_read_is_never_empty() {
    for garbage in [&b"this is not a database, it is a text that is long enough to look at"[..], &[0xff; 4096]] {
        let disk = Disk::new();
        std::fs::write(&disk.db, garbage).unwrap();
        assert!(disk.open_with(MIGRATIONS, &|_| {}).is_err());
        assert_eq!(std::fs::read(&disk.db).unwrap(), garbage);
    }
    let disk = Disk::new();
    let conn = rusqlite::Connection::open(&disk.db).unwrap();
    conn.execute_batch("CREATE TABLE somebody_elses (x)").unwrap();
    drop(conn);
    assert!(matches!(disk.open_with(MIGRATIONS, &|_| {}), Err(Error::Corrupt { .. })), "a stranger's database");

    let disk = Disk::new();
    let mut writer = disk.open();
    step(&mut writer, &[create(1, "one")]);
    drop(writer);
    let conn = rusqlite::Connection::open(&disk.db).unwrap();
    conn.execute("UPDATE team SET body = '{'", []).unwrap();
    drop(conn);
    assert!(matches!(disk.open_with(MIGRATIONS, &|_| {}), Err(Error::Corrupt { .. })), "a row that is no JSON");

    for (lost, said) in [("words", "what the message says is not there"), ("message", "what it says is there")] {
        let (disk, _) = mailed();
        rusqlite::Connection::open(&disk.db).unwrap().execute(&format!("DELETE FROM {lost}"), []).unwrap();
        let error = disk.open_with(MIGRATIONS, &|_| {}).err().unwrap();
        assert!(matches!(&error, Error::Corrupt { what } if what.contains(said)), "{error}");
    }
}

/// A store with a message in its base and one after it, and their ids.
fn mailed() -> (Disk, [String; 2]) {
    let disk = Disk::new();
    let mut writer = disk.open();
    let say = |writer: &mut Writer, n: u128, body: &str| {
        let args = serde_json::json!({ "to": ["operator"], "body": body }).to_string();
        let command = Command::decode("message.send", &args).unwrap().unwrap();
        let answer = step(writer, &[Submission { command, ..create(n << 64, "x") }]).remove(0).unwrap().answer;
        let answer: serde_json::Value = serde_json::from_str(answer.get()).unwrap();
        answer["id"].as_str().unwrap().to_owned()
    };
    let first = say(&mut writer, 1, "first");
    let keep = Keep { rows: 0, age_ms: 0, receipts_age_ms: i64::MAX };
    assert!(writer.compact(keep, Time(1_800_000_000_000)).unwrap());
    let later = say(&mut writer, 2, "later");
    drop(writer);
    (disk, [first, later])
}

/// As the shape before had them: words beside their copies.
const TOGETHER: &str = "UPDATE message SET body = json_set(body, '$.body', 'hello'); \
    UPDATE base SET body = json_set(body, '$.body', 'hello') WHERE tbl = 'message'; \
    DELETE FROM base WHERE tbl = 'words'; DROP TABLE words; PRAGMA user_version = 4;";

#[test]
fn a_message_that_would_say_nothing_fails_the_step_that_parts_its_words() {
    let cases = [
        ("", None),
        ("UPDATE message SET body = json_set(body, '$.body', '') WHERE id = ?1", Some(1)),
        ("UPDATE message SET body = json_set(body, '$.body', json('null')) WHERE id = ?1", Some(1)),
        ("UPDATE message SET body = json_remove(body, '$.body') WHERE id = ?1", Some(1)),
        ("UPDATE base SET body = json_set(body, '$.body', json('null')) WHERE tbl = 'message' AND id = ?1", Some(0)),
        ("UPDATE base SET body = json_remove(body, '$.body') WHERE tbl = 'message' AND id = ?1", Some(0)),
    ];
    for (breaks, of) in cases {
        let (disk, ids) = mailed();
        let conn = rusqlite::Connection::open(&disk.db).unwrap();
        conn.execute_batch(TOGETHER).unwrap();
        if let Some(of) = of {
            let of: usize = of;
            assert_eq!(conn.execute(breaks, [&ids[of]]).unwrap(), 1, "{breaks}");
        }
        drop(conn);
        match (of, disk.open_with(MIGRATIONS, &|_| {})) {
            (None, opened) => drop(opened.unwrap()),
            (Some(_), Err(Error::Migration { why, .. })) => {
                assert!(why.contains("would say nothing"), "{breaks}: {why}")
            }
            (Some(_), Err(other)) => panic!("{breaks}: {other}"),
            (Some(_), Ok(_)) => panic!("{breaks}: it was opened"),
        }
    }
}

/// Parts the words of what is there from their copies, and forgets what is in the base.
fn forgets_the_base(tx: &rusqlite::Transaction<'_>) -> rusqlite::Result<()> {
    tx.execute_batch(
        "CREATE TABLE words (id TEXT PRIMARY KEY, rev INTEGER NOT NULL, updated_seq INTEGER NOT NULL, body TEXT NOT NULL); \
         INSERT INTO words SELECT id, 0, 0, json_object('body', body -> '$.body') FROM message; \
         UPDATE base SET body = json_set(body, '$.body', '') WHERE tbl = 'message'",
    )
}

#[test]
fn a_step_that_forgets_the_words_in_the_base_fails() {
    let (disk, _) = mailed();
    rusqlite::Connection::open(&disk.db).unwrap().execute_batch(TOGETHER).unwrap();
    let mut steps = steps_and(Migration { name: "none", run: nothing, verify: |_| Ok(()) });
    steps.iter_mut().find(|step| step.name == "words have rows of their own").unwrap().run = forgets_the_base;
    let Err(Error::Migration { why, .. }) = disk.open_with(&steps, &|_| {}) else { panic!("it was opened") };
    assert!(why.contains("1 messages would say nothing"), "{why}");
}

#[test]
fn a_retry_finds_the_receipt_that_a_store_of_an_older_shape_holds() {
    let disk = Disk::new();
    let mut writer = disk.open();
    let orders = [create(u128::MAX >> 1, "last"), create(7, "first")];
    let answers: Vec<_> = orders.iter().map(|order| step(&mut writer, std::slice::from_ref(order)).remove(0)).collect();
    drop(writer);
    // As they lay before: by id, and by age in an index.
    rusqlite::Connection::open(&disk.db)
        .unwrap()
        .execute_batch(
            "CREATE TABLE old (cmd_id BLOB PRIMARY KEY, actor TEXT NOT NULL, digest BLOB NOT NULL, outcome TEXT NOT NULL, \
             seq INTEGER NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID; \
             INSERT INTO old SELECT cmd_id, actor, digest, outcome, seq, at FROM receipt; DROP TABLE receipt; \
             ALTER TABLE old RENAME TO receipt; CREATE INDEX receipt_by_age ON receipt (at); PRAGMA user_version = 5;",
        )
        .unwrap();

    let mut writer = disk.open();
    let before = head(&writer);
    for (order, answer) in orders.iter().zip(&answers) {
        let again = step(&mut writer, std::slice::from_ref(order)).remove(0).unwrap();
        let first = answer.as_ref().unwrap();
        assert_eq!((again.seq, again.answer.get()), (first.seq, first.answer.get()));
    }
    assert_eq!(head(&writer), before, "nothing was done twice");
    drop(writer);
    let conn = rusqlite::Connection::open(&disk.db).unwrap();
    let mut lie = conn.prepare("SELECT cmd_id FROM receipt ORDER BY id").unwrap();
    let lie: Vec<Vec<u8>> = lie.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(lie, orders.each_ref().map(|order| order.cmd_id.0.as_bytes().to_vec()), "the oldest first");
}

/// Every step there is, and one of a program to come.
fn steps_and(next: Migration) -> Vec<Migration> {
    let copy = |Migration { name, run, verify }: &Migration| Migration { name, run: *run, verify: *verify };
    MIGRATIONS.iter().map(copy).chain([next]).collect()
}

fn nothing(_: &rusqlite::Transaction<'_>) -> rusqlite::Result<()> {
    Ok(())
}

#[test]
fn a_migration_is_announced_backed_up_and_verified() {
    let disk = Disk::new();
    let mut writer = disk.open();
    step(&mut writer, &[create(1, "one")]);
    drop(writer);
    let broken = steps_and(Migration { name: "broken", run: nothing, verify: |_| Err("not true".into()) });
    let announced = AtomicU32::new(0);
    let error = disk.open_with(&broken, &|count| announced.store(count, Ordering::SeqCst)).err().unwrap();
    let id_of_broken = broken.len() as i64;
    assert!(matches!(error, Error::Migration { id, .. } if id == id_of_broken), "{error}");
    assert_eq!(announced.load(Ordering::SeqCst), 1);
    let backups: Vec<_> = std::fs::read_dir(disk.db.with_file_name("backups")).unwrap().collect();
    assert_eq!(backups.len(), 1);
    let copy = rusqlite::Connection::open(backups[0].as_ref().unwrap().path()).unwrap();
    assert_eq!(copy.query_row("SELECT count(*) FROM team", [], |row| row.get::<_, u32>(0)).unwrap(), 1);
    // A step that failed left nothing behind: the old program still opens the store.
    assert_eq!(head(&disk.open()), Seq(1));

    let good = steps_and(Migration { name: "good", run: nothing, verify: |_| Ok(()) });
    drop(disk.open_with(&good, &|_| {}).unwrap());
    let known = MIGRATIONS.len() as i64;
    let refused = disk.open_with(MIGRATIONS, &|_| {}).err().unwrap();
    assert!(
        matches!(refused, Error::NewerSchema { found, known: of } if (found, of) == (known + 1, known)),
        "{refused}"
    );
}

/// What a database might take for something else.
const TRICKY: &str = "\"'\\ \u{0} \u{1f600}\n{\"body\": null}";

/// A store of the first shape, as the program that knew no other wrote it: `scout` is being stopped, `lead` is at
/// rest, and both have mail.
fn first_shape(db: &Path) {
    let conn = rusqlite::Connection::open(db).unwrap();
    conn.execute_batch(include_str!("../src/store/schema.sql")).unwrap();
    for table in [
        "team",
        "agent",
        "workspace",
        "tab",
        "pane",
        "closed",
        "request",
        "message",
        "setting",
        "flow",
        "host",
        "order",
    ] {
        let columns = "id TEXT PRIMARY KEY, rev INTEGER NOT NULL, updated_seq INTEGER NOT NULL, body TEXT NOT NULL";
        conn.execute_batch(&format!("CREATE TABLE \"{table}\" ({columns}) WITHOUT ROWID")).unwrap();
    }
    let at = "2023-11-14T22:13:20.000Z";
    let of = |n: u32| format!("00000000-0000-7000-8000-{n:012}");
    let (team, scout, lead) = (of(1), of(2), of(3));
    let definition = r#"{"kind":"shell","argv":[],"cwd":"/","env":{},"size":{"rows":24,"cols":80}}"#;
    let process = r#"{"pid":7,"start_ticks":7}"#;
    let created = |agent: &str, name: &str| {
        format!(r#"{{"agent":"{agent}","name":"{name}","team":"{team}","definition":{definition}}}"#)
    };
    let delivery = |agent: &str, stage: &str| {
        format!(r#"{{"to":{{"type":"agent","agent":"{agent}"}},"stage":{stage},"at":"{at}"}}"#)
    };
    let accepted = r#"{"type":"accepted"}"#;
    let held = r#"{"type":"held","reason":"the agent is not running"}"#;
    let cancelled = r#"{"type":"cancelled","by":"operator"}"#;
    let message = |id: &str, deliveries: &[String], rev: u32| {
        let body = serde_json::to_string(if deliveries.len() > 1 { "hello" } else { TRICKY }).unwrap();
        format!(
            r#"{{"id":"{id}","from":"operator","body":{body},"thread":"{id}","reply_to":null,"key":null,"created":"{at}","deliveries":[{}],"rev":{rev}}}"#,
            deliveries.join(",")
        )
    };
    let both = [
        format!(r#"{{"to":{{"type":"operator"}},"stage":{accepted},"at":"{at}"}}"#),
        delivery(&scout, accepted),
        delivery(&lead, held),
    ];
    let events = [
        ("team.created", format!(r#"{{"team":"{team}","name":"default"}}"#)),
        ("agent.created", created(&scout, "scout")),
        ("agent.start_wanted", format!(r#"{{"agent":"{scout}","run":1}}"#)),
        ("run.started", format!(r#"{{"agent":"{scout}","run":1,"process":{process}}}"#)),
        ("agent.created", created(&lead, "lead")),
        ("message.sent", format!(r#"{{"message":{}}}"#, message(&of(11), &both, 1))),
        ("message.sent", format!(r#"{{"message":{}}}"#, message(&of(12), &[delivery(&lead, held)], 1))),
        (
            "message.staged",
            format!(
                r#"{{"message":"{}","to":{{"type":"agent","agent":"{lead}"}},"stage":{cancelled},"evidence":null}}"#,
                of(12)
            ),
        ),
        ("agent.stop_wanted", format!(r#"{{"agent":"{scout}","run":1,"grace_ms":5000}}"#)),
    ];
    let insert = "INSERT INTO event (seq, at, actor, actor_name, cmd_id, topic, type, v, body) \
                  VALUES (?1, 1700000000000, 'operator', 'operator', x'00000000000000000000000000000001', ?2, ?3, 1, ?4)";
    for (seq, (kind, body)) in (1..).zip(&events) {
        let topic = kind.split_once('.').unwrap().0;
        conn.execute(insert, (seq, topic, kind, body)).unwrap();
    }
    let agent = |id: &str, name: &str, run: &str, rev: u32| {
        format!(
            r#"{{"id":"{id}","name":"{name}","team":"{team}","created":"{at}","definition":{definition},"desired":{{"type":"stopped"}},"run":{run},"removing":false,"rev":{rev}}}"#
        )
    };
    let run = format!(r#"{{"no":1,"state":{{"type":"stopping","process":{process},"grace_ms":5000}},"since":"{at}"}}"#);
    let rows = [
        ("team", &team, format!(r#"{{"id":"{team}","name":"default","created":"{at}","removing":false,"rev":1}}"#)),
        ("agent", &scout, agent(&scout, "scout", &run, 4)),
        ("agent", &lead, agent(&lead, "lead", "null", 1)),
        ("message", &of(11), message(&of(11), &both, 1)),
        ("message", &of(12), message(&of(12), &[delivery(&lead, cancelled)], 2)),
    ];
    for (table, id, body) in rows {
        conn.execute(&format!("INSERT INTO \"{table}\" VALUES (?1, 1, 1, ?2)"), (id, body)).unwrap();
    }
    let wishes = [
        ("ensure_running", "done", 1, format!(r#"{{"type":"ensure_running","agent":"{scout}","run":1}}"#)),
        (
            "ensure_stopped",
            "open",
            3,
            format!(r#"{{"type":"ensure_stopped","agent":"{scout}","run":1,"grace_ms":5000}}"#),
        ),
    ];
    for (kind, state, attempts, body) in wishes {
        let insert = "INSERT INTO outbox (seq, kind, agent, run, body, state, attempts, lease_until) \
                      VALUES (9, ?1, ?2, 1, ?3, ?4, ?5, 77)";
        conn.execute(insert, (kind, &scout, body, state, attempts)).unwrap();
    }
    conn.pragma_update(None, "user_version", 1).unwrap();
}

#[test]
fn a_store_that_keeps_words_beside_their_copies_opens_and_loses_nothing() {
    let disk = Disk::new();
    let mut writer = disk.open();
    let say = |writer: &mut Writer, n: u128, name: &str, args: serde_json::Value| {
        let command = Command::decode(name, &args.to_string()).unwrap().unwrap();
        let answer = step(writer, &[Submission { command, ..create(n << 64, "x") }]).remove(0).unwrap().answer;
        serde_json::from_str::<serde_json::Value>(answer.get()).unwrap()["id"].clone()
    };
    let letter = |body: &str| serde_json::json!({ "to": ["scout", "operator"], "body": body });
    let scout = serde_json::json!({ "name": "scout", "kind": "shell", "cwd": "/", "start": false });
    say(&mut writer, 1, "agent.create", scout);
    let first = say(&mut writer, 2, "message.send", letter(TRICKY));
    say(&mut writer, 3, "message.edit", serde_json::json!({ "message": first, "body": format!("{TRICKY}!") }));
    // What is forgotten is in the base, in the same shape.
    let keep = Keep { rows: 0, age_ms: 0, receipts_age_ms: i64::MAX };
    assert!(writer.compact(keep, Time(1_800_000_000_000)).unwrap());
    say(&mut writer, 4, "message.send", letter("later"));
    let before = writer.published().read(|state, _| state.clone());
    drop(writer);

    let conn = rusqlite::Connection::open(&disk.db).unwrap();
    let whole = "json_set(body, '$.body', said -> '$.body', '$.earlier', json(coalesce(said -> '$.earlier', '[]')))";
    let whole = whole.replace("said -> '$.body'", "json(said -> '$.body')");
    conn.execute_batch(&format!(
        "UPDATE message SET body = (SELECT {whole} FROM (SELECT body AS said FROM words WHERE id = message.id)); \
         UPDATE base SET body = (SELECT {whole} FROM (SELECT body AS said FROM base AS w WHERE w.tbl = 'words' AND \
           w.id = base.id)) WHERE tbl = 'message'; \
         DELETE FROM base WHERE tbl = 'words'; DROP TABLE words; PRAGMA user_version = 4;"
    ))
    .unwrap();
    let old: String = conn.query_row("SELECT group_concat(body) FROM message", [], |row| row.get(0)).unwrap();
    assert!(old.contains("later") && old.contains("null}!"), "{old}");
    drop(conn);

    let writer = disk.open();
    writer.published().read(|state, _| assert!(*state == before));
    drop(writer);
    assert_healthy(&disk.db);
}

#[test]
fn mail_that_waited_in_a_store_of_the_first_shape_is_wished_for() {
    let disk = Disk::new();
    first_shape(&disk.db);
    let announced = AtomicU32::new(0);
    let writer = disk.open_with(MIGRATIONS, &|count| announced.store(count, Ordering::SeqCst)).unwrap();
    assert_eq!(announced.load(Ordering::SeqCst), MIGRATIONS.len() as u32 - 1);
    let found: Vec<_> = writer.published().wishes();
    let words = found.iter().map(|wish| match &wish.effect {
        Effect::EnsureStopped { run, .. } => {
            format!("stop {run}, tried {}, not before {}", wish.attempts, wish.not_before_ms)
        }
        Effect::Deliver { agent, message } => {
            let name = writer.published().read(|state, _| state.agents[agent].name.to_string());
            format!("deliver {} to {name}, tried {}", &message.to_string()[34..], wish.attempts)
        }
        other => format!("{other:?}"),
    });
    let mut words: Vec<_> = words.collect();
    words.sort();
    writer.published().read(|state, _| {
        let said: Vec<_> = state.messages.values().map(|message| message.body.as_str()).collect();
        assert_eq!(said, ["hello", TRICKY], "and they say what they said");
    });
    assert_eq!(
        words,
        ["deliver 11 to lead, tried 0", "deliver 11 to scout, tried 0", "stop 1, tried 3, not before 77"]
    );
    drop(writer);
    assert_healthy(&disk.db);

    // What becomes of them is written as if they had been wished for all along.
    let mut writer = disk.open_with(MIGRATIONS, &|_| panic!("a store is brought to the newest shape once")).unwrap();
    let remove =
        |agent: &str| Command::Agent(agent::Command::Remove(agent::Remove { agent: agent.into(), stop: false }));
    step(&mut writer, &[Submission { command: remove("lead"), ..create(1, "x") }])[0].as_ref().unwrap();
    assert_eq!(writer.published().wishes().len(), 2);
    drop(writer);
    assert_healthy(&disk.db);
}

#[test]
fn a_second_owner_fences_the_first() {
    let disk = Disk::new();
    let mut first = disk.open();
    step(&mut first, &[create(1, "one")]);
    let mut second = disk.open();
    step(&mut second, &[create(2, "two")]);
    let outcome = first.step(&[create(3, "three")], Time(0), &mut || 0);
    assert!(matches!(outcome, Err(Error::Fenced)), "the first must not write any more");
    assert_healthy(&disk.db);
}

#[test]
fn a_copied_store_is_another_history() {
    let disk = Disk::new();
    let mut writer = disk.open();
    step(&mut writer, &[create(1, "one")]);
    let epoch = writer.epoch();
    drop(writer);
    let copy = Disk::new();
    std::fs::copy(&disk.db, &copy.db).unwrap();
    let writer = copy.open();
    assert_ne!(writer.epoch(), epoch);
    assert!(matches!(writer.feed().after(Cursor { epoch, seq: Seq(1) }, 10), Page::Reset));
}

#[test]
fn readers_follow_without_a_gap_from_the_ring_and_from_the_log() {
    let disk = Disk::new();
    let mut writer = disk.open();
    step(&mut writer, &[create(1, "one"), create(2, "two"), create(3, "three")]);
    drop(writer);
    // The ring of a new process is empty: old events are in the log only.
    let mut writer = disk.open();
    let feed = writer.feed();
    let cursor = |seq| Cursor { epoch: writer.epoch(), seq: Seq(seq) };
    assert!(matches!(feed.after(cursor(0), 10), Page::InLog));
    let Page::Events(entries) = feed.from_log(cursor(0), 2).unwrap() else { panic!("no events") };
    assert_eq!(entries.iter().map(|entry| entry.seq.0).collect::<Vec<_>>(), [1, 2]);
    assert!(matches!(feed.after(cursor(3), 10), Page::Events(none) if none.is_empty()));
    assert!(matches!(feed.after(cursor(4), 10), Page::Reset), "ahead of us is not our history");
    let cursor = cursor(3);
    step(&mut writer, &[create(4, "four")]);
    let Page::Events(entries) = writer.feed().after(cursor, 10) else { panic!("no events") };
    assert_eq!(entries.len(), 1);
    let line: serde_json::Value = serde_json::from_str(&entries[0].json).unwrap();
    assert_eq!((&line["seq"], &line["type"], &line["actor"]), (&4.into(), &"team.created".into(), &"operator".into()));
    assert_eq!(line["at"], "2023-11-14T22:13:20.000Z");
}

#[test]
fn compaction_forgets_history_and_nothing_else() {
    let disk = Disk::new();
    let mut writer = disk.open();
    for n in 0..50 {
        step(&mut writer, &[create(n + 1, &format!("t{n}"))]);
    }
    let before = writer.published().read(|state, head| (state.clone(), head));
    let keep = Keep { rows: 10, age_ms: 0, receipts_age_ms: i64::MAX / 2 };
    while writer.compact(keep, Time(1_800_000_000_000)).unwrap() {}
    assert_eq!(writer.published().floor(), Seq(40));
    assert_eq!(writer.published().read(|state, head| (state.clone(), head)), before);
    assert_healthy(&disk.db);
    let cursor = |seq| Cursor { epoch: writer.epoch(), seq: Seq(seq) };
    assert!(matches!(writer.feed().after(cursor(39), 10), Page::Reset));
    drop(writer);
    let mut writer = disk.open();
    assert_eq!(writer.published().read(|state, head| (state.clone(), head)), before);
    step(&mut writer, &[create(100, "later")]);
    assert_eq!(head(&writer), Seq(51), "numbers are never used again");
    assert_healthy(&disk.db);
}

#[test]
fn doctor_sees_a_table_that_is_not_what_the_log_says() {
    let disk = Disk::new();
    let mut writer = disk.open();
    step(&mut writer, &[create(1, "one")]);
    drop(writer);
    let conn = rusqlite::Connection::open(&disk.db).unwrap();
    conn.execute("DELETE FROM team", []).unwrap();
    let findings = doctor::check(&disk.db);
    assert_eq!(findings[0].level, Level::Failure, "{findings:?}");
}

#[test]
fn a_full_disk_refuses_loses_nothing_and_recovers() {
    let disk = Disk::new();
    let mut writer = disk.open();
    step(&mut writer, &[create(1, "one")]);
    let state_before = writer.published().read(|state, head| (state.clone(), head));
    let pages: i64 = writer.store().pages().unwrap();
    writer.store().limit_pages(pages).unwrap();
    let mut n = 1;
    let refused = loop {
        n += 1;
        let long = agent::Create {
            id: None,
            name: Name::new(&format!("a{n}")).unwrap(),
            team: None,
            kind: amux_proto::entity::KindName::cmd(),
            argv: vec!["true".into(), "x".repeat(2000)],
            cwd: "/".into(),
            env: Default::default(),
            size: None,
            model: None,
            mode: None,
            resume: None,
            worktree: false,
            start: false,
        };
        let big = Submission { command: Command::Agent(agent::Command::Create(long)), ..create(n, "x") };
        match step(&mut writer, &[big]).remove(0) {
            Ok(_) => assert!(n < 500, "the disk never filled"),
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refused.code, Code::ReadOnly);
    assert_eq!(writer.published().mode(), Mode::ReadOnly);
    // Retries of what was acknowledged are still answered, and reading goes on.
    assert!(step(&mut writer, &[create(1, "one")])[0].is_ok());
    assert!(writer.published().read(|state, _| state.teams.len()) >= state_before.0.teams.len());
    let at_refusal = writer.published().read(|state, head| (state.clone(), head));
    writer.store().limit_pages(1 << 30).unwrap();
    assert!(step(&mut writer, &[create(9_999, "later")])[0].is_ok());
    assert_eq!(writer.published().mode(), Mode::ReadWrite);
    assert_eq!(head(&writer), at_refusal.1.next());
    drop(writer);
    assert_healthy(&disk.db);
}

#[test]
fn every_shape_ever_written_can_still_be_read() {
    let upcasters = Upcasters::current();
    let mut seen = std::collections::BTreeSet::new();
    for line in include_str!("corpus/v1.jsonl").lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let (kind, version) = (row["type"].as_str().unwrap(), row["v"].as_u64().unwrap() as u32);
        let event = upcasters.lift(kind, version, &row["body"].to_string());
        assert_eq!(event.unwrap_or_else(|error| panic!("{kind}: {error}")).name(), kind);
        seen.insert(kind.to_owned());
    }
    let missing: Vec<_> = Event::names().filter(|name| !seen.contains(*name)).collect();
    assert!(missing.is_empty(), "the corpus lacks {missing:?}");
}

#[test]
fn an_old_shape_is_lifted_step_by_step() {
    let upcasters = Upcasters::default()
        .with("team.made", 1, |mut body| {
            body["name"] = body["title"].take();
            ("team.made", body)
        })
        .with("team.made", 2, |body| ("team.created", body));
    let body = r#"{"team":"00000000-0000-0000-0000-000000000001","title":"shop"}"#;
    let event = upcasters.lift("team.made", 1, body).unwrap();
    assert_eq!(event.name(), "team.created");
    assert!(upcasters.lift("team.unheard", 1, "{}").is_err());
}

#[tokio::test]
async fn the_thread_answers_everybody_and_ends_when_told() {
    let disk = Disk::new();
    let running = amux_engine::spawn(disk.open()).unwrap();
    let handle = Arc::new(running.handle);
    let answers = (0..200u128).map(|n| {
        let handle = Arc::clone(&handle);
        tokio::spawn(async move { handle.submit(create(n + 1, &format!("t{n}"))).await })
    });
    let mut seqs = Vec::new();
    for answer in answers.collect::<Vec<_>>() {
        match answer.await.unwrap() {
            Ok(committed) => seqs.push(committed.seq),
            Err(refusal) => assert_eq!(refusal.code, Code::Limit),
        }
    }
    seqs.sort();
    seqs.dedup();
    assert_eq!(Some(*seqs.last().unwrap()), Some(Seq(seqs.len() as u64)), "one order, no holes");
    assert!(handle.ping().await);
    handle.end().await;
    running.thread.join().unwrap();
    assert_eq!(handle.submit(create(9_999, "late")).await.unwrap_err().code, Code::Unavailable);
}

//! What the writer does when the store under it is not what it should be: a row of old history that nobody can read,
//! a disk without room, a commit that a reader sees before it is published.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use amux_engine::store::{Keep, MIGRATIONS, Upcasters};
use amux_engine::{Boundary, Cursor, Options, Page, Store, Submission, Writer};
use amux_proto::command::team;
use amux_proto::{CmdId, Command, Name, Principal, Seq, Time};
use uuid::Uuid;

const NOW: Time = Time(1_700_000_000_000);
const LATER: Time = Time(1_800_000_000_000);

struct Disk {
    _dir: tempfile::TempDir,
    db: PathBuf,
}

impl Disk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { db: dir.path().join("agentmux.db"), _dir: dir }
    }

    fn open(&self) -> Writer {
        let upcasters = Upcasters::current();
        let backups = self.db.with_file_name("backups");
        let options =
            Options { migrations: MIGRATIONS, upcasters: &upcasters, on_migrating: &|_| {}, backups, now_ms: 1 };
        Writer::new(Store::open(&self.db, &options).unwrap())
    }

    fn sql(&self, text: &str) {
        rusqlite::Connection::open(&self.db).unwrap().execute_batch(text).unwrap();
    }

    fn count(&self, table: &str) -> u32 {
        let conn = rusqlite::Connection::open(&self.db).unwrap();
        conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }
}

fn create(n: u32) -> Submission {
    let name = Name::new(&format!("t{n}")).unwrap();
    let command = Command::Team(team::Command::Create(team::Create { id: None, name }));
    Submission {
        cmd_id: CmdId(Uuid::from_u128(u128::from(n))),
        actor: Principal::Operator,
        command,
        expect: None,
        cause: None,
    }
}

fn step(writer: &mut Writer, n: u32) {
    let mut seed = u128::from(n) << 64;
    let mut entropy = || {
        seed += 1;
        seed
    };
    assert!(writer.step(&[create(n)], NOW, &mut entropy).unwrap()[0].is_ok());
}

fn keep(rows: u64) -> Keep {
    Keep { rows, age_ms: 0, receipts_age_ms: i64::MAX / 2 }
}

#[test]
fn old_history_that_cannot_be_read_ends_only_the_forgetting() {
    let disk = Disk::new();
    let mut writer = disk.open();
    (1..=20).for_each(|n| step(&mut writer, n));
    disk.sql("UPDATE event SET type = 'team.unheard' WHERE seq = 3");
    assert!(!writer.compact(keep(5), LATER).unwrap(), "nothing was forgotten, and nothing broke");
    assert!(writer.published().uncompacted().is_some_and(|why| why.contains("team.unheard")));
    assert_eq!(writer.published().floor(), Seq(0));
    step(&mut writer, 21);
    assert!(!writer.compact(keep(5), LATER).unwrap());
    drop(writer);
    disk.sql("UPDATE event SET type = 'team.created' WHERE seq = 3");
    let mut writer = disk.open();
    assert!(writer.compact(keep(5), LATER).unwrap(), "the next start tries again");
    assert_eq!(writer.published().floor(), Seq(16));
}

#[test]
fn what_is_not_to_leave_is_not_read() {
    let disk = Disk::new();
    let mut writer = disk.open();
    (1..=20).for_each(|n| step(&mut writer, n));
    disk.sql("UPDATE event SET body = '{' WHERE seq = 18");
    while writer.compact(keep(5), LATER).unwrap() {}
    assert_eq!(writer.published().floor(), Seq(15));
    assert_eq!(writer.published().uncompacted(), None);
}

#[test]
fn receipts_are_forgotten_in_slices() {
    let disk = Disk::new();
    let mut writer = disk.open();
    let receipts = |count: u32, at: i64| {
        disk.sql(&format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
             INSERT INTO receipt (cmd_id, actor, digest, outcome, seq, at) \
             SELECT randomblob(16), 'operator', zeroblob(32), '{{}}', 0, {at} FROM n"
        ));
    };
    receipts(2250, 0);
    // A clock that was wrong for a while keeps nothing for ever.
    receipts(2250, LATER.0);
    step(&mut writer, 1);
    let keep = Keep { rows: 100, age_ms: 0, receipts_age_ms: 1_000 };
    let now = Time(NOW.0 + 500);
    assert!(writer.compact(keep, now).unwrap(), "there is more");
    assert_eq!(disk.count("receipt"), 2501);
    while writer.compact(keep, now).unwrap() {}
    assert_eq!(disk.count("receipt"), 1, "what is young stays");
    while writer.compact(keep, Time(0)).unwrap() {}
    assert_eq!(disk.count("receipt"), 1, "whose clock was set back forgets nothing");
}

#[test]
fn a_reader_of_the_log_is_never_ahead_of_what_was_published() {
    let disk = Disk::new();
    let mut writer = disk.open();
    step(&mut writer, 1);
    let (feed, epoch) = (writer.feed(), writer.epoch());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let mut writer = writer.observed(Box::new(move |boundary| {
        if boundary == Boundary::Committed {
            let Page::Events(entries) = feed.from_log(Cursor { epoch, seq: Seq(0) }, 10).unwrap() else { panic!() };
            sink.lock().unwrap().push(entries.len());
        }
    }));
    step(&mut writer, 2);
    assert_eq!(*seen.lock().unwrap(), [1], "the second was committed and nobody knew of it yet");
}

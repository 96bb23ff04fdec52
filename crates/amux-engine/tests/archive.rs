//! The promises of the archive, on real files: nothing is lost at any stage, nothing outside is touched.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::symlink;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use amux_engine::archive::{
    Done, Error, FILES_MAX, Form, Kept, Key, Leftover, Manifest, PackedFile, Policy, Restored, Roots, Stage, State,
    Step,
};
use amux_proto::view::Level;
use amux_proto::{AgentId, RunNo};
use uuid::Uuid;

const DAY: i64 = 24 * 60 * 60 * 1000;
/// Long ago, so that what a test touches without saying when was not touched before it.
const NOW: i64 = 1_600_000_000_123;

/// Everything in a directory, with bytes and times; a link is what it says and not what it leads to.
type Contents = BTreeMap<String, (Vec<u8>, i64)>;

struct House {
    dir: tempfile::TempDir,
    roots: Roots,
}

impl House {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots { tapes: dir.path().join("tapes"), archive: dir.path().join("archive") };
        fs::create_dir(&roots.tapes).unwrap();
        fs::create_dir(&roots.archive).unwrap();
        Self { dir, roots }
    }

    fn tape(&self, key: Key) -> PathBuf {
        self.roots.tapes.join(key.agent.to_string()).join(key.run.to_string())
    }

    fn shelf(&self, key: Key, suffix: &str) -> PathBuf {
        self.roots.archive.join(key.agent.to_string()).join(format!("{}.{suffix}", key.run))
    }

    fn packed(&self, key: Key) -> PathBuf {
        self.shelf(key, "tar.zst")
    }

    /// A tape that was last touched so many days ago.
    fn record(&self, key: Key, days: i64, files: &[(&str, &[u8])]) -> Contents {
        let dir = self.tape(key);
        fs::create_dir_all(&dir).unwrap();
        for (at, (name, bytes)) in files.iter().enumerate() {
            fs::write(dir.join(name), bytes).unwrap();
            set_time(&dir.join(name), NOW - days * DAY - at as i64);
        }
        set_time(&dir, NOW - days * DAY);
        contents(&dir)
    }

    fn plan_at(&self, now_ms: i64) -> amux_engine::archive::Plan {
        self.roots.plan(&|_, _| false, &Policy::default(), now_ms).unwrap()
    }

    fn steps(&self) -> Vec<Step> {
        self.plan_at(NOW).steps
    }

    fn carry_out(&self, step: &Step) -> Result<Done, Error> {
        self.roots.carry_out(step, NOW, &mut |_| Ok(()))
    }

    /// Plans and carries out until there is nothing to do.
    fn settle(&self) {
        for _ in 0..3 {
            for step in self.steps() {
                self.carry_out(&step).unwrap();
            }
        }
        assert_eq!(self.steps(), []);
    }

    fn pack(&self, key: Key, days: i64, files: &[(&str, &[u8])]) -> Contents {
        let before = self.record(key, days, files);
        self.settle();
        assert!(!self.tape(key).exists() && self.packed(key).exists());
        before
    }

    fn kept(&self) -> Vec<Kept> {
        let (kept, odd) = self.roots.list().unwrap();
        assert_eq!(odd, []);
        kept
    }

    fn is_healthy(&self) -> bool {
        self.roots.check().iter().all(|finding| finding.level == Level::Ok)
    }

    fn read(&self, key: Key, file: &str, from: u64, len: u64) -> Vec<u8> {
        self.roots.read(key, file, from, len).unwrap().bytes
    }
}

fn key(agent: u128, run: u32) -> Key {
    Key { agent: AgentId(Uuid::from_u128(agent)), run: RunNo(run) }
}

fn set_time(path: &Path, ms: i64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(ms.unsigned_abs());
    File::open(path).unwrap().set_modified(time).unwrap();
}

fn contents(dir: &Path) -> Contents {
    let entry = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        let meta = entry.metadata().unwrap();
        let bytes = if meta.is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() };
        let age = meta.modified().unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        (entry.file_name().to_string_lossy().into_owned(), (bytes, age.as_millis() as i64))
    };
    fs::read_dir(dir).unwrap().map(entry).collect()
}

/// Every path below, with the bytes of files.
fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            all.insert(entry.path(), Vec::new());
            all.extend(tree(&entry.path()));
        } else {
            all.insert(entry.path(), if kind.is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() });
        }
    }
    all
}

fn append(path: &Path, bytes: &[u8]) {
    File::options().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

/// Bytes that do not shrink.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

const TAPE: &[(&str, &[u8])] =
    &[("err", b""), ("out", b"hello\r\n"), ("out.1", &[7; 100_000]), ("spec.json", b"{\"argv\":[]}")];

#[test]
fn an_idle_run_is_packed_and_comes_back_byte_for_byte() {
    let house = House::new();
    let key = key(1, 1);
    let long = "n".repeat(255);
    let files: Vec<(&str, &[u8])> =
        TAPE.iter().copied().chain([(&*long, b"long".as_slice()), ("new\nline \u{1f4fc}", b"x")]).collect();
    let before = house.record(key, 8, &files);
    let steps = house.steps();
    assert!(matches!(steps[..], [Step::Archive { idle_ms, .. }] if idle_ms == 8 * DAY), "{steps:?}");
    let done = house.carry_out(&steps[0]).unwrap();
    let from = files.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
    let to = fs::metadata(house.packed(key)).unwrap().len();
    assert_eq!(done, Done::Archived { from_bytes: from, to_bytes: to });
    assert!(to < from / 20 && !house.tape(key).exists());
    assert!(house.is_healthy());

    assert_eq!(house.roots.restore(key, NOW).unwrap(), Restored::Now);
    assert_eq!(contents(&house.tape(key)), before);
    assert_eq!(house.roots.restore(key, NOW).unwrap(), Restored::Already);

    // Somebody wanted it: it stays for as long as any other run, and then the same archive stands for it.
    assert_eq!(house.plan_at(NOW + 7 * DAY - 1).steps, []);
    let steps = house.plan_at(NOW + 7 * DAY).steps;
    let archive = fs::read(house.packed(key)).unwrap();
    house.roots.carry_out(&steps[0], NOW + 7 * DAY, &mut |_| Ok(())).unwrap();
    assert!(!house.tape(key).exists());
    assert_eq!(fs::read(house.packed(key)).unwrap(), archive);
}

#[test]
fn a_run_without_a_byte_is_kept_as_a_fact() {
    let house = House::new();
    house.pack(key(1, 1), 9, &[]);
    assert_eq!(house.kept()[0].manifest.files, []);
    house.roots.restore(key(1, 1), NOW).unwrap();
    assert_eq!(contents(&house.tape(key(1, 1))), Contents::new());
}

/// Ends the first step of a plan at its n-th stage. `false`: it has no n-th stage.
fn end_at(house: &House, step: &Step, nth: usize, end: &dyn Fn() -> io::Error) -> (bool, Option<Stage>) {
    let (mut seen, mut last) = (0, None);
    let watch = &mut |stage| {
        if seen == nth {
            return Err(end());
        }
        seen += 1;
        last = Some(stage);
        Ok(())
    };
    let ended = catch_unwind(AssertUnwindSafe(|| house.roots.carry_out(step, NOW, watch)));
    (!matches!(ended, Ok(Ok(_))), last)
}

#[test]
fn a_crash_at_any_stage_loses_nothing_and_the_next_plan_goes_on() {
    let mut nth = 0;
    loop {
        let house = House::new();
        let key = key(1, 1);
        let before = house.record(key, 8, TAPE);
        // As a crash: nothing is tidied up on the way out.
        let (did_end, last) = end_at(&house, &house.steps()[0], nth, &|| resume_unwind(Box::new("crash")));
        let has_tape = house.tape(key).exists() && contents(&house.tape(key)) == before;
        let has_archive = house.packed(key).exists() && house.is_healthy();
        assert!(has_tape || has_archive, "after {last:?}");

        house.settle();
        let names: Vec<_> = tree(house.dir.path()).into_keys().filter(|path| path.is_file()).collect();
        assert_eq!(names, [house.packed(key)], "after {last:?}");
        house.roots.restore(key, NOW).unwrap();
        assert_eq!(contents(&house.tape(key)), before, "after {last:?}");
        if !did_end {
            break;
        }
        nth += 1;
    }
    assert_eq!(nth, TAPE.len() * 2 + 4, "every stage was the last one once");
}

#[test]
fn a_full_disk_leaves_the_tape_as_it_is_and_no_part() {
    for nth in 0..TAPE.len() + 2 {
        let house = House::new();
        house.record(key(1, 1), 8, TAPE);
        let before = tree(&house.roots.tapes);
        let (did_end, last) = end_at(&house, &house.steps()[0], nth, &|| io::ErrorKind::StorageFull.into());
        assert!(did_end);
        assert_eq!(tree(&house.roots.tapes), before, "after {last:?}");
        assert!(tree(&house.roots.archive).keys().all(|path| path.is_dir()), "after {last:?}");
        house.settle();
    }
}

#[test]
fn what_does_not_read_back_as_it_was_never_replaces_a_tape() {
    let house = House::new();
    let key = key(1, 1);
    house.record(key, 8, &[("out", &noise(5_000)), ("spec.json", b"{}")]);
    let before = tree(&house.roots.tapes);
    let part = house.shelf(key, "part");
    let step = &house.steps()[0];
    let whole = {
        let mut len = 0;
        let mut look = |stage| {
            if stage == Stage::Packed {
                len = fs::metadata(&part)?.len() as usize;
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        };
        house.roots.carry_out(step, NOW, &mut look).unwrap_err();
        len
    };
    let cut = (0..whole).step_by(97).map(|at| (at, true));
    let flipped = (0..whole).step_by(97).map(|at| (at, false));
    for (at, is_cut) in cut.chain(flipped) {
        let mut spoil = |stage| {
            if stage == Stage::Packed {
                let mut bytes = fs::read(&part)?;
                if is_cut {
                    bytes.truncate(at);
                } else {
                    bytes[at] ^= 0x10;
                }
                fs::write(&part, bytes)?;
            }
            Ok(())
        };
        let error = house.roots.carry_out(step, NOW, &mut spoil).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{at}: {error}");
        assert_eq!(tree(&house.roots.tapes), before);
        assert!(!part.exists() && !house.packed(key).exists());
    }
}

#[test]
fn a_tape_that_is_touched_while_it_is_packed_stays_and_is_packed_later_with_all() {
    for at in [Stage::FilePacked, Stage::Packed, Stage::Verified, Stage::Placed, Stage::SetAside] {
        let house = House::new();
        let key = key(1, 1);
        house.record(key, 8, TAPE);
        let step = &house.steps()[0];
        let aside = house.tape(key).with_extension("gone");
        let mut touch = |stage| {
            if stage == at {
                let dir = if at == Stage::SetAside { &aside } else { &house.tape(key) };
                append(&dir.join("out"), b"more");
            }
            Ok(())
        };
        let error = house.roots.carry_out(step, NOW, &mut touch).unwrap_err();
        assert!(matches!(error, Error::Touched { .. }), "{at:?}: {error}");
        let out = fs::read(house.tape(key).join("out")).unwrap();
        assert!(out.starts_with(b"hello\r\nmore"), "{at:?}");
        let was_in_time = !matches!(at, Stage::Placed | Stage::SetAside);
        assert_eq!(house.packed(key).exists(), !was_in_time, "{at:?}: an archive of half a tape helps nobody");
        // The plan was of another tape.
        assert!(matches!(house.carry_out(step).unwrap_err(), Error::Touched { .. }));

        let files: Vec<_> = fs::read_dir(house.tape(key)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.iter().chain([&house.tape(key)]).for_each(|path| set_time(path, NOW - 8 * DAY));
        house.settle();
        assert_eq!(house.read(key, "out", 0, 100_000), out, "{at:?}");
    }
}

#[test]
fn a_live_or_recently_touched_run_is_never_planned() {
    let house = House::new();
    house.record(key(1, 1), 30, TAPE);
    house.record(key(1, 2), 30, TAPE);
    house.record(key(2, 1), 6, TAPE);
    house.record(key(3, 1), 30, TAPE);
    append(&house.tape(key(3, 1)).join("out"), b"now");
    house.record(key(4, 1), -3, TAPE);
    let live = |agent, run| (agent, run) == (key(1, 2).agent, RunNo(2));
    let plan = house.roots.plan(&live, &Policy::default(), NOW).unwrap();
    let planned: Vec<_> = plan.steps.iter().map(ToString::to_string).collect();
    assert_eq!(planned, [format!("archive {}: 100018 bytes, untouched for 720 h", key(1, 1))]);
    assert_eq!(plan.odd, []);

    // Also when there is not to be any archive: what is live has its archive for as long as it lives.
    house.settle_only(key(1, 2));
    let nothing = Policy { cap_bytes: 0, ..Policy::default() };
    assert_eq!(house.roots.plan(&live, &nothing, NOW).unwrap().steps.len(), 1);
}

impl House {
    fn settle_only(&self, key: Key) {
        let of = |step: &&Step| matches!(step, Step::Archive { key: of, .. } if *of == key);
        self.carry_out(self.steps().iter().find(of).unwrap()).unwrap();
    }
}

#[test]
fn beyond_the_cap_the_oldest_go_first_and_the_fact_stays() {
    let house = House::new();
    // Packed in another order than they are old.
    for (at, days) in [(1, 20), (2, 40), (3, 30)] {
        house.pack(key(at, 1), days, &[("out", &noise(10_000))]);
    }
    let bytes = |at| fs::metadata(house.packed(key(at, 1))).unwrap().len();
    let all = bytes(1) + bytes(2) + bytes(3);
    let plan = |cap_bytes| {
        let policy = Policy { cap_bytes, ..Policy::default() };
        let steps = house.roots.plan(&|_, _| false, &policy, NOW).unwrap().steps;
        let dropped = |step: &Step| match step {
            Step::Drop { key, .. } => *key,
            other => panic!("{other}"),
        };
        (steps.iter().map(dropped).collect::<Vec<_>>(), steps)
    };
    assert_eq!(plan(all).0, []);
    assert_eq!(plan(all - 1).0, [key(2, 1)]);
    assert_eq!(plan(bytes(1)).0, [key(2, 1), key(3, 1)]);
    assert_eq!(plan(0).0, [key(2, 1), key(3, 1), key(1, 1)]);

    // A crash before the archive went: it is still one, and goes the next time.
    let step = plan(all - 1).1.remove(0);
    let manifest = house.kept()[1].manifest.clone();
    assert!(end_at(&house, &step, 0, &|| resume_unwind(Box::new("crash"))).0);
    assert!(house.kept().iter().all(|kept| kept.state == State::Packed));
    let was = bytes(2);
    assert_eq!(house.carry_out(&plan(all - 1).1[0]).unwrap(), Done::Dropped { bytes: was });

    assert!(!house.packed(key(2, 1)).exists() && house.is_healthy());
    let kept = house.kept();
    assert_eq!(kept.len(), 3);
    assert_eq!(kept[1], Kept { manifest, state: State::Dropped { at_ms: NOW }, bytes: was });
    assert_eq!(plan(all - 1).0, []);
    assert!(matches!(house.roots.restore(key(2, 1), NOW), Err(Error::Missing(_))));
}

#[test]
fn an_archive_beside_its_tape_is_not_dropped_and_counts_for_nothing() {
    let house = House::new();
    house.pack(key(1, 1), 40, &[("out", &noise(10_000))]);
    house.pack(key(2, 1), 20, &[("out", &noise(10_000))]);
    let cap_bytes = fs::metadata(house.packed(key(2, 1))).unwrap().len();
    let policy = Policy { cap_bytes, ..Policy::default() };
    let steps = house.roots.plan(&|_, _| false, &policy, NOW).unwrap().steps;
    house.roots.restore(key(1, 1), NOW).unwrap();
    // The plan is older than the tape.
    assert!(matches!(house.carry_out(&steps[0]), Err(Error::Touched { .. })));
    assert_eq!(house.roots.plan(&|_, _| false, &policy, NOW).unwrap().steps, []);
    assert!(house.packed(key(1, 1)).exists());
}

#[test]
fn a_tape_with_less_than_its_archive_is_not_put_in_its_place() {
    let house = House::new();
    let key = key(1, 1);
    let before = house.pack(key, 20, TAPE);
    // A late writer made the run anew.
    house.record(key, 10, &[("out", b"late")]);
    let error = house.carry_out(&house.steps()[0]).unwrap_err();
    assert!(matches!(&error, Error::Differs { file, .. } if file == "err"), "{error}");
    assert!(matches!(house.roots.restore(key, NOW), Err(Error::Differs { .. })));
    assert_eq!(fs::read(house.tape(key).join("out")).unwrap(), b"late");
    fs::remove_dir_all(house.tape(key)).unwrap();
    house.roots.restore(key, NOW).unwrap();
    assert_eq!(contents(&house.tape(key)), before);
}

#[test]
fn what_is_left_over_stays_where_no_verified_archive_stands_for_it() {
    let house = House::new();
    let (lost, damaged, strange) = (key(1, 1), key(2, 1), key(3, 1));
    house.record(lost, 8, TAPE);
    house.pack(damaged, 8, TAPE);
    house.pack(strange, 8, TAPE);
    fs::remove_dir_all(house.roots.archive.join(lost.agent.to_string())).unwrap();
    house.record(lost, 8, TAPE);
    let gone = |key| house.tape(key).with_extension("gone");
    fs::rename(house.tape(lost), gone(lost)).unwrap();
    fs::create_dir_all(house.shelf(key(4, 1), "part").parent().unwrap()).unwrap();
    fs::write(house.shelf(key(4, 1), "part"), "cut").unwrap();

    house.roots.restore(damaged, NOW).unwrap();
    fs::rename(house.tape(damaged), house.tape(damaged).with_extension("restoring")).unwrap();
    fs::write(house.shelf(damaged, "part"), "cut").unwrap();
    let mut bytes = fs::read(house.packed(damaged)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(house.packed(damaged), bytes).unwrap();

    house.roots.restore(strange, NOW).unwrap();
    append(&house.tape(strange).join("out"), b"not in the archive");
    fs::rename(house.tape(strange), gone(strange)).unwrap();

    let before = tree(house.dir.path());
    let plan = house.plan_at(NOW);
    let cleans: Vec<_> = plan.steps.iter().map(|step| house.carry_out(step)).collect();
    assert!(
        matches!(cleans[..], [Err(Error::Damaged { .. }), Err(Error::Damaged { .. }), Err(Error::Differs { .. })]),
        "{cleans:?}"
    );
    let odd: Vec<_> = plan.odd.iter().map(|odd| odd.path.clone()).collect();
    assert_eq!(odd, [gone(lost), house.shelf(key(4, 1), "part")]);
    assert_eq!(tree(house.dir.path()), before);
}

#[test]
fn what_is_left_over_goes_where_a_verified_archive_stands_for_it() {
    let house = House::new();
    let key = key(1, 1);
    house.pack(key, 8, TAPE);
    let settled = tree(house.dir.path());
    for leftover in ["gone", "restoring"] {
        house.roots.restore(key, NOW).unwrap();
        let aside = house.tape(key).with_extension(leftover);
        fs::rename(house.tape(key), &aside).unwrap();
        fs::remove_file(aside.join("out")).unwrap();
    }
    fs::write(house.shelf(key, "part"), "cut").unwrap();
    assert!(house.steps().iter().all(|step| matches!(step, Step::Clean { .. })));
    house.settle();
    assert_eq!(tree(house.dir.path()), settled);
}

#[test]
fn a_restore_that_was_cut_off_begins_anew() {
    let house = House::new();
    let key = key(1, 1);
    let before = house.pack(key, 8, TAPE);
    let half = house.tape(key).with_extension("restoring");
    fs::create_dir_all(&half).unwrap();
    fs::write(half.join("out"), "he").unwrap();
    house.roots.restore(key, NOW).unwrap();
    assert_eq!(contents(&house.tape(key)), before);
    assert!(!half.exists());
}

#[test]
fn a_damaged_archive_is_not_restored_not_dropped_and_hides_no_other() {
    let house = House::new();
    house.pack(key(1, 1), 40, &[("out", &noise(20_000))]);
    house.pack(key(2, 1), 20, TAPE);
    let good = fs::read(house.packed(key(1, 1))).unwrap();
    for at in [0, 10, good.len() / 2, good.len() - 1] {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        fs::write(house.packed(key(1, 1)), bytes).unwrap();
        let error = house.roots.restore(key(1, 1), NOW).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
        assert!(fs::read_dir(house.tape(key(1, 1)).parent().unwrap()).unwrap().next().is_none());
        let findings = house.roots.check();
        let failures = findings.iter().filter(|finding| finding.level == Level::Failure).count();
        assert_eq!((failures, &*findings[0].message), (1, "1 archived runs are as they were packed"));
    }
    // Its manifest cannot be read.
    fs::write(house.packed(key(1, 1)), &good[1..]).unwrap();
    let (kept, odd) = house.roots.list().unwrap();
    assert_eq!((kept.len(), odd.len()), (1, 1));
    let plan = house.roots.plan(&|_, _| false, &Policy { cap_bytes: 0, ..Policy::default() }, NOW).unwrap();
    assert!(matches!(plan.steps[..], [Step::Drop { key: of, .. }] if of == key(2, 1)));
    assert_eq!(plan.odd[0].path, house.packed(key(1, 1)));
}

#[test]
fn a_tape_heals_its_damaged_archive() {
    let house = House::new();
    let key = key(1, 1);
    let before = house.pack(key, 8, &[("out", &noise(20_000))]);
    house.roots.restore(key, NOW).unwrap();
    let mut bytes = fs::read(house.packed(key)).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 0x10;
    fs::write(house.packed(key), bytes).unwrap();
    assert!(!house.is_healthy());
    let step = house.plan_at(NOW + 8 * DAY).steps.remove(0);
    house.carry_out(&step).unwrap();
    assert!(house.is_healthy());
    house.roots.restore(key, NOW).unwrap();
    assert_eq!(contents(&house.tape(key)), before);
}

#[test]
fn no_link_is_followed_and_nothing_outside_is_touched() {
    let house = House::new();
    let outside = house.dir.path().join("outside");
    fs::create_dir_all(outside.join("1")).unwrap();
    for name in ["1/out", "letter"] {
        fs::write(outside.join(name), "kept").unwrap();
        set_time(&outside.join(name), NOW - 30 * DAY);
    }
    let (run, agent, file, shelf) = (key(1, 1), key(2, 1), key(3, 1), key(4, 1));
    // A run, an agent, a file, and the place where an archive would be written.
    fs::create_dir_all(house.tape(run).parent().unwrap()).unwrap();
    symlink(outside.join("1"), house.tape(run)).unwrap();
    symlink(&outside, house.tape(agent).parent().unwrap()).unwrap();
    house.record(file, 30, TAPE);
    symlink(outside.join("letter"), house.tape(file).join("link")).unwrap();
    set_time(&house.tape(file), NOW - 30 * DAY);
    house.record(shelf, 30, TAPE);
    symlink(&outside, house.packed(shelf).parent().unwrap()).unwrap();
    let before = (tree(&outside), tree(&house.roots.tapes));

    let plan = house.plan_at(NOW);
    assert_eq!(plan.steps, []);
    assert_eq!(plan.odd.len(), 4, "{:?}", plan.odd);
    for key in [run, agent, file, shelf] {
        let steps = [
            Step::Archive { key, bytes: 0, touched_ms: NOW, idle_ms: 0, level: 3 },
            Step::Drop { key, bytes: 0, total_bytes: 0, cap_bytes: 0 },
            Step::Clean { key, leftover: Leftover::Gone },
        ];
        for step in &steps {
            assert!(house.carry_out(step).is_err(), "{step}");
        }
        assert!(house.roots.restore(key, NOW).is_err());
        if key != shelf {
            assert!(house.roots.export(key, Form::Tar, NOW, &mut Vec::new()).is_err());
        }
    }
    assert_eq!((tree(&outside), tree(&house.roots.tapes)), before);
    assert!(house.roots.usage().unwrap().archive_bytes == 0);
}

#[test]
fn a_link_swapped_in_while_a_run_is_packed_is_not_followed() {
    let house = House::new();
    let key = key(1, 1);
    house.record(key, 8, TAPE);
    let outside = house.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("out"), "kept").unwrap();
    let aside = house.tape(key).with_extension("gone");
    let stolen = house.dir.path().join("stolen");
    let mut swap = |stage| {
        if stage == Stage::SetAside {
            fs::rename(&aside, &stolen)?;
            symlink(&outside, &aside)?;
        }
        Ok(())
    };
    house.roots.carry_out(&house.steps()[0], NOW, &mut swap).unwrap_err();
    assert_eq!(fs::read(outside.join("out")).unwrap(), b"kept");
}

#[test]
fn an_archive_cannot_name_a_file_outside() {
    let house = House::new();
    let key = key(1, 1);
    for name in ["../../evil", "..", "/evil", "a/b"] {
        let bytes = b"evil";
        let blake3 = blake3::hash(bytes).to_hex().to_string();
        let files = vec![PackedFile { name: name.into(), bytes: 4, blake3, mtime_ms: NOW }];
        let manifest = serde_json::to_vec(&Manifest { format: 1, key, packed_ms: NOW, files }).unwrap();
        let mut out = zstd::Encoder::new(Vec::new(), 3).unwrap();
        for (path, bytes) in [("manifest.json", &*manifest), (&format!("tape/{name}"), bytes)] {
            let mut header = tar::Header::new_gnu();
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.set_size(bytes.len() as u64);
            header.set_cksum();
            out.write_all(header.as_bytes()).unwrap();
            out.write_all(bytes).unwrap();
            out.write_all(&vec![0; bytes.len().next_multiple_of(512) - bytes.len()]).unwrap();
        }
        out.write_all(&[0; 1024]).unwrap();
        fs::create_dir_all(house.packed(key).parent().unwrap()).unwrap();
        fs::write(house.packed(key), out.finish().unwrap()).unwrap();
        assert!(house.is_healthy(), "the forgery is a good one");
        assert!(house.roots.restore(key, NOW).is_err(), "{name}");
        let files: Vec<_> = tree(house.dir.path()).into_keys().filter(|path| path.is_file()).collect();
        assert_eq!(files, [house.packed(key)], "{name}");
    }
}

#[test]
fn what_is_not_a_tape_is_said_and_left_and_hides_no_other() {
    use std::os::unix::ffi::OsStrExt as _;
    let house = House::new();
    house.record(key(1, 1), 30, TAPE);
    let odd = |at, make: &dyn Fn(&Path)| {
        house.record(key(at, 1), 30, TAPE);
        make(&house.tape(key(at, 1)));
        set_time(&house.tape(key(at, 1)), NOW - 30 * DAY);
    };
    odd(2, &|dir| fs::create_dir(dir.join("sub")).unwrap());
    // To open one without a writer would wait for ever.
    odd(3, &|dir| {
        let made = std::process::Command::new("mkfifo").arg(dir.join("pipe")).status().unwrap();
        assert!(made.success());
    });
    odd(4, &|dir| fs::write(dir.join(std::ffi::OsStr::from_bytes(b"\xff")), "").unwrap());
    odd(5, &|dir| (0..FILES_MAX).for_each(|at| fs::write(dir.join(format!("f{at}")), "").unwrap()));
    fs::write(house.roots.tapes.join("README"), "").unwrap();
    fs::write(house.tape(key(6, 1)).with_file_name(""), "").unwrap_err();
    let agent = house.tape(key(1, 1)).parent().unwrap().to_owned();
    fs::create_dir(agent.join("01")).unwrap();
    fs::write(agent.join("2"), "a file with the name of a run").unwrap();
    let loud = house.roots.tapes.join(key(0xabcdef, 1).agent.to_string().to_uppercase());
    fs::create_dir(loud).unwrap();

    let plan = house.plan_at(NOW);
    assert!(matches!(plan.steps[..], [Step::Archive { key: of, .. }] if of == key(1, 1)), "{:?}", plan.steps);
    assert_eq!(plan.odd.len(), 8, "{:#?}", plan.odd);
    for at in 2..=5 {
        let step = Step::Archive { key: key(at, 1), bytes: 0, touched_ms: NOW, idle_ms: 0, level: 3 };
        assert!(matches!(house.carry_out(&step), Err(Error::Odd { .. })), "{at}");
        assert_eq!(fs::read(house.tape(key(at, 1)).join("out")).unwrap(), b"hello\r\n");
    }
}

#[test]
fn a_file_that_cannot_be_read_keeps_its_tape() {
    let house = House::new();
    let key = key(1, 1);
    house.record(key, 8, TAPE);
    let step = house.steps().remove(0);
    let secret = house.tape(key).join("out");
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    // The superuser reads it all the same.
    if File::open(&secret).is_err() {
        assert!(matches!(house.carry_out(&step), Err(Error::Io { .. })));
        assert!(secret.exists() && !house.packed(key).exists());
    }
}

/// Writes nowhere, and remembers the most memory this process had meanwhile.
struct Scale {
    most_bytes: u64,
    bytes: u64,
}

impl Scale {
    fn look(&mut self) {
        self.most_bytes = self.most_bytes.max(amux_sys::process::rss_bytes(std::process::id()).unwrap_or(0));
    }
}

impl Write for Scale {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes / (4 << 20) != (self.bytes + bytes.len() as u64) / (4 << 20) {
            self.look();
        }
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn memory_does_not_grow_with_the_tape() {
    const BIG: usize = 50 << 20;
    let house = House::new();
    let key = key(1, 1);
    let digest = {
        let big = noise(BIG);
        let dir = house.tape(key);
        fs::create_dir_all(&dir).unwrap();
        for (name, bytes) in [("empty", &[][..]), ("pty", &big)] {
            fs::write(dir.join(name), bytes).unwrap();
            set_time(&dir.join(name), NOW - 8 * DAY);
        }
        set_time(&dir, NOW - 8 * DAY);
        blake3::hash(&big)
    };
    let mut scale = Scale { most_bytes: 0, bytes: 0 };
    scale.look();
    let before = scale.most_bytes;

    let step = house.steps().remove(0);
    let mut watch = |_| {
        scale.look();
        Ok(())
    };
    house.roots.carry_out(&step, NOW, &mut watch).unwrap();
    assert!(house.is_healthy());
    scale.look();
    house.roots.export(key, Form::Tar, NOW, &mut scale).unwrap();
    house.roots.restore(key, NOW).unwrap();
    scale.look();
    house.roots.export(key, Form::TarZst { level: 1 }, NOW, &mut scale).unwrap();
    let slice = house.roots.read(key, "pty", BIG as u64 - 5, u64::MAX).unwrap();
    scale.look();
    assert_eq!((slice.bytes.len(), slice.total_bytes), (5, BIG as u64));
    assert!(scale.bytes > 2 * BIG as u64);
    let grown = scale.most_bytes.saturating_sub(before);
    assert!(grown < BIG as u64 / 2, "{} MiB more", grown >> 20);

    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(house.tape(key).join("pty")).unwrap()).unwrap();
    assert_eq!(hasher.finalize(), digest);
    assert_eq!(fs::metadata(house.tape(key).join("empty")).unwrap().len(), 0);
}

#[test]
fn a_transcript_stays_readable_in_the_archive() {
    let house = House::new();
    let key = key(1, 1);
    let text = noise(300_000);
    house.pack(key, 8, &[("err", b""), ("in", b"typed"), ("out", &text)]);
    for (from, len) in [(0, 10), (150_000, 70_000), (299_990, 100), (300_000, 5), (u64::MAX, 5), (0, u64::MAX)] {
        let begin = from.min(300_000) as usize;
        let end = from.saturating_add(len).min(300_000) as usize;
        assert_eq!(house.read(key, "out", from, len), text[begin..end]);
    }
    assert_eq!(house.read(key, "in", 0, 100), b"typed");
    assert_eq!(house.read(key, "err", 0, 100), b"");
    for file in ["nothing", "manifest.json", "../out", ""] {
        assert!(matches!(house.roots.read(key, file, 0, 1), Err(Error::NoFile { .. })), "{file}");
    }
    let other = Key { run: RunNo(2), ..key };
    assert!(matches!(house.roots.read(other, "out", 0, 1), Err(Error::Missing(_))));
}

fn untar(mut from: impl io::Read) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(&mut from).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.insert(entry.path().unwrap().to_string_lossy().into_owned(), bytes);
    }
    files
}

#[test]
fn a_copy_is_the_same_from_the_tape_and_from_the_archive() {
    let house = House::new();
    let key = key(1, 1);
    house.record(key, 8, TAPE);
    let copies = || {
        let copy = |form| {
            let mut bytes = Vec::new();
            house.roots.export(key, form, NOW, &mut bytes).unwrap();
            bytes
        };
        let packed = zstd::decode_all(&*copy(Form::TarZst { level: 3 })).unwrap();
        (untar(&*copy(Form::Tar)), untar(&*packed))
    };
    let live = copies();
    assert_eq!(live.0, live.1);
    assert_eq!(live.0["tape/out"], b"hello\r\n");
    assert_eq!(live.0.len(), TAPE.len() + 1);
    house.settle();
    assert_eq!(copies(), live);
    let other = Key { run: RunNo(2), ..key };
    assert!(matches!(house.roots.export(other, Form::Tar, NOW, &mut Vec::new()), Err(Error::Missing(_))));
}

#[test]
fn a_copy_of_a_tape_that_is_written_is_of_one_moment() {
    struct Growing<'a> {
        tape: &'a Path,
        bytes: Vec<u8>,
    }
    impl Write for Growing<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            append(&self.tape.join("out.1"), b"more");
            // The segments turn.
            let _ = fs::rename(self.tape.join("out"), self.tape.join("out.2"));
            self.bytes.extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let house = House::new();
    let key = key(1, 1);
    house.record(key, 0, TAPE);
    let mut to = Growing { tape: &house.tape(key), bytes: Vec::new() };
    let manifest = house.roots.export(key, Form::Tar, NOW, &mut to).unwrap();
    let copy = untar(&*to.bytes);
    for (file, (name, bytes)) in manifest.files.iter().zip(TAPE) {
        assert_eq!((&*file.name, &*copy[&format!("tape/{name}")]), (*name, *bytes));
    }
}

#[test]
fn usage_counts_both_sides_and_what_is_left_over() {
    let house = House::new();
    assert_eq!(house.roots.usage().unwrap(), Default::default());
    house.pack(key(1, 1), 8, TAPE);
    let archived = fs::metadata(house.packed(key(1, 1))).unwrap().len();
    house.record(key(1, 2), 0, &[("out", b"12345")]);
    fs::create_dir(house.tape(key(1, 2)).with_extension("gone")).unwrap();
    fs::write(house.tape(key(1, 2)).with_extension("gone").join("out"), "123").unwrap();
    fs::write(house.shelf(key(1, 2), "part"), "12").unwrap();
    let usage = house.roots.usage().unwrap();
    assert_eq!((usage.tapes_bytes, usage.archive_bytes), (8, archived + 2));
    fs::remove_dir_all(&house.roots.tapes).unwrap();
    assert_eq!(house.roots.usage().unwrap().tapes_bytes, 0);
}

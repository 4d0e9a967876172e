//! The same life in a file of this machine, without a server: what one process does to the file while it is
//! killed or stands still is all that the others have to fear.

use std::process::Command;
use std::time::{Duration, Instant};

use parti_testing::rig::worker_logs::{Life, judge, shares, takeover_ms};
use rusqlite::Connection;

use super::{Group, PARTITIONS, Place, Strain, example, now_ms, shares_are};

/// A folder of the group's own.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("parti-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    fn file(&self) -> std::path::PathBuf {
        self.0.join("group.db")
    }

    fn group(&self, workers: usize) -> Group {
        let place = Place::File(self.file());
        Group::start_in(place, "fast", workers, &[])
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn owned(lives: &[Life]) -> usize {
    shares(lives).iter().sum()
}

/// Processes of one machine need no server to take over from each other.
#[test]
fn processes_in_one_file_share_survive_kills_and_leave_cleanly() {
    let strain = Strain::begin();
    let folder = Folder::new("file-kills");
    let mut group = folder.group(4);
    group.until("an even share", |lives| shares_are(lives, &[25; 4]));
    group.join(4);
    group.until("a share for the fifth", |lives| shares(lives)[4] == 20);
    for leads in [false, true] {
        group.until("everything owned", |lives| owned(lives) == PARTITIONS);
        let victim = group.position(|leader| leader == leads);
        group.kill(victim);
        group.until("taken over", |lives| takeover_ms(lives, victim).is_some());
        let took = takeover_ms(&group.lives(), victim).expect("waited for");
        eprintln!("taken over after {took} ms, leader: {leads}");
        assert!(took <= strain.allows(1000 + 1000), "{took} ms, {strain}");
    }
    group.until("everything owned", |lives| owned(lives) == PARTITIONS);
    for process in group.alive() {
        let status = group.terminate(process);
        assert!(status.success(), "SIGTERM is a clean end: {status}");
    }
    assert_eq!(judge(&group.lives()), []);
}

/// A process that stands still, at whatever moment, loses its partitions and comes back without them.
#[test]
fn processes_in_one_file_that_stand_still_are_taken_over_and_come_back() {
    let folder = Folder::new("file-stops");
    let group = folder.group(3);
    for round in 0..4 {
        group.until("everything owned", |lives| {
            owned(lives) == PARTITIONS && shares(lives).iter().all(|share| *share >= 30)
        });
        // Of each pair one leads and one does not.
        let victim = group.position(|leads| leads == (round % 2 == 0));
        let before = group.lives()[victim].clone();
        group.processes[victim].child.pause().expect("pauses");
        group.processes[victim].seen().paused_at_ms = Some(now_ms());
        group.until("taken over", |lives| takeover_ms(lives, victim).is_some());
        std::thread::sleep(Duration::from_millis(50 * round));
        group.processes[victim].child.resume().expect("goes on");
        group.until("a new session", |lives| {
            lives[victim].count("claimed") > before.count("claimed")
        });
    }
    group.until("everything owned", |lives| owned(lives) == PARTITIONS);
    assert_eq!(judge(&group.lives()), []);
}

/// A process that stands still inside a write keeps all others from renewing. Work pauses then, and nobody
/// owns what somebody else may still own; when it goes on, everything is as it was.
#[test]
fn a_lock_that_is_held_past_the_leases_pauses_the_group_and_no_more() {
    let folder = Folder::new("file-held");
    let group = folder.group(3);
    group.until("everything owned", |lives| owned(lives) == PARTITIONS);
    let before: Vec<_> = group.lives().iter().map(Life::owned).collect();
    let holder = Connection::open(folder.file()).expect("opens");
    holder.busy_timeout(super::LIMIT).expect("set");
    holder
        .execute_batch("BEGIN IMMEDIATE")
        .expect("it has the lock");
    let begun = Instant::now();
    group.until("everything given up", |lives| owned(lives) == 0);
    eprintln!("given up {:?} after the lock was taken", begun.elapsed());
    holder.execute_batch("ROLLBACK").expect("it ends");
    let begun = Instant::now();
    group.until("everything back", |lives| owned(lives) == PARTITIONS);
    eprintln!("owned again {:?} after it was given back", begun.elapsed());
    let lives = group.lives();
    assert_eq!(lives.iter().map(Life::owned).collect::<Vec<_>>(), before);
    for life in &lives {
        assert_eq!(life.count("claimed"), 1, "the same session goes on");
    }
    assert_eq!(judge(&lives), []);
}

/// What the README shows has to be what happens.
#[test]
fn the_quickstart_in_a_file_kills_a_process_and_shows_the_takeover() {
    let strain = Strain::begin();
    let folder = Folder::new("file-quickstart");
    let mut play = Command::new(example("quickstart"));
    play.arg("--store")
        .arg(format!("file:{}", folder.file().display()));
    let played = play
        .args(["--json", "--pause-ms", "100"])
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&played.stdout);
    assert!(played.status.success(), "{said}{played:?}");
    let line = said.lines().last().unwrap_or_default();
    let line: serde_json::Value = serde_json::from_str(line).expect("one line of JSON");
    assert!(
        line["ok"] == true && line["writes"].as_u64() > Some(0),
        "{said}"
    );
    let took = line["takeover_ms"].as_u64().expect("a time");
    assert!(took <= strain.allows(1000 + 1000), "{took} ms, {strain}");
}

//! Recordings: a group in a file shows what the group showed, when the group is gone.

use std::path::PathBuf;
use std::process::{Child, Stdio};

use super::*;

/// A folder of its own, removed with everything in it.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("parti-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub(super) fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A program that records until it is killed.
struct Recorder(Child);

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The morning after, nobody could say what the group had looked like at three.
#[tokio::test(flavor = "multi_thread")]
async fn a_recording_shows_what_the_group_was_and_what_became_of_it() {
    let server = server("");
    let url = server.url();
    let [first, second] = group(&url, "orders").await;
    let folder = Folder::new("recordings");
    let (file, growing) = (folder.file("snapshot"), folder.file("growing"));
    let told = parti(&url, &["export", &file]);
    assert!(told.status.success(), "{told:?}");
    fails(&url, &["export", &file], 2, &["is there already", &file]);
    let live = json(&url, &["status"]);
    let worker = first.status().worker.expect("claimed").to_string();
    let of_first = |at: &[&str]| {
        let arguments = [&["replay", &*growing], at, &["partitions", "--of", &worker]].concat();
        json("", &arguments).as_array().map(Vec::len)
    };
    let owner = json(&url, &["owner", "p/3"]);

    let recording = Command::new(env!("CARGO_BIN_EXE_parti"))
        .args(["--server", &url, "export", &growing, "--for", "10m"])
        .stdout(Stdio::null())
        .spawn();
    let recording = Recorder(recording.expect("runs"));
    let has = |what: &str| {
        let text = std::fs::read_to_string(&growing).unwrap_or_default();
        text.contains(what)
    };
    until("it records", PATIENCE, || has("caught_up")).await;
    let length = || {
        let text = std::fs::read_to_string(&growing).unwrap_or_default();
        text.lines().count()
    };
    let before = length();
    second.stop(StopMode::Handoff).await.expect("stops");
    until("the other owns all", PATIENCE, || {
        first.assignment().len() == 12
    })
    .await;
    until("it is written down", PATIENCE, || length() > before + 2).await;
    until("the end of it", PATIENCE, || of_first(&[]) == Some(12)).await;
    // Killed in the middle of whatever it does.
    drop(recording);
    first.stop(StopMode::Now).await.expect("stops");
    drop(server);

    let replayed = json("", &["replay", &file]);
    for same in ["partitions", "store", "generations"] {
        assert_eq!(replayed[same], live[same], "{same}");
    }
    assert_eq!(replayed["leading"]["leader"], live["leading"]["leader"]);
    assert_eq!(json("", &["replay", &file, "owner", "p/3"]), owner);
    assert_eq!(
        (of_first(&["--at", "0s"]), of_first(&[])),
        (Some(6), Some(12))
    );
    fails(
        "",
        &["replay", &growing, "--at", "20d"],
        2,
        &["the recording lasts"],
    );
    fails("", &["replay", &folder.file("none")], 3, &["none"]);
    std::fs::write(folder.file("other"), "no recording\n").expect("writes");
    fails("", &["replay", &folder.file("other")], 2, &["line 1"]);
    fails("", &["replay", &file, "top"], 2, &["terminal"]);
    fails("", &["replay", &file, "owner", "p/33"], 3, &["p/3"]);
}

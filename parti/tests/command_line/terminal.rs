//! `top` in a real terminal: `script` gives it one.

use std::io::{Read as _, Write as _};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::recordings::Folder;
use super::verbs::orders;
use super::*;

/// A terminal with a program in it. Both end with it, also when the test fails.
struct Terminal {
    child: Child,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    /// Runs the program with these arguments in a terminal of the usual size, if there is one to be had.
    fn start(arguments: &str) -> Option<Self> {
        if Command::new("script").arg("--version").output().is_err() {
            eprintln!("there is no `script` here: a terminal cannot be had");
            return None;
        }
        let program = env!("CARGO_BIN_EXE_parti");
        let inner = format!("stty rows 24 cols 80; exec '{program}' {arguments}");
        let child = Command::new("script")
            .args(["-qec", &inner, "/dev/null"])
            .env("TERM", "xterm-256color")
            .env("SHELL", "/bin/sh")
            .env("XDG_CONFIG_HOME", "/nowhere")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.expect("runs");
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut output, into) = (child.stdout.take().expect("piped"), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut some = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut some) {
                let text = String::from_utf8_lossy(&some[..length]).into_owned();
                into.lock().expect("no panic").push_str(&text);
            }
        });
        Some(Self { child, shown })
    }

    fn press(&mut self, key: &[u8]) {
        let keys = self.child.stdin.as_mut().expect("piped");
        keys.write_all(key)
            .and_then(|()| keys.flush())
            .expect("open");
    }

    /// Single words: a terminal is told to move over blanks.
    async fn sees(&self, what: &str) {
        let sees = || self.shown.lock().expect("no panic").contains(what);
        until(what, PATIENCE, sees).await;
    }

    /// Quits, and looks whether the terminal is given back.
    async fn quit(mut self) {
        self.press(b"q");
        let begun = Instant::now();
        let ended = loop {
            if let Some(ended) = self.child.try_wait().expect("a child") {
                break ended;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert!(ended.success(), "{ended}");
        // The alternate screen is left.
        self.sees("\u{1b}[?1049l").await;
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keys, screen and verbs work outside of tests of their parts, and the terminal is given back.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_drained_by_keys_of_top() {
    let server = server("");
    let url = server.url();
    let workers = group(&url, "orders").await;
    let store = orders_of(&url).await;
    let Some(mut terminal) = Terminal::start(&format!("--server {url} --group orders top")) else {
        return;
    };
    terminal.sees("workers").await;
    terminal.press(b"d");
    terminal.sees("other").await;
    assert_eq!(
        orders(&store).await,
        0,
        "nothing is done before it is agreed to"
    );
    terminal.press(b"y");
    terminal.sees("ordered:").await;
    assert_eq!(orders(&store).await, 1);
    terminal.quit().await;
    for worker in workers {
        worker.stop(StopMode::Now).await.expect("stops");
    }
}

/// A key pressed while an old incident is looked at must not order anything, of any group.
#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_played_by_top_and_takes_no_orders() {
    let server = server("");
    let url = server.url();
    let workers = group(&url, "orders").await;
    let store = orders_of(&url).await;
    let folder = Folder::new("played");
    let file = folder.file("recording");
    let told = parti(&url, &["export", &file]);
    assert!(told.status.success(), "{told:?}");
    let arguments = format!("--server {url} replay {file} --speed 10 top");
    let Some(mut terminal) = Terminal::start(&arguments) else {
        return;
    };
    terminal.sees("recorded").await;
    terminal.sees("ends").await;
    terminal.press(b"d");
    terminal.sees("takes").await;
    terminal.press(b"y");
    terminal.quit().await;
    assert_eq!(orders(&store).await, 0);
    for worker in workers {
        worker.stop(StopMode::Now).await.expect("stops");
    }
}

//! `top` in a real terminal: `script` gives it one.

use std::io::{Read as _, Write as _};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::verbs::orders;
use super::*;

/// A terminal with a program in it. Both end with it, also when the test fails.
struct Terminal(Child);

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Keys, screen and verbs work outside of tests of their parts, and the terminal is given back.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_drained_by_keys_of_top() {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("there is no `script` here: a terminal cannot be had");
        return;
    }
    let server = server("");
    let url = server.url();
    let workers = group(&url, "orders").await;
    let store = orders_of(&url).await;
    let program = env!("CARGO_BIN_EXE_parti");
    let inner = format!("stty rows 24 cols 80; exec '{program}' --server {url} --group orders top");
    let terminal = Command::new("script")
        .args(["-qec", &inner, "/dev/null"])
        .env("TERM", "xterm-256color")
        .env("SHELL", "/bin/sh")
        .env("XDG_CONFIG_HOME", "/nowhere")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut terminal = Terminal(terminal.expect("runs"));
    let shown = Arc::new(Mutex::new(String::new()));
    let (mut output, into) = (terminal.0.stdout.take().expect("piped"), Arc::clone(&shown));
    let reading = std::thread::spawn(move || {
        let mut some = [0; 4096];
        while let Ok(length @ 1..) = output.read(&mut some) {
            let text = String::from_utf8_lossy(&some[..length]).into_owned();
            into.lock().expect("no panic").push_str(&text);
        }
    });
    let mut keys = terminal.0.stdin.take().expect("piped");
    let mut press = |key: &[u8]| {
        keys.write_all(key)
            .and_then(|()| keys.flush())
            .expect("open")
    };
    // Single words: a terminal is told to move over blanks.
    let sees = |what: &'static str| {
        let shown = Arc::clone(&shown);
        move || shown.lock().expect("no panic").contains(what)
    };
    until("the screen", PATIENCE, sees("workers")).await;
    press(b"d");
    until("the question", PATIENCE, sees("other")).await;
    assert_eq!(
        orders(&store).await,
        0,
        "nothing is done before it is agreed to"
    );
    press(b"y");
    until("it says so", PATIENCE, sees("ordered:")).await;
    assert_eq!(orders(&store).await, 1);
    press(b"q");
    let begun = Instant::now();
    let ended = loop {
        if let Some(ended) = terminal.0.try_wait().expect("a child") {
            break ended;
        }
        assert!(begun.elapsed() < PATIENCE, "it does not end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(ended.success(), "{ended}");
    reading.join().expect("no panic");
    // The alternate screen is left.
    assert!(sees("\u{1b}[?1049l")());
    for worker in workers {
        worker.stop(StopMode::Now).await.expect("stops");
    }
}

//! Every fence under the same test: a writer is stopped at any moment of its work, another one with a larger
//! token takes over, the first goes on. No write of the first may come after one of the second.
//!
//! Twenty rounds each. More:
//! ```text
//! PARTI_FENCE_ROUNDS=1000 cargo test -p parti-rs --features jetstream,objects,sqlite --test fences -- \
//!     --nocapture
//! ```

mod database;
mod group;
mod objects;
mod target;
mod writer;

use std::io::{BufRead as _, BufReader};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use objects::Objects;
use parti::fence::object::FencedObject;
use parti_core::Token;
use parti_testing::rig::nats_server::{NatsServer, ServerOptions};
use parti_testing::rig::postgres_server::PostgresServer;
use parti_testing::rig::process::OwnProcess;
use target::Target;

/// How long anything may take that has no bound of its own.
const LIMIT: Duration = Duration::from_secs(60);
/// After so long without a word the second writer is taken to wait for the first.
const BLOCKED: Duration = Duration::from_millis(300);

/// A writer as a process of its own, and what it says.
struct Writer {
    process: OwnProcess,
    says: Receiver<String>,
}

impl Writer {
    fn start(target: &Target, token: u64) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("known"));
        command.args(["--exact", "writer::process", "--ignored", "--nocapture"]);
        command
            .envs(target.variables())
            .env(writer::TOKEN, token.to_string());
        command.stdout(Stdio::piped());
        let mut process = OwnProcess::spawn(&mut command).expect("starts");
        let out = process.child().stdout.take().expect("piped");
        let says = lines(out);
        Self { process, says }
    }

    /// Whether it says this word in time.
    fn says(&self, word: &str, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.says.recv_timeout(left) {
                Ok(line) if line == word => return true,
                Ok(line) => assert!(!line.starts_with("error"), "{line}"),
                Err(RecvTimeoutError::Timeout) => return false,
                Err(RecvTimeoutError::Disconnected) => panic!("a writer ended without {word}"),
            }
        }
    }
}

fn lines(out: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

/// What came out of the rounds.
#[derive(Debug, Default)]
struct Tally {
    rounds: u64,
    writes: usize,
    /// Writes of the first that came after one of the second.
    stale: usize,
    /// Rounds in which the second had to wait for the first.
    blocked: u64,
    /// Rounds in which the first was told that it is over.
    refused: u64,
}

fn rounds() -> u64 {
    let rounds = std::env::var("PARTI_FENCE_ROUNDS").ok();
    rounds.and_then(|rounds| rounds.parse().ok()).unwrap_or(20)
}

fn play(mut target: impl FnMut(u64) -> Target) -> Tally {
    let mut tally = Tally::default();
    for round in 0..rounds() {
        let target = target(round);
        target.prepare();
        let first = Writer::start(&target, 1);
        assert!(first.says("begun", LIMIT), "the first writes");
        // Each round stops it at another point of its work.
        thread::sleep(Duration::from_micros(137 * (round % 29)));
        first.process.pause().expect("it stands still");
        let second = Writer::start(&target, 2);
        let patience = if target.is_never_locked() {
            LIMIT
        } else {
            BLOCKED
        };
        let has_begun = second.says("begun", patience);
        first.process.resume().expect("it goes on");
        if !has_begun {
            assert!(!target.is_never_locked(), "the second waits for the first");
            tally.blocked += 1;
            assert!(
                second.says("begun", LIMIT),
                "the second writes when the first goes on"
            );
        }
        if target.is_fenced() {
            assert!(first.says("stale", LIMIT), "the first is refused");
            tally.refused += 1;
        } else {
            assert!(second.says("enough", LIMIT), "both write");
        }
        for writer in [first, second] {
            writer.process.kill().expect("it ends");
        }
        let tokens = target.tokens();
        assert!(
            tokens.contains(&1) && tokens.contains(&2),
            "both have written: {tokens:?}"
        );
        tally.stale += tokens.windows(2).filter(|pair| pair[0] > pair[1]).count();
        tally.writes += tokens.len();
        tally.rounds += 1;
        target.clean_up();
    }
    eprintln!("{tally:?}");
    tally
}

fn holds(tally: &Tally) {
    assert_eq!((tally.stale, tally.refused), (0, tally.rounds), "{tally:?}");
}

/// A row that an old owner overwrites is the damage that all of this is about.
#[test]
fn a_table_takes_nothing_from_an_owner_that_is_over() {
    holds(&play(Target::table));
}

/// A cache, a checkpoint or a report that an old owner puts back in place.
#[test]
fn a_file_takes_nothing_from_an_owner_that_is_over() {
    holds(&play(Target::file));
}

/// A setting or a state in a bucket.
#[test]
fn a_key_takes_nothing_from_an_owner_that_is_over() {
    let server = NatsServer::start(ServerOptions::default()).expect("a nats-server");
    holds(&play(|round| Target::key(&server.url(), round)));
}

/// Outputs in a stream.
#[test]
fn a_subject_takes_nothing_from_an_owner_that_is_over() {
    let server = NatsServer::start(ServerOptions::default()).expect("a nats-server");
    holds(&play(|round| Target::subject(&server.url(), round)));
}

/// The database that most of these rows are in.
#[test]
fn rows_in_postgresql_take_nothing_from_an_owner_that_is_over() {
    // Without a server it says that it is skipped, and `cargo xtask` names that.
    let Some(server) = PostgresServer::start().expect("it starts") else {
        return;
    };
    for way in ["transaction", "statement"] {
        holds(&play(|round| Target::rows(server.port(), way, round)));
    }
}

/// A state or a result in a store of objects, whose ETag says nothing about who wrote it.
#[test]
fn an_object_takes_nothing_from_an_owner_that_is_over() {
    let store = Objects::start();
    holds(&play(|round| Target::object(&store, round)));
}

/// A fence that costs a request for each write is switched off.
#[tokio::test]
async fn a_write_of_a_fenced_object_is_one_request() {
    let store = Objects::start();
    let client = objects::client(&store.url());
    let taking = FencedObject::take_over(client, "once".into(), Token::new(1));
    let mut object = taking.await.expect("taken over");
    let before = store.requests();
    for _ in 0..10 {
        object.write(b"x").await.expect("written");
    }
    assert_eq!(store.requests() - before, 10);
}

/// The test is worth what it finds: without a fence the first goes on writing.
#[test]
fn without_a_fence_an_owner_that_is_over_goes_on_writing() {
    let tally = play(Target::table_without_fence);
    assert!(tally.stale > 0, "{tally:?}");
}

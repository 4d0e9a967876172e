//! The process that works and writes, again and again, until it is told that it is over.

use std::env::var;
use std::thread;
use std::time::Duration;

use parti::fence::file::{FencedFile, FileError};
use parti::fence::nats::{FencedSubject, SubjectError};
use parti::fence::sqlite::{AdmitError, admit, rusqlite};
use parti::nats::async_nats;
use parti_core::Token;
use rusqlite::Connection;

use super::{LIMIT, database, objects};

pub(crate) const KIND: &str = "PARTI_TEST_FENCE";
pub(crate) const PLACE: &str = "PARTI_TEST_FENCE_PLACE";
pub(crate) const NAME: &str = "PARTI_TEST_FENCE_NAME";
pub(crate) const TOKEN: &str = "PARTI_TEST_FENCE_TOKEN";

/// How many writes are enough to be noticed.
const ENOUGH: u32 = 20;
/// How long it works for each write. Without, it would have the locks of tables and files all the time.
const WORK: Duration = Duration::from_millis(1);

/// What came out of one write.
pub(crate) type Outcome = Result<(), Trouble>;

pub(crate) enum Trouble {
    Stale,
    /// Nothing was written, or it is not known; the next one tells.
    Again,
    Other(String),
}

/// Not a test: the process that the tests start and stop.
#[test]
#[ignore = "a process of the tests"]
fn process() {
    let (Ok(kind), Ok(place), Ok(name), Ok(token)) = (var(KIND), var(PLACE), var(NAME), var(TOKEN))
    else {
        return;
    };
    let token = Token::new(token.parse().expect("a number"));
    match kind.as_str() {
        "table" => run(table(&place, token, true)),
        "table without fence" => run(table(&place, token, false)),
        "file" => run(file(&place, token)),
        "key" | "subject" => run(subject(&kind, &place, &name, token)),
        "object" => run(objects::write(&place, &name, token)),
        "transaction" | "statement" => {
            let port = place.parse().expect("a number");
            run(database::write(port, &name, token, kind == "transaction"));
        }
        other => println!("error: no {other}"),
    }
}

/// Writes until it is over, and says what happens.
fn run(mut write: impl FnMut() -> Outcome) {
    let mut written = 0;
    loop {
        thread::sleep(WORK);
        match write() {
            Ok(()) => written += 1,
            Err(Trouble::Again) => continue,
            Err(Trouble::Stale) => break println!("stale"),
            Err(Trouble::Other(error)) => break println!("error: {error}"),
        }
        match written {
            1 => println!("begun"),
            ENOUGH => println!("enough"),
            _ => {}
        }
    }
}

fn table(place: &str, token: Token, is_fenced: bool) -> impl FnMut() -> Outcome + use<> {
    let mut connection = Connection::open(place).expect("opens");
    connection.busy_timeout(LIMIT).expect("set");
    // The machine does not fail in this test, and a disk that is waited for would hold the lock meanwhile.
    let off = connection.pragma_update(None, "synchronous", "OFF");
    off.expect("set");
    move || {
        let other = |error: rusqlite::Error| Trouble::Other(error.to_string());
        let change = connection.transaction().map_err(other)?;
        if is_fenced {
            admit(&change, "orders", token).map_err(|error| match error {
                AdmitError::Stale(_) => Trouble::Stale,
                other @ (AdmitError::Database(_) | _) => Trouble::Other(other.to_string()),
            })?;
        }
        let number = i64::try_from(token.get()).expect("small");
        change
            .execute("INSERT INTO written (token) VALUES (?1)", [number])
            .map_err(other)?;
        change.commit().map_err(other)
    }
}

fn file(place: &str, token: Token) -> impl FnMut() -> Outcome + use<> {
    let file = FencedFile::new(place).patience(Duration::from_millis(100));
    move || {
        let written = file.update(token, |before| {
            let mut content = before.unwrap_or_default();
            content.extend_from_slice(format!("{token}\n").as_bytes());
            content
        });
        written.map_err(|error| match error {
            FileError::Stale(_) => Trouble::Stale,
            FileError::Busy(_) => Trouble::Again,
            other @ (FileError::Io(_) | _) => Trouble::Other(other.to_string()),
        })
    }
}

fn subject(kind: &str, url: &str, name: &str, token: Token) -> impl FnMut() -> Outcome + use<> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let mut subject = runtime.block_on(async {
        let client = async_nats::connect(url).await.expect("connects");
        let context = async_nats::jetstream::new(client);
        if kind == "key" {
            FencedSubject::key(context, name, "orders", token)
                .await
                .expect("taken over")
        } else {
            let of_orders = format!("{name}.orders");
            FencedSubject::subject(context, name, &of_orders, token)
                .await
                .expect("taken over")
        }
    });
    move || {
        let written = runtime.block_on(subject.write(b"x".to_vec()));
        written.map(drop).map_err(|error| match error {
            SubjectError::Stale(_) => Trouble::Stale,
            SubjectError::Unknown(_) => Trouble::Again,
            other @ (SubjectError::Unfenced(_) | SubjectError::Failed(_) | _) => {
                Trouble::Other(other.to_string())
            }
        })
    }
}

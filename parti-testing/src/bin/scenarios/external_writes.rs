//! External writers in the bucket: what an operator does with the `nats` command line.
//!
//! The protocol is used here in its bare form, not through the store, because that is what such
//! writers do: they know nothing of conditions, records or groups.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use parti_core::WorkerId;

use super::group::{Group, Step, ensure, words};
use super::worker::now_ms;

/// What is done to a worker, by its ID.
type MakeWrite = fn(&str) -> ExternalWrite;

/// Keys are deleted, overwritten and added by somebody else.
pub(super) fn external_writes(group: &mut Group) -> Step<()> {
    group.until_settled(group.soon())?;
    let mut worst = 0;
    let writes: [(&str, MakeWrite); 7] = [
        ("an unknown key", |_| {
            ExternalWrite::put("notes.todo", "call Bob")
        }),
        ("an assignment deleted", |id| {
            ExternalWrite::delete(&format!("a.{id}"))
        }),
        ("an assignment overwritten", |id| {
            ExternalWrite::put(&format!("a.{id}"), "{}")
        }),
        ("a session deleted", |id| {
            ExternalWrite::delete(&format!("w.{id}"))
        }),
        ("a session overwritten", |id| {
            ExternalWrite::put(&format!("w.{id}"), "?")
        }),
        ("the head overwritten", |_| {
            ExternalWrite::put("head", "null")
        }),
        ("the head deleted", |_| ExternalWrite::delete("head")),
    ];
    for (what, write) in writes {
        let follower = group.follower()?;
        let id = group.look(follower, |life| {
            life.lines
                .last()
                .map(|line| line.worker.clone())
                .unwrap_or_default()
        });
        let since = now_ms();
        apply_write(group, &write(&id))?;
        let limit = group.bound();
        let repaired = group.until("every record repaired", limit, is_repaired);
        repaired.map_err(|reason| format!("after {what}: {reason}"))?;
        let settled = group.until_settled(limit);
        settled.map_err(|reason| format!("after {what}: {reason}"))?;
        worst = worst.max(now_ms() - since);
    }
    group.figure("slowest_repair_ms", worst);
    let limit = group.soon() + group.lease() * 2;
    ensure(worst <= limit, || {
        format!("a repair took {worst} ms, not {limit}")
    })
}

/// Whether the bucket has a readable record of everything that runs.
fn is_repaired(group: &Group) -> bool {
    let Ok(history) = group.history() else {
        return false;
    };
    let ids = group.living().into_iter().map(|number| {
        group.look(number, |life| {
            let last = life.lines.last().map(|line| line.worker.clone());
            last.unwrap_or_default()
        })
    });
    let known = |id: String| {
        let is = |worker: &WorkerId| worker.as_str() == id;
        history.sessions.keys().any(is) && history.assignments.keys().any(is)
    };
    let led = history
        .head
        .as_ref()
        .is_some_and(|head| head.leader.is_some());
    led && history.unreadable.is_empty() && ids.into_iter().all(known)
}

/// The whole bucket is deleted under a running group: nobody may go on without it.
pub(super) fn bucket_deleted(group: &mut Group) -> Step<()> {
    delete_bucket(group)?;
    let since = now_ms();
    let took = group.until("nothing relied on any more", group.soon(), |group| {
        group.events(since, "revoked") >= 100
    })?;
    group.figure("given_up_ms", took);
    Ok(())
}

/// The same, and the group comes back by itself.
pub(super) fn bucket_deleted_and_back(group: &mut Group) -> Step<()> {
    delete_bucket(group)?;
    let since = now_ms();
    group.until("nothing relied on any more", group.soon(), |group| {
        group.events(since, "revoked") >= 100
    })?;
    group.until_settled(group.bound())?;
    group.figure("owned_again_ms", now_ms() - since);
    Ok(())
}

/// As `nats stream rm` does.
pub(super) fn delete_bucket(group: &mut Group) -> Step<()> {
    group.until_settled(group.soon())?;
    let address = group.cluster.addresses()[0];
    let delete = "SUB _INBOX.x 1\r\nPUB $JS.API.STREAM.DELETE.KV_parti_demo _INBOX.x 0\r\n\r\n";
    exchange(address, delete, "\"success\":true").map_err(words("the deletion"))
}

/// A write as the `nats` command line does it.
struct ExternalWrite {
    key: String,
    value: String,
    header: &'static str,
}

impl ExternalWrite {
    fn put(key: &str, value: &str) -> Self {
        let (key, value) = (key.to_owned(), value.to_owned());
        Self {
            key,
            value,
            header: "",
        }
    }

    fn delete(key: &str) -> Self {
        let (key, value) = (key.to_owned(), String::new());
        Self {
            key,
            value,
            header: "KV-Operation: DEL\r\n",
        }
    }
}

fn apply_write(group: &Group, write: &ExternalWrite) -> Step<()> {
    let headers = format!("NATS/1.0\r\n{}\r\n", write.header);
    let total = headers.len() + write.value.len();
    let message = format!(
        "SUB _INBOX.x 1\r\nHPUB $KV.parti_demo.{} _INBOX.x {} {total}\r\n{headers}{}\r\n",
        write.key,
        headers.len(),
        write.value
    );
    let address = group.cluster.addresses()[0];
    exchange(address, &message, "\"seq\":").map_err(words("an external writer"))
}

/// Says something to the server and waits for a word in its answer.
fn exchange(address: std::net::SocketAddr, message: &str, word: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let hello = "CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\n";
    stream.write_all(format!("{hello}{message}").as_bytes())?;
    for line in BufReader::new(stream).lines() {
        if line?.contains(word) {
            return Ok(());
        }
    }
    Err(std::io::Error::other("the server hung up"))
}

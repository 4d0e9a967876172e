//! Passing a caller's trigger or refresh to the leader, through the store.
//!
//! The request is a key of its own; the leader removes it in the generation that contains it, and
//! its removal, seen through the watch, is the answer. It is the same on a leader and a follower.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use crate::io::effect::Wake;
use crate::io::event::{OpId, OpOwner, RequestId};
use crate::io::notice::Notice;
use crate::link::attempt::{Attempt, Outcome};
use crate::link::cx::Cx;
use crate::model::id::{Revision, Version, WorkerId, WriteId};
use crate::ports::store::{Expect, StoreError, StoreReply, Write};
use crate::records::keys::control_key;
use crate::records::record::{Control, Record, Verb};
use crate::records::seen::Seen;
use crate::worker::session::Session;

/// The most requests of one verb that wait at once.
const LIMIT: usize = 1_000;

/// The requests of this process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests {
    lines: BTreeMap<Verb, Line>,
    writes: u64,
}

/// Requests of one verb: those waiting to be written, and those a written key stands for.
#[derive(Clone, Debug, Default)]
struct Line {
    waiting: Vec<RequestId>,
    writing: Option<(Attempt, Vec<RequestId>)>,
    asked: Option<(Revision, Vec<RequestId>)>,
    /// The last removal of the key that was seen, and the version then in force: the watch may skip
    /// the request itself and show its removal before the answer to its write comes.
    removed: Option<(Revision, Version)>,
}

impl Requests {
    /// A caller asks.
    pub(crate) fn ask(&mut self, cx: &mut Cx<'_>, verb: Verb, request: RequestId) {
        let line = self.lines.entry(verb).or_default();
        if line.waiting.len() >= LIMIT {
            let reason = alloc::format!("{LIMIT} requests are waiting already; try again later");
            return cx.notify(Notice::RequestFailed { request, reason });
        }
        line.waiting.push(request);
    }

    /// Writes what waits, one key of a verb at a time.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>, session: &Session) {
        for (&verb, line) in &mut self.lines {
            if let Some((attempt, _)) = &mut line.writing {
                attempt.handle_timeout(cx);
                continue;
            }
            if line.waiting.is_empty() || line.asked.is_some() {
                continue;
            }
            self.writes += 1;
            let id = WriteId {
                nonce: session.nonce,
                seq: self.writes,
            };
            let (author, reason) = (session.worker.to_string(), String::new());
            let control = Record::Control(Control {
                write: id,
                author,
                reason,
                lasts: None,
                pins: Vec::new(),
            });
            let write = Write {
                key: control_key(verb, &session.worker),
                value: Some(cx.encode(&control)),
                expect: Expect::Any,
            };
            let attempt = Attempt::begin(cx, OpOwner::Request, id, vec![write]);
            line.writing = Some((attempt, core::mem::take(&mut line.waiting)));
        }
    }

    pub(crate) fn on_reply(
        &mut self,
        cx: &mut Cx<'_>,
        op: OpId,
        result: &Result<StoreReply, StoreError>,
    ) {
        for line in self.lines.values_mut() {
            let Some((attempt, _)) = &mut line.writing else {
                continue;
            };
            let outcome = attempt.on_reply(cx, op, result);
            line.on_outcome(cx, outcome);
        }
    }

    /// The watch showed a request key of this worker.
    pub(crate) fn on_entry(
        &mut self,
        cx: &mut Cx<'_>,
        verb: Verb,
        seen: &Seen<'_>,
        version: Version,
    ) {
        let Some(line) = self.lines.get_mut(&verb) else {
            return;
        };
        if let Some((attempt, _)) = &line.writing {
            let outcome = attempt.on_seen(cx, seen);
            line.on_outcome(cx, outcome);
        }
        if seen.value().is_none() {
            line.removed = Some((seen.revision(), version));
            line.settle(cx);
        }
    }

    /// Another session begins: what was asked under the old one is asked again.
    pub(crate) fn begin_again(&mut self) {
        for line in self.lines.values_mut() {
            let written = line.writing.take().map(|(_, requests)| requests);
            let asked = line.asked.take().map(|(_, requests)| requests);
            let again = written.into_iter().chain(asked).flatten();
            line.waiting.extend(again);
        }
    }

    /// Nothing will be answered any more.
    pub(crate) fn fail_all(&mut self, cx: &mut Cx<'_>, reason: &str) {
        self.begin_again();
        for line in self.lines.values_mut() {
            for request in line.waiting.drain(..) {
                cx.notify(Notice::RequestFailed {
                    request,
                    reason: reason.to_string(),
                });
            }
        }
    }

    pub(crate) fn wake(&self) -> Option<Wake> {
        let wakes = self
            .lines
            .values()
            .filter_map(|line| line.writing.as_ref()?.0.wake());
        wakes.min()
    }

    /// Keys that a snapshot must show unless they were removed meanwhile.
    pub(crate) fn asked(&self, worker: &WorkerId) -> Vec<(Verb, String, Revision)> {
        let asked = self.lines.iter().filter_map(|(&verb, line)| {
            let (revision, _) = line.asked.as_ref()?;
            Some((verb, control_key(verb, worker), *revision))
        });
        asked.collect()
    }
}

impl Line {
    fn on_outcome(&mut self, cx: &mut Cx<'_>, outcome: Outcome) {
        match outcome {
            Outcome::Pending => {}
            Outcome::Won(revision) => {
                self.asked = self
                    .writing
                    .take()
                    .map(|(_, requests)| (revision, requests));
                self.settle(cx);
            }
            Outcome::Lost(_) => {
                let again = self.writing.take().map(|(_, requests)| requests);
                self.waiting.extend(again.into_iter().flatten());
            }
            Outcome::Refused(error) | Outcome::Rejected(error) => {
                let failed = self.writing.take().map(|(_, requests)| requests);
                for request in failed.into_iter().flatten() {
                    let reason = error.to_string();
                    cx.notify(Notice::RequestFailed { request, reason });
                }
            }
        }
    }

    /// A request whose key was removed after it was written is contained in a generation.
    fn settle(&mut self, cx: &mut Cx<'_>) {
        let Some((removed, version)) = self.removed else {
            return;
        };
        let asked = self.asked.take_if(|(asked, _)| *asked < removed);
        for request in asked.map(|(_, requests)| requests).into_iter().flatten() {
            cx.notify(Notice::RequestDone { request, version });
        }
    }
}

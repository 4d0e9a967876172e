//! What the bucket shows of a group, and the verdict over everything that was written down.
//!
//! It is separate from the group because here a client of its own reads the store. What always
//! holds: it only reads.

use parti_core::{AuditEntry, Cause, GroupName, History, Store};
use parti_nats::{NatsOptions, NatsStore};
use parti_testing::rig::worker_logs::{self, Commit, Finding, Line};

use crate::consumption::Consumption;

use super::{GROUP, Group, Mode, Step, ensure, words};

impl Group {
    /// The generations since then that the bucket still shows.
    pub(crate) fn audit(&self, since_ms: u64) -> Step<Vec<AuditEntry>> {
        let entries = self.history()?.entries.into_iter();
        Ok(entries.filter(|entry| entry.at_ms >= since_ms).collect())
    }

    /// The bucket, read by a client of its own.
    pub(crate) fn history(&self) -> Step<History> {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }
            .enable_all()
            .build()
            .map_err(words("a runtime"))?;
        runtime.block_on(async {
            let group = GroupName::new(GROUP).map_err(words("the group"))?;
            let (url, options) = (self.cluster.url(), NatsOptions::default());
            let store = NatsStore::connect(&url, &group, options).await;
            let store = store.map_err(words("the bucket"))?;
            let mut entries = Vec::new();
            for read in History::reads() {
                let reply = store.execute(read).await.map_err(words("a read"))?;
                entries.extend(History::entries_of(reply));
            }
            Ok(History::read(&entries))
        })
    }

    /// The generations since then that began a rebalance, not those that carry one on or only
    /// change the leader.
    pub(crate) fn rebalances(&self, since_ms: u64) -> Step<Vec<AuditEntry>> {
        let of_leadership = |entry: &AuditEntry| {
            matches!(
                entry.cause,
                Cause::Takeover | Cause::Resignation | Cause::Resume
            )
        };
        let entries = self.audit(since_ms)?.into_iter();
        Ok(entries.filter(|entry| !of_leadership(entry)).collect())
    }

    /// Nobody was declared lost since then.
    pub(crate) fn no_emergency(&self, since_ms: u64) -> Step<()> {
        let emergency = |line: &Line| {
            let evicted = line.number("evicted").unwrap_or(0) > 0;
            line.event == "committed" && (evicted || line.text("cause") == Some("emergency"))
        };
        let told = self.told(since_ms, |_, line| emergency(line));
        ensure(told == 0, || {
            format!("{told} emergencies where none was due")
        })?;
        let lost = self.events(since_ms, "lease_lost");
        ensure(lost == 0, || {
            format!("{lost} leases lost where none was due")
        })
    }

    /// What is consumed.
    pub(crate) fn consumption(&self) -> Step<&Consumption> {
        let consumption = self.stream.as_ref();
        consumption.ok_or_else(|| "nothing is consumed".to_owned())
    }

    /// How many servers there are.
    pub(crate) const fn servers(&self) -> usize {
        self.cluster.len()
    }

    /// Ends the consumption, if there is one; what is wrong with what handlers told. The calls are kept.
    pub(crate) fn consumed(&mut self) -> Vec<String> {
        let Some(stream) = &mut self.stream else {
            return Vec::new();
        };
        let mut found = stream.end();
        if !found.is_empty() {
            let log = self.ask.folder.join("sink.jsonl");
            let written = std::fs::write(log, stream.log());
            found.extend(
                written
                    .err()
                    .map(|error| format!("no log of the sink: {error}")),
            );
        }
        found
    }

    /// What may never be, whatever happened: every rule for the histories and the audit ring.
    pub(crate) fn judge(&self) -> Vec<String> {
        let lives = self.lives();
        // In mode fenced a process that stood still goes on until it notices: its tokens are refused.
        let overlaps = self.mode() != Mode::Exclusive;
        let may_be = |finding: &&Finding| overlaps && matches!(finding, Finding::Overlap { .. });
        let judged = worker_logs::judge(&lives);
        let judged = judged.iter().filter(|finding| !may_be(finding));
        let mut found: Vec<String> = judged.map(words_of).collect();
        let mut commits = worker_logs::commits(&lives);
        let history = commits.iter().map(|commit| commit.history).max();
        let history = history.unwrap_or(0);
        match self.audit(0) {
            // The ring of the last history; those before it are gone with their bucket.
            Ok(entries) => commits.extend(entries.iter().map(|entry| Commit {
                history,
                version: entry.version.get(),
                term: entry.term.get(),
                leader: entry.leader.to_string(),
            })),
            Err(reason) => found.push(format!("the audit ring cannot be read: {reason}")),
        }
        found.extend(worker_logs::chain(commits).iter().map(words_of));
        found.sort();
        found.dedup();
        let workers = self.workers.iter().enumerate();
        let missing = workers.filter(|(_, worker)| worker.is_missing());
        found.extend(missing.map(|(number, _)| format!("worker process {number} ended by itself")));
        found
    }
}

fn words_of(finding: &Finding) -> String {
    finding.to_string()
}

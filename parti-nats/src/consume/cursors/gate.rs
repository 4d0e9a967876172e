//! Which partitions a group shares while its stream goes from one numbering to the next.
//!
//! It is separate because the order of keys hangs on it: a key's messages in a new partition must wait until
//! those in the old one are handled. What always holds: a new partition is shared only after a message of its
//! numbering was seen, so that nothing older follows, and after the cursors of all old partitions that can
//! have had its keys cover their last message. Its owners therefore have larger tokens than all of theirs.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::consume::cursors::{Cursors, bucket_name};
use crate::consume::durable::Durables;
use crate::consume::stream::{Retention, Source, numberings};
use crate::consume::wire::{ConsumeError, Wire, Wrote, fault};
use crate::wire::outcome::code;

pub(crate) mod sharing;

use sharing::{Shared, is_ended, shared};

/// How many old partitions are asked for at a time.
const AT_ONCE: usize = 16;
/// How many that are waited for are written down.
const TOLD: usize = 16;

/// How far a group is, as its leader wrote it down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Reached {
    /// Numberings before this one are handled to their end.
    pub(crate) numbering: usize,
    /// How many partitions are shared.
    pub(crate) partitions: u32,
    /// Old ones that are not handled to their end.
    pub(crate) waits_for: Vec<u32>,
}

fn subject(stream: &str, group: &str) -> String {
    format!("$KV.{}.{group}.numbering", bucket_name(stream))
}

/// What a group's leader wrote down last, and its revision.
pub(crate) async fn reached(
    wire: &Wire,
    stream: &str,
    group: &str,
) -> Result<(u64, Reached), ConsumeError> {
    let bucket = format!("KV_{}", bucket_name(stream));
    let subject = subject(stream, group);
    let found = match wire.last(&bucket, &subject).await {
        Ok(found) => found,
        Err(failure) if failure.is_code(code::STREAM_NOT_FOUND) => None,
        Err(failure) => return Err(fault("reading", &subject, &failure)),
    };
    let Some((revision, message)) = found else {
        return Ok((0, Reached::default()));
    };
    let bytes = STANDARD.decode(message["data"].as_str().unwrap_or_default());
    // What cannot be read says nothing: all is looked at again.
    let reached = serde_json::from_slice(&bytes.unwrap_or_default()).unwrap_or_default();
    Ok((revision, reached))
}

/// Finds out which partitions a group shares.
#[derive(Debug)]
pub struct Gate {
    source: Source,
    cursors: Cursors,
    told: Option<(u64, Reached)>,
    /// Old partitions that are handled to their end.
    ended: BTreeSet<u32>,
    /// The last messages of the others, once nothing follows them.
    last: BTreeMap<u32, u64>,
    /// Old partitions that were not shared at the look before this one, and those whose durables are deleted.
    over: (BTreeSet<u32>, BTreeSet<u32>),
}

impl Gate {
    /// Of a group on a stream. Nothing is asked yet.
    #[must_use]
    pub fn new(source: &Source, cursors: &Cursors) -> Self {
        Self {
            source: source.clone(),
            cursors: cursors.clone(),
            told: None,
            ended: BTreeSet::new(),
            last: BTreeMap::new(),
            over: Default::default(),
        }
    }

    /// The partitions that the group shares now, and whether old ones are waited for.
    ///
    /// # Errors
    /// [`ConsumeError`] when something could not be read; then nothing is known.
    ///
    /// # Cancellation safety
    /// Dropping the future changes nothing that asking again does not find. Bounded by the wire's limit for
    /// each request: four, and two for each old partition that is waited for.
    pub async fn listed(&mut self) -> Result<(Vec<u32>, bool), ConsumeError> {
        self.source.look_again().await?;
        let counts = self.source.layout().counts();
        if counts.len() == 1 {
            return Ok(((0..counts[0]).collect(), false));
        }
        let (wire, name) = (self.source.wire(), self.source.name());
        if self.told.is_none() {
            self.told = Some(reached(wire, name, &self.cursors.group).await?);
        }
        let told = self
            .told
            .as_ref()
            .map_or(0, |(_, reached)| reached.numbering);
        let from = told.max(self.cursors.base).min(counts.len() - 1);
        self.see_begun(from).await?;
        loop {
            let shared = self.shared(&counts, from);
            let candidates = shared.waits_for.iter().filter(|p| !self.ended.contains(p));
            let ended = self.ended_of(candidates.copied().collect()).await?;
            if ended.is_empty() {
                self.tell(&shared).await;
                self.clean(&counts, &shared).await;
                return Ok((shared.partitions, shared.numbering + 1 < counts.len()));
            }
            self.ended.extend(ended);
        }
    }

    fn shared(&self, counts: &[u32], from: usize) -> Shared {
        let numberings = self.source.known().numberings();
        let begun = |numbering: usize| {
            let numbering = numberings
                .as_ref()
                .and_then(|numberings| numberings.all.get(numbering));
            numbering.is_some_and(|numbering| numbering.begun.is_some())
        };
        shared(counts, from, &begun, &|p| self.ended.contains(&p))
    }

    /// Looks for a message of each numbering that has none yet, and writes down that there was one: later it
    /// may be gone.
    async fn see_begun(&self, from: usize) -> Result<(), ConsumeError> {
        let (wire, name) = (self.source.wire(), self.source.name());
        let Some(known) = self.source.known().numberings() else {
            return Ok(());
        };
        let layout = self.source.layout();
        let mut seen = BTreeMap::new();
        for (index, numbering) in known.all.iter().enumerate().skip(from + 1) {
            if numbering.begun.is_some() {
                continue;
            }
            let last = wire.last(name, &layout.all(index)).await;
            let last = last.map_err(|failure| fault("reading", name, &failure))?;
            seen.extend(last.map(|(sequence, _)| (index, sequence)));
        }
        if seen.is_empty() {
            return Ok(());
        }
        let created = self.source.facts().await?.created;
        let (revision, Some(numberings)) = numberings::read(wire, name).await? else {
            return Ok(());
        };
        let mut numberings = numberings.in_stream(&created);
        for (index, sequence) in seen {
            if let Some(numbering) = numberings.all.get_mut(index) {
                numbering.begun.get_or_insert(sequence);
            }
        }
        match numberings::write(wire, name, &numberings, revision).await? {
            Wrote::Stored { .. } => Ok(self.source.known().set(numberings)?),
            // The next look shows what came of it.
            Wrote::Refused | Wrote::Unknown => Ok(()),
        }
    }

    /// Those of these old partitions that are handled to their end.
    async fn ended_of(&mut self, candidates: Vec<u32>) -> Result<Vec<u32>, ConsumeError> {
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let facts = self.source.facts().await?;
        let (this, facts) = (&*self, &facts);
        let retention = self.source.retention();
        let removes = retention == Retention::WorkQueue;
        let looked = candidates.into_iter().map(|partition| async move {
            // In a work queue what matters is whether it is still there.
            let known = this.last.get(&partition).filter(|_| !removes);
            let last = match known {
                Some(last) => Some(*last),
                None => this.last_of(partition).await?,
            };
            let found = this.cursors.load(partition).await?;
            let start = this.cursors.start().max(this.source.after(partition));
            let is_ended = is_ended(&found, last, start, facts, retention);
            Ok::<_, ConsumeError>((partition, last, is_ended))
        });
        let looked = stream::iter(looked).buffer_unordered(AT_ONCE);
        let looked: Vec<_> = looked.try_collect().await?;
        let mut ended = Vec::new();
        for (partition, last, is_ended) in looked {
            self.last.extend(last.map(|last| (partition, last)));
            ended.extend(is_ended.then_some(partition));
        }
        Ok(ended)
    }

    async fn last_of(&self, partition: u32) -> Result<Option<u64>, ConsumeError> {
        let (wire, name) = (self.source.wire(), self.source.name());
        let filter = self.source.layout().filter(partition);
        let last = wire.last(name, &filter);
        let last = last
            .await
            .map_err(|failure| fault("reading", name, &failure))?;
        Ok(last.map(|(sequence, _)| sequence))
    }

    /// By interest, the durables of old partitions would stay for ever, with what was handled and not
    /// acknowledged there. They are deleted a look after their owners were told that they are over.
    async fn clean(&mut self, counts: &[u32], shared: &Shared) {
        let earlier = counts.iter().take(shared.numbering).sum();
        let ended = self.ended.iter().copied();
        let ended = ended.filter(|partition| !shared.partitions.contains(partition));
        let over: BTreeSet<u32> = (0..earlier).chain(ended).collect();
        let before = std::mem::replace(&mut self.over.0, over);
        let due = before.intersection(&self.over.0);
        let due: BTreeSet<u32> = due.filter(|p| !self.over.1.contains(p)).copied().collect();
        if due.is_empty() || self.source.retention() != Retention::Interest {
            return;
        }
        let durables = Durables::new(&self.source, &self.cursors.group);
        match durables
            .delete_of(&|partition| due.contains(&partition))
            .await
        {
            Ok(()) => self.over.1.extend(due),
            Err(error) => tracing::debug!(%error, "durables of old partitions are left for now"),
        }
    }

    /// Writes down how far the group is, if it is news. What is not written is found out again.
    async fn tell(&mut self, shared: &Shared) {
        let Some((revision, before)) = &self.told else {
            return;
        };
        let now = Reached {
            numbering: shared.numbering,
            partitions: u32::try_from(shared.partitions.len()).unwrap_or(u32::MAX),
            waits_for: shared.waits_for.iter().copied().take(TOLD).collect(),
        };
        if now == *before {
            return;
        }
        let subject = subject(self.source.name(), &self.cursors.group);
        let bytes = serde_json::to_vec(&now).unwrap_or_default();
        let wrote = self.source.wire().write(&subject, bytes, *revision).await;
        self.told = match wrote {
            Ok(Wrote::Stored { revision }) => Some((revision, now)),
            // Read again, with the next look.
            Ok(Wrote::Refused | Wrote::Unknown) | Err(_) => None,
        };
    }
}

#[cfg(test)]
mod tests;

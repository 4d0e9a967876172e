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

use crate::consume::cursor::Found;
use crate::consume::cursors::{Cursors, bucket_name};
use crate::consume::stream::{Source, numberings};
use crate::consume::take_over::StreamFacts;
use crate::consume::wire::{ConsumeError, Wire, Wrote, fault};
use crate::wire::outcome::code;

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
        let looked = candidates.into_iter().map(|partition| async move {
            let last = match this.last.get(&partition) {
                Some(last) => Some(*last),
                None => this.last_of(partition).await?,
            };
            let found = this.cursors.load(partition).await?;
            let start = this.cursors.start().max(this.source.after(partition));
            let is_ended = is_ended(&found, last, start, facts);
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

/// Whether nothing of an old partition is left to handle, nothing of it being stored any more.
fn is_ended(found: &Found, last: Option<u64>, start: u64, stream: &StreamFacts) -> bool {
    match (found, last) {
        (Found::Cursor { cursor, .. }, _) if cursor.stream_created != stream.created => {
            last.is_none()
        }
        (Found::Cursor { cursor, .. }, Some(last)) => cursor.position >= last,
        // What was removed may be in the hands of the owner, until its position has passed it.
        (Found::Cursor { cursor, .. }, None) => cursor.position + 1 >= stream.first,
        (Found::Never, last) => last.is_none_or(|last| last <= start),
        (Found::Deleted { .. } | Found::Unreadable { .. }, _) => false,
    }
}

/// What a group shares.
#[derive(Debug, PartialEq, Eq)]
struct Shared {
    /// The numberings before this one are over.
    numbering: usize,
    partitions: Vec<u32>,
    /// Old ones that hold up new ones.
    waits_for: Vec<u32>,
}

/// Which partitions are shared: of the first numbering all, of each that follows those whose keys' old
/// partitions have ended; old ones until all new ones that wait for them are there. The keys of a new
/// partition come from the old ones with the same remainder by the greatest common divisor of both numbers.
fn shared(
    counts: &[u32],
    from: usize,
    begun: &dyn Fn(usize) -> bool,
    has_ended: &dyn Fn(u32) -> bool,
) -> Shared {
    let mut shared = Shared {
        numbering: from,
        partitions: Vec::new(),
        waits_for: Vec::new(),
    };
    let mut first: u32 = counts[..from].iter().sum();
    // By remainder: whether the partitions of this numbering are shared.
    let mut open = vec![true];
    for (numbering, count) in counts.iter().enumerate().skip(from) {
        let next = counts.get(numbering + 1);
        let classes = next.map_or(1, |next| gcd(*count, *next)) as usize;
        let mut passed = vec![next.is_some() && begun(numbering + 1); classes];
        let is_open = |number: u32| open[number as usize % open.len()];
        for number in 0..*count {
            let has_ended = is_open(number) && has_ended(first + number);
            if !has_ended {
                passed[number as usize % classes] = false;
            }
            if next.is_some() && begun(numbering + 1) && is_open(number) && !has_ended {
                shared.waits_for.push(first + number);
            }
        }
        let stays = (0..*count).filter(|n| is_open(*n) && !passed[*n as usize % classes]);
        shared.partitions.extend(stays.map(|number| first + number));
        if shared.numbering == numbering && next.is_some() && passed.iter().all(|passed| *passed) {
            shared.numbering = numbering + 1;
        }
        first += count;
        open = passed;
    }
    shared
}

const fn gcd(mut a: u32, mut b: u32) -> u32 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests;

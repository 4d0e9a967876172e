//! Durables: one consumer for each ownership of a partition, where acknowledgements remove messages.
//!
//! It is separate because the order of creating and deleting is what loses nothing: a work queue has one
//! consumer for a subject at a time, so the older is deleted first; a stream by interest drops what
//! nobody is interested in, so the newer is created first. What always holds: a name is never used twice, an
//! owner deletes no consumer of a newer one, and what was handled is what the cursor says, which is
//! stored before anything up to there is acknowledged.

use std::ops::Range;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::consume::condition::Condition;
use crate::consume::cursor::Owner;
use crate::consume::cursors::Cursors;
use crate::consume::durable::opening::{Ask, Opening, Step, Told};
use crate::consume::reader::{Reader, ReaderSpec, nanos};
use crate::consume::stream::{Retention, Source};
use crate::consume::wire::{ConsumeError, NOTHING, Wire, fault};
use crate::wire::outcome::{Failure, code};
use crate::wire::random::random;

pub mod opening;
pub mod unacknowledged;

/// How often a list is begun again because it changed between two pages.
const TRIES: usize = 10;
/// The pause before a durable is tried again that others were faster than.
const PAUSE: Duration = Duration::from_millis(20);
/// How many durables of a group that begins are created at a time.
const AT_ONCE: usize = 16;
/// When an acknowledgement that was lost is asked for again: what comes then is known by its sequence.
const ACK_WAIT: Duration = Duration::from_secs(30);

/// Whose durable it is; as text it is the consumer's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurableName {
    /// The group.
    pub group: String,
    /// The partition.
    pub partition: u32,
    /// The owner; token zero is that of the durables that a group begins with.
    pub owner: Owner,
    /// The how manieth of this owner.
    pub count: u64,
}

impl DurableName {
    /// The consumer's name.
    #[must_use]
    pub fn encode(&self) -> String {
        let Self {
            group,
            partition,
            owner,
            count,
        } = self;
        let Owner { token, nonce } = owner;
        format!("{group}-{partition}-{token}-{nonce:016x}-{count}")
    }

    /// Reads a consumer's name; `None` when it is not one of ours. The group may have any number of `-`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let mut words = name.rsplitn(5, '-');
        let count = words.next()?.parse().ok()?;
        let nonce = u64::from_str_radix(words.next()?, 16).ok()?;
        let token = words.next()?.parse().ok()?;
        let partition = words.next()?.parse().ok()?;
        let group = words.next()?.to_owned();
        let owner = Owner { token, nonce };
        let parsed = Self {
            group,
            partition,
            owner,
            count,
        };
        (parsed.encode() == name).then_some(parsed)
    }
}

/// The durables that `me` replaces, of those that are there.
///
/// # Errors
/// [`Condition::Fenced`] when there is one of a newer owner.
pub fn older(me: &DurableName, there: &[String]) -> Result<Vec<String>, Condition> {
    let names = there.iter().filter_map(|name| DurableName::parse(name));
    let siblings = names.filter(|name| {
        let is_of_the_partition = name.group == me.group && name.partition == me.partition;
        is_of_the_partition && name != me
    });
    let siblings: Vec<_> = siblings.collect();
    let newest = siblings.iter().map(|name| name.owner.token).max();
    if let Some(found) = newest.filter(|token| *token > me.owner.token) {
        let ours = me.owner.token;
        return Err(Condition::Fenced { ours, found });
    }
    Ok(siblings.iter().map(DurableName::encode).collect())
}

/// The durables of one group on one stream.
#[derive(Clone, Debug)]
pub struct Durables {
    source: Source,
    group: String,
}

/// A durable that was created.
#[derive(Debug)]
pub struct Opened {
    /// It, to be pulled from.
    pub reader: Reader,
    /// No other durable of the partition was there: what was published since is lost on a stream by
    /// interest.
    pub is_first: bool,
}

impl Durables {
    /// Of a group on a stream that is a work queue or by interest.
    #[must_use]
    pub fn new(source: &Source, group: &str) -> Self {
        Self {
            source: source.clone(),
            group: group.to_owned(),
        }
    }

    /// The name of an owner's durables; [`Durables::open`] counts them.
    #[must_use]
    pub fn name(&self, partition: u32, owner: Owner) -> DurableName {
        DurableName {
            group: self.group.clone(),
            partition,
            owner,
            count: 0,
        }
    }

    /// When acknowledged messages leave the stream.
    #[must_use]
    pub const fn retention(&self) -> Retention {
        self.source.retention()
    }

    /// Creates the next durable of an owner that has taken the cursor over, and deletes all older ones of
    /// the partition, in the order that loses nothing. It begins after `position`, the cursor's, or before
    /// that where older ones have not acknowledged everything up to there: what comes again is known by
    /// its sequence.
    ///
    /// # Errors
    /// [`ConsumeError`], with [`Condition::Fenced`] when there is a newer owner.
    ///
    /// # Cancellation safety
    /// Dropping the future may leave a durable that the next one of the partition replaces; nothing is lost.
    /// Bounded by the wire's limit for each request, of which a try has four and one for each older durable.
    pub async fn open(
        &self,
        me: &mut DurableName,
        position: u64,
        cursors: &Cursors,
    ) -> Result<Opened, ConsumeError> {
        let mut opening = Opening::new(self.retention(), me, position);
        let mut ask = opening.ask();
        loop {
            // Also a name that was refused is not used again.
            me.clone_from(opening.name());
            let told = self.ask(&ask, me.partition, cursors).await?;
            ask = match opening.told(told) {
                Step::Ask(ask) => ask,
                Step::Stop(condition) => return Err(condition.into()),
                Step::GiveUp => {
                    let what = format!("creating a durable of {}", self.source.name());
                    let reason = "another consumer of the partition was there each time";
                    let reason = reason.to_owned();
                    return Err(Condition::Refused { what, reason }.into());
                }
                Step::Opened { after, is_first } => {
                    let reader = Reader::attach(self.wire(), self.spec(me, after)).await?;
                    return Ok(Opened { reader, is_first });
                }
            };
        }
    }

    /// Asks the server what an opening wants to know.
    async fn ask(
        &self,
        ask: &Ask,
        partition: u32,
        cursors: &Cursors,
    ) -> Result<Told, ConsumeError> {
        Ok(match ask {
            Ask::List => Told::Names(self.list().await?),
            Ask::Cursor => Told::Cursor(cursors.load(partition).await?),
            Ask::Floor(older) => Told::Floor(self.floor(older).await?),
            Ask::Delete(names) => {
                self.delete_all(names).await;
                Told::Deleted
            }
            Ask::Create { name, after } => match self.create(name, *after).await {
                Ok(()) => Told::Created,
                Err(failure) if failure.is_code(code::NOT_UNIQUE) => {
                    sleep(PAUSE).await;
                    Told::NotUnique
                }
                Err(failure) => return Err(self.fault(&failure)),
            },
        })
    }

    /// Creates a durable for each of these partitions, which are new to the group, so that what is published
    /// before a partition has its first owner is kept. They are deleted by those of the first owners.
    ///
    /// # Errors
    /// [`ConsumeError`].
    ///
    /// # Cancellation safety
    /// Dropping the future leaves those that were created. Bounded by the wire's limit for each partition.
    pub(crate) async fn found(
        &self,
        partitions: Range<u32>,
        position: u64,
    ) -> Result<Vec<DurableName>, ConsumeError> {
        let nonce = random();
        let owner = Owner { token: 0, nonce };
        let made = stream::iter(partitions).map(|partition| {
            let name = self.name(partition, owner);
            async move {
                let made = self.create(&name, position).await;
                made.map_err(|failure| self.fault(&failure))?;
                Ok(name)
            }
        });
        made.buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Up to where older durables have acknowledged everything.
    async fn floor(&self, older: &[String]) -> Result<Option<u64>, ConsumeError> {
        let mut least = None;
        for name in older {
            let method = format!("CONSUMER.INFO.{}.{name}", self.source.name());
            let info = match self.wire().call(&method, &NOTHING).await {
                Ok(info) => info,
                Err(failure) if failure.is_code(code::CONSUMER_NOT_FOUND) => continue,
                Err(failure) => return Err(self.fault(&failure)),
            };
            let floor = floor(&info);
            least = Some(least.map_or(floor, |least: u64| least.min(floor)));
        }
        Ok(least)
    }

    /// Deletes what is left of older owners that were late.
    ///
    /// # Errors
    /// [`ConsumeError`], with [`Condition::Fenced`] when there is a newer owner.
    ///
    /// # Cancellation safety
    /// Dropping the future leaves some of them. Bounded by the wire's limit for each request.
    pub async fn sweep(&self, me: &DurableName) -> Result<(), ConsumeError> {
        let older = older(me, &self.list().await?)?;
        self.delete_all(&older).await;
        Ok(())
    }

    /// Deletes those of partitions that have no further owner.
    pub(crate) async fn delete_of(
        &self,
        is_over: &(dyn Fn(u32) -> bool + Sync),
    ) -> Result<(), ConsumeError> {
        let there = self.list().await?.into_iter();
        let over = there.filter(|name| {
            let name = DurableName::parse(name);
            name.is_some_and(|name| name.group == self.group && is_over(name.partition))
        });
        self.delete_all(&over.collect::<Vec<_>>()).await;
        Ok(())
    }

    /// How many messages of its partition a durable has not delivered.
    ///
    /// # Errors
    /// [`ConsumeError`].
    ///
    /// # Cancellation safety
    /// Dropping the future changes nothing. Bounded by the wire's limit.
    pub async fn pending(&self, name: &str) -> Result<u64, ConsumeError> {
        let method = format!("CONSUMER.INFO.{}.{name}", self.source.name());
        let info = self.wire().call(&method, &NOTHING).await;
        let info = info.map_err(|failure| self.fault(&failure))?;
        Ok(info["num_pending"].as_u64().unwrap_or_default())
    }

    /// Deletes one; it may be gone already.
    ///
    /// # Cancellation safety
    /// Dropping the future may leave it. Bounded by the wire's limit.
    pub async fn delete(&self, name: &str) {
        let method = format!("CONSUMER.DELETE.{}.{name}", self.source.name());
        if let Err(error) = self.wire().call(&method, &NOTHING).await {
            tracing::debug!(%error, name, "a durable is left to the next owner");
        }
    }

    async fn delete_all(&self, names: &[String]) {
        for name in names {
            self.delete(name).await;
        }
    }

    async fn create(&self, name: &DurableName, position: u64) -> Result<(), Failure> {
        let spec = self.spec(name, position);
        // Without a number of replicas it has those of the stream, as the server wants it here.
        let mut config = json!({
            "name": spec.name,
            "durable_name": spec.name,
            "filter_subject": spec.filters.first(),
            "ack_wait": nanos(ACK_WAIT),
            "max_ack_pending": -1,
            "max_deliver": -1,
            "replay_policy": "instant",
        });
        if self.retention() == Retention::WorkQueue {
            config["deliver_policy"] = json!("all");
            config["ack_policy"] = json!("explicit");
        } else {
            config["deliver_policy"] = json!("by_start_sequence");
            config["opt_start_seq"] = json!(spec.from);
            config["ack_policy"] = json!("all");
        }
        let body = json!({ "stream_name": spec.stream, "action": "create", "config": config });
        let method = format!("CONSUMER.CREATE.{}.{}", spec.stream, spec.name);
        self.wire().call(&method, &body).await.map(|_| ())
    }

    /// Exactly the partition's subjects: what else is there must be neither read nor acknowledged.
    fn spec(&self, name: &DurableName, position: u64) -> ReaderSpec {
        ReaderSpec {
            stream: self.source.name().to_owned(),
            name: name.encode(),
            filters: vec![self.source.layout().filter(name.partition)],
            from: position + 1,
        }
    }

    /// The names of all consumers of the stream.
    async fn list(&self) -> Result<Vec<String>, ConsumeError> {
        let mut names: Vec<String> = Vec::new();
        let mut total = None;
        let mut tries = 0;
        loop {
            let body = json!({ "offset": names.len() });
            let method = format!("CONSUMER.NAMES.{}", self.source.name());
            let page = self.wire().call(&method, &body).await;
            let page = page.map_err(|failure| self.fault(&failure))?;
            let found = page["total"].as_u64();
            if total.is_some() && total != found && tries < TRIES {
                // Others have moved from one page to another.
                names.clear();
                total = None;
                tries += 1;
                continue;
            }
            total = found;
            let consumers = page["consumers"].as_array().map_or(&[][..], Vec::as_slice);
            let texts = consumers.iter().filter_map(|name| name.as_str());
            names.extend(texts.map(str::to_owned));
            if consumers.is_empty() || names.len() as u64 >= found.unwrap_or_default() {
                return Ok(names);
            }
        }
    }

    const fn wire(&self) -> &Wire {
        self.source.wire()
    }

    fn fault(&self, failure: &Failure) -> ConsumeError {
        fault("asking for durables of", self.source.name(), failure)
    }
}

/// Up to where a durable has acknowledged everything. Before its first acknowledgement most servers say zero.
fn floor(info: &Value) -> u64 {
    let start = info["config"]["opt_start_seq"].as_u64().unwrap_or_default();
    let floor = info["ack_floor"]["stream_seq"].as_u64().unwrap_or_default();
    floor.max(start.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(group: &str, partition: u32, token: u64, nonce: u64, count: u64) -> DurableName {
        DurableName {
            group: group.to_owned(),
            partition,
            owner: Owner { token, nonce },
            count,
        }
    }

    /// A name that is read wrong is somebody else's consumer, deleted.
    #[test]
    fn names_are_read_as_they_are_written_also_of_groups_with_numbers() {
        for group in ["billing", "a-1", "a-1-2-3", "x_y"] {
            let written = name(group, 7, 3, u64::MAX, 12);
            assert_eq!(DurableName::parse(&written.encode()), Some(written));
        }
        for other in [
            "billing",
            "billing-7-3-ff-1",
            "billing-07-3-00000000000000ff-1",
            "parti-billing-00000000000000ff-1",
        ] {
            assert_eq!(DurableName::parse(other), None, "{other}");
        }
    }

    /// A floor of zero would begin the partition again.
    #[test]
    fn the_floor_of_a_durable_that_acknowledged_nothing_is_where_it_began() {
        let cases = [
            (0, 0, 0),
            (0, 1, 0),
            (0, 50, 49),
            (49, 50, 49),
            (80, 50, 80),
        ];
        for (acknowledged, start, wanted) in cases {
            let info = json!({ "ack_floor": { "stream_seq": acknowledged },
                "config": { "opt_start_seq": start } });
            assert_eq!(floor(&info), wanted, "{info}");
        }
    }

    /// An owner that was stopped must delete nothing of the one that took over meanwhile.
    #[test]
    fn an_owner_replaces_what_is_older_and_nothing_else() {
        let me = name("g", 1, 5, 9, 2);
        let there = [
            name("g", 1, 0, 1, 0),
            name("g", 1, 4, 8, 1),
            name("g", 1, 5, 7, 1),
            name("g", 1, 5, 9, 1),
            name("g", 2, 4, 8, 1),
            name("h", 1, 4, 8, 1),
            me.clone(),
        ];
        let names: Vec<_> = there.iter().map(DurableName::encode).collect();
        let mut all = names.clone();
        all.push("dashboard".to_owned());
        assert_eq!(older(&me, &all), Ok(names[..4].to_vec()));
        all.push(name("g", 1, 6, 1, 1).encode());
        let fenced = Condition::Fenced { ours: 5, found: 6 };
        assert_eq!(older(&me, &all), Err(fenced));
        assert_eq!(older(&name("g", 3, 1, 1, 1), &all), Ok(Vec::new()));
    }
}

//! Watches: present entries, then changes, over a consumer that is made again when it fails.
//!
//! It is separate because a watch outlives connections and servers. One task reads the consumer
//! and writes a channel; [`NatsWatch`] is the reading end. What always holds: the watch resumes
//! only in the history it began in and right after the last revision it delivered; otherwise it
//! says `Lost`.

pub(crate) mod feed;
pub(crate) mod frame;
pub(crate) mod progress;
mod resume;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use parti_core::{Entry, Revision, StoreError, Watch, WatchEvent, WatchScope};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::bucket;
use crate::requests::api::{Api, denial};
use crate::requests::leader::History;
use crate::requests::listing::{self, Listing};
use crate::watch::feed::{Begin, Feed};
use crate::watch::frame::Frame;
use crate::watch::progress::Progress;
use crate::watch::resume::{Resumed, resume};
use crate::wire::key::key_fault;
use crate::wire::outcome::Failure;
use crate::wire::outcome::rejected;

/// How many events may wait for the reader; then the consumer's flow control takes over.
const WAITING_MAX: usize = 256;
/// How often the task looks whether the connection was replaced or the consumer fell silent.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// How many keys of a scope are looked up at the same time.
const READS_AT_ONCE: usize = 32;

/// What a watch follows, for ever the same.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) api: Arc<Api>,
    pub(crate) filters: Vec<String>,
    /// The creation time of the stream it began in.
    pub(crate) created: u64,
}

/// A watch that has begun: what it shows first, and how it goes on.
struct Begun {
    subject: Subject,
    first: Vec<WatchEvent>,
    progress: Progress,
    feed: Option<Feed>,
}

/// Begins a watch of a scope.
pub(crate) async fn start(api: Arc<Api>, scope: WatchScope) -> Result<Box<dyn Watch>, StoreError> {
    let few = matches!(scope, WatchScope::Keys(_));
    let filters = filters(&api, scope)?;
    let deadline = api.deadline();
    let begun = async {
        match few {
            true => begin_with_list(&api, filters, deadline).await,
            false => begin(&api, filters, deadline).await,
        }
    };
    let begun = begun.await;
    let begun = begun.map_err(|failure| failure.during("begin of a watch"))?;
    let (sender, events) = mpsc::channel(WAITING_MAX);
    tokio::spawn(run(begun, sender));
    Ok(Box::new(NatsWatch { events, lost: None }))
}

/// The present entries of a filter, tombstones left out, by a watch that ends with them.
pub(crate) async fn snapshot(
    api: &Api,
    filter: &str,
    deadline: Instant,
) -> Result<(Vec<Entry>, Revision), Failure> {
    let started = Instant::now();
    let api = Arc::new(api.clone());
    let begun = begin(&api, vec![filter.to_owned()], deadline).await?;
    let (sender, mut events) = mpsc::channel(WAITING_MAX);
    let collect = async {
        let mut entries = std::collections::BTreeMap::new();
        while let Some(event) = events.recv().await {
            match event {
                WatchEvent::Entry(entry) => drop(entries.insert(entry.key.clone(), entry)),
                WatchEvent::CaughtUp { revision } => {
                    return Ok((entries.into_values().collect(), revision));
                }
                WatchEvent::Lost { reason } => return Err(Failure::Broken(reason)),
            }
        }
        Err(Failure::Broken("the watch ended".to_owned()))
    };
    tokio::select! {
        collected = timeout_at(deadline, collect) => {
            collected.unwrap_or_else(|_| Err(api.timed_out(started)))
        }
        () = run(begun, sender) => {
            Err(Failure::Broken("the watch ended".to_owned()))
        }
    }
}

fn filters(api: &Api, scope: WatchScope) -> Result<Vec<String>, StoreError> {
    match scope {
        WatchScope::All => Ok(vec![api.names.all()]),
        WatchScope::Keys(keys) => {
            if let Some(fault) = keys.iter().find_map(|key| key_fault(key)) {
                return Err(rejected(fault));
            }
            // The server refuses filters that overlap, so each key comes once.
            let keys: BTreeSet<String> = keys.into_iter().collect();
            Ok(keys.iter().map(|key| api.names.subject(key)).collect())
        }
    }
}

/// Begins a watch of few keys by two requests: a consumer of what is written from now on, then a list of
/// what is there. What is listed as of a revision before the consumer's, as a replica that lags may do, is
/// of no use: then the long way is taken.
async fn begin_with_list(
    api: &Arc<Api>,
    filters: Vec<String>,
    deadline: Instant,
) -> Result<Begun, Failure> {
    let Some(History { created, replicas }) = api.leader.history() else {
        return begin(api, filters, deadline).await;
    };
    if filters.is_empty() {
        return begin(api, filters, deadline).await;
    }
    let feed = Feed::open(api, &filters, Begin::Now, deadline).await?;
    let listed = listing::list(api, &filters, deadline).await?;
    let (entries, revision) = match (listed, feed.behind) {
        (Listing::All(entries, revision), Some(behind)) if revision >= behind => {
            (entries, revision)
        }
        // With one replica there is nothing that could lag.
        (Listing::Nothing, Some(behind)) if replicas == 1 => (Vec::new(), behind),
        _ => {
            drop(feed);
            return begin(api, filters, deadline).await;
        }
    };
    let present = entries.into_iter().filter(|entry| entry.value.is_some());
    let first = present.map(WatchEvent::Entry);
    let first = first.chain([WatchEvent::CaughtUp { revision }]).collect();
    let api = Arc::clone(api);
    Ok(Begun {
        // An old name of the history only makes the watch end where it could have gone on.
        subject: Subject {
            api,
            filters,
            created,
        },
        first,
        progress: Progress::after(revision),
        feed: Some(feed),
    })
}

async fn begin(api: &Arc<Api>, filters: Vec<String>, deadline: Instant) -> Result<Begun, Failure> {
    let info = bucket::info(api, deadline).await?;
    let created = info.created()?;
    let horizon = Revision::new(info.state.last_seq);
    // After the horizon, so that no key up to it can be missing.
    let expected = present(api, &filters, deadline).await?;
    let progress = Progress::new(horizon, info.config.num_replicas == 1, expected);
    // To the server no filter means every key; no keys need no consumer.
    let feed = if filters.is_empty() {
        None
    } else {
        Some(Feed::open(api, &filters, Begin::Present, deadline).await?)
    };
    let subject = Subject {
        api: Arc::clone(api),
        filters,
        created,
    };
    Ok(Begun {
        subject,
        first: Vec::new(),
        progress,
        feed,
    })
}

/// The keys of the scope that are there, tombstones included.
async fn present(
    api: &Api,
    filters: &[String],
    deadline: Instant,
) -> Result<BTreeSet<String>, Failure> {
    let reads: Vec<_> = filters
        .iter()
        .map(|filter| bucket::subjects(api, filter, deadline))
        .collect();
    let found: Vec<_> = stream::iter(reads)
        .buffer_unordered(READS_AT_ONCE)
        .try_collect()
        .await?;
    let keys = found.iter().flatten();
    let keys = keys.filter_map(|subject| api.names.key(subject));
    Ok(keys.map(str::to_owned).collect())
}

/// A running watch: the reading end of the task's channel.
struct NatsWatch {
    events: mpsc::Receiver<WatchEvent>,
    lost: Option<String>,
}

#[async_trait]
impl Watch for NatsWatch {
    async fn next(&mut self) -> WatchEvent {
        if self.lost.is_none() {
            match self.events.recv().await {
                Some(WatchEvent::Lost { reason }) => self.lost = Some(reason),
                Some(event) => return event,
                None => self.lost = Some("the runtime of the watch was shut down".to_owned()),
            }
        }
        let reason = self.lost.clone().unwrap_or_default();
        WatchEvent::Lost { reason }
    }
}

/// Reads the consumer until nobody listens any more or the watch is lost.
async fn run(begun: Begun, events: mpsc::Sender<WatchEvent>) {
    let Begun {
        subject,
        first,
        mut progress,
        feed,
    } = begun;
    for event in first {
        if events.send(event).await.is_err() {
            return;
        }
    }
    let Some(mut feed) = feed else {
        if let Some(event) = progress.on_consumer() {
            // A closed channel means that nobody listens, which is waited for next anyway.
            drop(events.send(event).await);
        }
        return events.closed().await;
    };
    loop {
        let reason = match follow(&subject.api, &mut feed, &mut progress, &events).await {
            Ended::NobodyListens => return,
            Ended::Interrupted(reason) => reason,
            Ended::Denied(reason) => {
                return drop(events.send(WatchEvent::Lost { reason }).await);
            }
        };
        drop(feed);
        tracing::debug!(
            reason,
            stream = subject.api.names.stream,
            "watch subscribes again"
        );
        feed = match resume(&subject, &progress, &events).await {
            Resumed::Feed(feed) => feed,
            Resumed::NobodyListens => return,
            Resumed::Lost(why) => {
                let reason = format!("{reason}, then {why}");
                return drop(events.send(WatchEvent::Lost { reason }).await);
            }
        };
    }
}

enum Ended {
    NobodyListens,
    Interrupted(String),
    /// A right is missing without which the consumer stalls, now or later.
    Denied(String),
}

async fn follow(
    api: &Api,
    feed: &mut Feed,
    progress: &mut Progress,
    events: &mpsc::Sender<WatchEvent>,
) -> Ended {
    let silence_max = api.options.watch_heartbeat.mul_f64(2.5);
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let flow_control = format!("$JS.FC.{}.", api.names.stream);
    let mut denials = api.violations.listen();
    let mut heard = Instant::now();
    if let Some(event) = progress.on_consumer()
        && events.send(event).await.is_err()
    {
        return Ended::NobodyListens;
    }
    loop {
        let frame = tokio::select! {
            // Messages first: what has arrived counts as heard before silence is judged.
            biased;
            frame = feed.next() => frame,
            denied = denial(&mut denials, |subject| subject.starts_with(&flow_control)) => {
                return Ended::Denied(denied.to_string());
            }
            () = events.closed() => return Ended::NobodyListens,
            _ = looks.tick() => {
                if feed.is_of_old_connection() {
                    return Ended::Interrupted("the client reconnected".to_owned());
                }
                if heard.elapsed() > silence_max {
                    let silent = heard.elapsed();
                    return Ended::Interrupted(format!("no heartbeat for {silent:?}"));
                }
                continue;
            }
        };
        let Some(frame) = frame else {
            return Ended::Interrupted("the client was closed".to_owned());
        };
        let new = match on_frame(feed, progress, frame).await {
            Ok(new) => new,
            Err(reason) => return Ended::Interrupted(reason),
        };
        for event in new.into_iter().flatten() {
            if events.send(event).await.is_err() {
                return Ended::NobodyListens;
            }
        }
        // The time spent waiting for the reader is not the consumer's silence.
        heard = Instant::now();
    }
}

async fn on_frame(
    feed: &Feed,
    progress: &mut Progress,
    frame: Frame,
) -> Result<[Option<WatchEvent>; 2], String> {
    let gap = |gap: progress::Gap| {
        let progress::Gap { expected, found } = gap;
        format!("message {expected} of the consumer is missing, {found} came")
    };
    match frame {
        Frame::Entry { entry, number } => progress.on_entry(entry, number).map_err(gap),
        Frame::Heartbeat {
            number,
            revision,
            stalled,
        } => {
            if let Some(reply) = stalled {
                // It waits with more to deliver, so it says nothing about the end.
                feed.answer(reply).await;
                return Ok([None, None]);
            }
            let event = progress.on_heartbeat(number, revision).map_err(gap)?;
            Ok([event, None])
        }
        Frame::FlowControl { reply } => {
            feed.answer(reply).await;
            Ok([None, None])
        }
        Frame::Ended { reason } => Err(reason),
        Frame::Foreign => Ok([None, None]),
    }
}

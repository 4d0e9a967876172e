//! Making a watch's consumer again: when, and whether the history is still the same.
//!
//! It is separate because this is where a watch could go blind: after the bucket was re-created, a
//! consumer from the old position would wait in silence until the new history reaches it.

use std::time::Duration;

use parti_core::{Revision, StoreErrorKind, WatchEvent};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::bucket::{self, StreamInfo};
use crate::watch::Subject;
use crate::watch::feed::Feed;
use crate::watch::progress::Progress;
use crate::wire::outcome::{Failure, code};
use crate::wire::random::random;

/// The first and the longest pause between attempts; half of each is random.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// How an attempt to go on ended.
pub(crate) enum Resumed {
    /// The consumer to go on with.
    Feed(Feed),
    /// Nobody reads the watch any more.
    NobodyListens,
    /// Continuity cannot be promised.
    Lost(String),
}

/// Tries, with growing pauses and for as long as somebody listens, to go on where the watch is.
pub(crate) async fn resume(
    subject: &Subject,
    progress: &Progress,
    events: &mpsc::Sender<WatchEvent>,
) -> Resumed {
    let mut most = PAUSES.0;
    loop {
        tokio::select! {
            () = sleep(jittered(most, random())) => {}
            () = events.closed() => return Resumed::NobodyListens,
        }
        let attempt = tokio::select! {
            attempt = attempt(subject, progress) => attempt,
            () = events.closed() => return Resumed::NobodyListens,
        };
        match attempt {
            Ok(Ok(feed)) => return Resumed::Feed(feed),
            Ok(Err(Break(why))) => return Resumed::Lost(why),
            Err(failure) if is_final(&failure) => return Resumed::Lost(failure.to_string()),
            Err(failure) => tracing::debug!(%failure, "watch cannot subscribe yet"),
        }
        most = (most * 2).min(PAUSES.1);
    }
}

/// Why the history is not the one the watch began in.
#[derive(Debug, PartialEq, Eq)]
struct Break(String);

async fn attempt(subject: &Subject, progress: &Progress) -> Result<Result<Feed, Break>, Failure> {
    let api = &subject.api;
    let deadline = api.deadline();
    let info = bucket::info(api, deadline).await?;
    if let Some(broken) = broken(&info, subject.created, progress.last())? {
        return Ok(Err(broken));
    }
    let feed = Feed::open(api, &subject.filters, progress.resume_at(), deadline).await?;
    Ok(Ok(feed))
}

fn broken(info: &StreamInfo, began_in: u64, last: Revision) -> Result<Option<Break>, Failure> {
    let created = info.created()?;
    let found = info.state.last_seq;
    if created != began_in {
        return Ok(Some(Break("the bucket was re-created".to_owned())));
    }
    if found < last.get() {
        let why = format!("the bucket went back to revision {found}; {last} was delivered");
        return Ok(Some(Break(why)));
    }
    Ok(None)
}

/// Whether trying again is pointless: the bucket is gone or may not be used any more.
fn is_final(failure: &Failure) -> bool {
    failure.is_code(code::STREAM_NOT_FOUND) || failure.kind() == StoreErrorKind::Rejected
}

fn jittered(most: Duration, random: u64) -> Duration {
    let half = most / 2;
    let span = u64::try_from(half.as_micros()).unwrap_or(u64::MAX).max(1);
    half + Duration::from_micros(random % span)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(created: &str, last_seq: u64) -> StreamInfo {
        let text =
            format!(r#"{{"config":{{}},"created":"{created}","state":{{"last_seq":{last_seq}}}}}"#);
        serde_json::from_str(&text).expect("reads")
    }

    /// A watch that goes on in another history is blind until the revisions catch up.
    #[test]
    fn a_watch_goes_on_only_in_its_own_history() {
        let (own, other) = ("1970-01-01T00:00:01Z", "1970-01-01T00:00:01.000000001Z");
        let cases = [
            (own, 7, 7, None),
            (own, 9, 7, None),
            (own, 6, 7, Some("went back to revision 6; 7")),
            (other, 9, 7, Some("re-created")),
        ];
        for (created, found, last, part) in cases {
            let broken = broken(&info(created, found), 1_000_000_000, Revision::new(last));
            let broken = broken.expect("a time").map(|Break(why)| why);
            match part {
                None => assert_eq!(broken, None, "{created} {found}"),
                Some(part) => assert!(broken.expect(part).contains(part), "{part}"),
            }
        }
    }

    /// A thousand watches that come back in the same instant would break the server again.
    #[test]
    fn pauses_are_spread() {
        let most = Duration::from_millis(100);
        let pauses: Vec<_> = (0..1000).map(|n| jittered(most, n * 7919)).collect();
        assert!(
            pauses
                .iter()
                .all(|pause| *pause >= most / 2 && *pause <= most)
        );
        assert!(
            pauses
                .iter()
                .collect::<std::collections::BTreeSet<_>>()
                .len()
                > 900
        );
    }
}

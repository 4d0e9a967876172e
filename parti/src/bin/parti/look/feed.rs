//! Where a look gets what it shows: from the group, as it happens, or from a recording, as it happened.
//!
//! What always holds: the time of a recording goes on as fast as it is played, so that silences and
//! waiting are as long as they were.

use std::future::pending;
use std::time::Duration;

use parti::clock::Clock;
use parti_core::{Instant, Watch, WatchEvent};
use tokio::time::sleep;

use super::recording::Recording;

/// A group, or a recording of one.
pub(super) enum Feed {
    Group { clock: Clock, watch: Box<dyn Watch> },
    Recording(Playing),
}

/// A recording that is played.
pub(super) struct Playing {
    recording: Recording,
    clock: Clock,
    /// Where it was in the recording at this time of the clock.
    from: Duration,
    begun: Instant,
    /// How many times as fast as it happened.
    speed: u32,
}

impl Playing {
    pub(super) fn new(recording: Recording, from: Duration, speed: u32) -> Self {
        let clock = Clock::boot();
        let begun = clock.now();
        Self {
            recording,
            clock,
            from,
            begun,
            speed,
        }
    }

    /// The next event up to a time in the recording, with its time.
    fn pop(&mut self, until: Duration) -> Option<(Instant, WatchEvent)> {
        let due = self.recording.events.front()?.0 <= until;
        let (at, event) = due.then(|| self.recording.events.pop_front())??;
        Some((instant(at), event))
    }

    fn position(&self) -> Duration {
        let passed = self.clock.now().since(self.begun);
        self.from + passed * self.speed
    }
}

impl Feed {
    pub(super) fn now(&self) -> Instant {
        match self {
            Self::Group { clock, .. } => clock.now(),
            Self::Recording(playing) => instant(playing.position()),
        }
    }

    /// Waits for the next thing that happens; for ever at the end of a recording.
    pub(super) async fn next(&mut self) -> (Instant, WatchEvent) {
        let playing = match self {
            Self::Group { clock, watch } => {
                let event = watch.next().await;
                return (clock.now(), event);
            }
            Self::Recording(playing) => playing,
        };
        loop {
            let position = playing.position();
            if let Some(found) = playing.pop(position) {
                return found;
            }
            match playing.recording.events.front() {
                Some((at, _)) => sleep((*at - position) / playing.speed).await,
                None => pending().await,
            }
        }
    }

    /// What a recording shows up to a time of it, at once: it goes on from there.
    pub(super) fn skip(&mut self, until: Duration) -> Option<(Instant, WatchEvent)> {
        let Self::Recording(playing) = self else {
            return None;
        };
        let at = playing.recording.events.front()?.0;
        let found = playing.pop(until)?;
        playing.from = playing.from.max(at);
        Some(found)
    }

    pub(super) const fn is_recorded(&self) -> bool {
        matches!(self, Self::Recording(_))
    }

    /// Whether it is a recording of which nothing is left.
    pub(super) fn has_ended(&self) -> bool {
        match self {
            Self::Group { .. } => false,
            Self::Recording(playing) => playing.recording.events.is_empty(),
        }
    }
}

fn instant(at: Duration) -> Instant {
    Instant::from_millis(u64::try_from(at.as_millis()).unwrap_or(u64::MAX))
}

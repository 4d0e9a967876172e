//! How a store is opened: what the bucket is made of and how long things may take.
//!
//! It is separate because these are the only settings of the crate. Everything else about the
//! connection (authentication, TLS, names) is set on the client itself.

use std::time::Duration;

use async_nats::ConnectOptions;

use crate::error::OpenError;
use crate::violation::random;

/// The longest pause between two attempts to reconnect: a lease must not run out in a pause.
const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(200);
/// How often the client asks whether the server is alive; three unanswered ones reconnect.
const PING_INTERVAL: Duration = Duration::from_secs(3);
/// The longest of all durations: no sum with it overflows.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Where the server keeps a bucket it creates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Storage {
    /// On disk: survives restarts of the server.
    #[default]
    File,
    /// In memory: gone when the server (or the majority of its replicas) restarts. For tests.
    Memory,
}

/// Settings of a [`NatsStore`](crate::NatsStore).
///
/// `NatsOptions::default()` is one replica on disk, two seconds a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsOptions {
    pub(crate) replicas: usize,
    pub(crate) storage: Storage,
    pub(crate) request_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) watch_heartbeat: Duration,
    pub(crate) bucket_prefix: String,
}

impl Default for NatsOptions {
    fn default() -> Self {
        Self {
            replicas: 1,
            storage: Storage::File,
            request_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(5),
            watch_heartbeat: Duration::from_secs(1),
            bucket_prefix: "parti_".to_owned(),
        }
    }
}

impl NatsOptions {
    /// How many servers keep a bucket that is created: 1 to 5, three for production. An existing
    /// bucket keeps what it has.
    #[must_use]
    pub const fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// Where a bucket that is created is kept. An existing bucket keeps what it has.
    #[must_use]
    pub const fn storage(mut self, storage: Storage) -> Self {
        self.storage = storage;
        self
    }

    /// How long a request of the store may take; then the answer is
    /// [`Unknown`](parti_core::StoreErrorKind::Unknown).
    ///
    /// Use at most a third of the session lease. Too low: slow moments of the server look like
    /// outages. Too high: a lease runs out while one request waits.
    #[must_use]
    pub const fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// How long connecting, and then each step of opening the bucket, may take.
    #[must_use]
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How often the server says on an idle watch that it is alive, at least 100 ms. After two and
    /// a half silent intervals the watch subscribes again.
    #[must_use]
    pub const fn watch_heartbeat(mut self, interval: Duration) -> Self {
        self.watch_heartbeat = interval;
        self
    }

    /// What the bucket's name begins with, before the group name: `parti_` if not set.
    #[must_use]
    pub fn bucket_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.bucket_prefix = prefix.into();
        self
    }

    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let timeouts = [
            ("request_timeout", self.request_timeout, 1),
            ("connect_timeout", self.connect_timeout, 1),
            ("watch_heartbeat", self.watch_heartbeat, 100),
        ];
        for (option, found, least) in timeouts {
            if !(Duration::from_millis(least)..=LONGEST).contains(&found) {
                return Err(OpenError::InvalidOption {
                    option,
                    found: format!("{found:?}"),
                    needed: format!("{least} ms to a day"),
                });
            }
        }
        if !(1..=5).contains(&self.replicas) {
            return Err(OpenError::InvalidOption {
                option: "replicas",
                found: self.replicas.to_string(),
                needed: "1 to 5".to_owned(),
            });
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if self.bucket_prefix.len() > 64 || !self.bucket_prefix.chars().all(allowed) {
            return Err(OpenError::InvalidOption {
                option: "bucket_prefix",
                found: format!("{:?}", self.bucket_prefix),
                needed: "at most 64 letters, digits, '_' and '-'".to_owned(),
            });
        }
        Ok(())
    }
}

/// Sets on a client's options what leases need: quick, endless reconnects with jitter, a dead
/// connection noticed in seconds, bounded connects and requests.
///
/// [`NatsStore::connect`](crate::NatsStore::connect) and
/// [`NatsStore::connect_with`](crate::NatsStore::connect_with) do this themselves; call it when you
/// connect a client of your own. Authentication, TLS and names in `connect` stay as they are.
#[must_use]
pub fn tuned(connect: ConnectOptions, options: &NatsOptions) -> ConnectOptions {
    connect
        .connection_timeout(options.connect_timeout)
        .request_timeout(Some(options.request_timeout))
        .ping_interval(PING_INTERVAL)
        .max_reconnects(None)
        .reconnect_delay_callback(|attempt| reconnect_delay(attempt, random()))
}

/// The pause before an attempt: none before the first, then growing, half of it random.
fn reconnect_delay(attempt: usize, random: u64) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1).min(6)).unwrap_or(6);
    let most = match attempt {
        0 | 1 => Duration::from_millis(10),
        _ => (Duration::from_millis(10) * 2_u32.pow(doublings)).min(RECONNECT_DELAY_MAX),
    };
    let half = most / 2;
    let span = u64::try_from(half.as_micros()).unwrap_or(u64::MAX).max(1);
    half + Duration::from_micros(random % span)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A setting that cannot work must be named at start, not found out in an outage.
    #[test]
    fn settings_out_of_range_are_refused_and_named() {
        let fine = NatsOptions::default();
        assert!(fine.check().is_ok());
        let cases = [
            (fine.clone().replicas(0), "replicas", "0"),
            (fine.clone().replicas(6), "replicas", "6"),
            (
                fine.clone().request_timeout(Duration::ZERO),
                "request_timeout",
                "0ns",
            ),
            (
                fine.clone().connect_timeout(Duration::ZERO),
                "connect_timeout",
                "0ns",
            ),
            (
                fine.clone().watch_heartbeat(Duration::from_millis(9)),
                "watch_heartbeat",
                "9ms",
            ),
            (
                fine.clone().request_timeout(Duration::MAX),
                "request_timeout",
                "to a day",
            ),
            (
                fine.clone().connect_timeout(Duration::MAX),
                "connect_timeout",
                "to a day",
            ),
            (
                fine.clone().watch_heartbeat(Duration::MAX),
                "watch_heartbeat",
                "to a day",
            ),
            (fine.bucket_prefix("a.b"), "bucket_prefix", "a.b"),
        ];
        for (options, option, found) in cases {
            let text = options.check().expect_err(option).to_string();
            assert!(text.contains(option) && text.contains(found), "{text}");
        }
    }

    /// A long pause between reconnects lets leases run out although the server is back.
    #[test]
    fn the_pause_before_a_reconnect_grows_and_stays_short() {
        for attempt in 0..100 {
            for random in [0, 1, 12_345, u64::MAX] {
                let delay = reconnect_delay(attempt, random);
                assert!(delay <= RECONNECT_DELAY_MAX, "{attempt}: {delay:?}");
                assert!(delay >= Duration::from_millis(5), "{attempt}: {delay:?}");
            }
        }
        assert!(reconnect_delay(9, 0) > reconnect_delay(2, 0));
    }
}

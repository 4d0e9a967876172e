//! How a store is opened: what the bucket is made of and how long things may take.
//!
//! It is separate because these are the only settings of the crate. Everything else about the
//! connection (authentication, TLS, names) is set on the client itself.

use std::fmt;
use std::time::Duration;

use async_nats::ConnectOptions;

use crate::settings::error::OpenError;
use crate::wire::random::random;

/// The longest pause between two attempts to reconnect: a lease must not run out in a pause.
const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(200);
/// How often the client asks whether the server is alive; three unanswered ones reconnect.
const PING_INTERVAL: Duration = Duration::from_secs(3);
/// The longest of all durations: no sum with it overflows.
const LONGEST: Duration = Duration::from_secs(86_400);

/// How many messages a subscription of the client holds before it drops some: a whole list of a
/// thousand keys comes at once, and what is dropped has to be asked for again.
const SUBSCRIPTION_CAPACITY: usize = 65_536;

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
    pub(crate) api: ApiPrefix,
    pub(crate) access: Access,
}

/// What the store is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// To take part: a bucket that is missing is created.
    Member,
    /// To write into a bucket that exists.
    Visitor,
    /// To read a bucket that exists.
    Reader,
}

/// Where the JetStream that keeps the bucket is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ApiPrefix {
    /// The one the server uses for this account.
    Default,
    /// The one of a domain, wherever in the network it is.
    Domain(String),
    /// The one imported from another account under this prefix.
    Imported(String),
}

impl fmt::Display for ApiPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "none",
            Self::Domain(name) | Self::Imported(name) => name,
        })
    }
}

impl ApiPrefix {
    /// The subject of a method of the JetStream API.
    pub(crate) fn method(&self, method: &str) -> String {
        match self {
            Self::Default => format!("$JS.API.{method}"),
            Self::Domain(domain) => format!("$JS.{domain}.API.{method}"),
            Self::Imported(prefix) => format!("{prefix}.{method}"),
        }
    }

    /// Where a message for a subject of the bucket is published so that it reaches that JetStream,
    /// and not one that is nearer.
    pub(crate) fn publish(&self, subject: &str) -> String {
        match self {
            Self::Default => subject.to_owned(),
            Self::Domain(_) | Self::Imported(_) => self.method(subject),
        }
    }

    fn fault(&self) -> Option<(&'static str, &str, &'static str)> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '$';
        let is_word = |part: &str| !part.is_empty() && part.len() <= 64 && part.chars().all(word);
        match self {
            Self::Default => None,
            Self::Domain(domain) => (!is_word(domain)).then_some((
                "domain",
                domain,
                "1 to 64 letters, digits, '_' and '-'",
            )),
            Self::Imported(prefix) => (!prefix.split('.').all(is_word)).then_some((
                "api_prefix",
                prefix,
                "a subject without wildcards and without a dot at the end, such as JS.hub.API",
            )),
        }
    }
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
            api: ApiPrefix::Default,
            access: Access::Member,
        }
    }
}

impl NatsOptions {
    /// Opens only a bucket that is there: a missing one is
    /// [`OpenError::NoBucket`], and no store creates it. For programs that ask something of a group and
    /// are no workers.
    #[must_use]
    pub const fn existing_only(mut self) -> Self {
        self.access = Access::Visitor;
        self
    }

    /// Opens only a bucket that is there, and only to read it: every commit is refused. A bucket with
    /// unfit settings is opened all the same, since it can be looked at; [`StoreOp::Info`] names them.
    ///
    /// [`StoreOp::Info`]: parti_core::StoreOp::Info
    #[must_use]
    pub const fn read_only(mut self) -> Self {
        self.access = Access::Reader;
        self
    }

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

    /// The JetStream domain that keeps the bucket, such as `hub`; none if not set. Replaces
    /// [`NatsOptions::api_prefix`].
    ///
    /// Set it wherever servers with a JetStream of their own are joined by leaf nodes: without it
    /// each process uses the JetStream nearest to it, and those that are not where the group is at work
    /// are refused ([`OpenError::GroupElsewhere`]). Where they cannot hear of it, the group exists
    /// twice, with two owners for every partition.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.api = ApiPrefix::Domain(domain.into());
        self
    }

    /// The prefix under which the account imports another account's JetStream, without the dot at
    /// the end; `$JS.API` if not set. Replaces [`NatsOptions::domain`].
    ///
    /// Below it are expected, as other clients do, the methods of the API and, for writing, the
    /// subjects of the bucket: with `JS.hub.API` that is `JS.hub.API.STREAM.INFO.KV_parti_orders` and
    /// `JS.hub.API.$KV.parti_orders.head`. Watches answer to the client's inbox, and ask about the
    /// flow at `$JS.FC.>`; both have to pass as well.
    #[must_use]
    pub fn api_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.api = ApiPrefix::Imported(prefix.into());
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
        if let Some((option, found, needed)) = self.api.fault() {
            return Err(OpenError::InvalidOption {
                option,
                found: format!("{found:?}"),
                needed: needed.to_owned(),
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
/// connection noticed in seconds, bounded connects and requests, room for a whole list.
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
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
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
            (fine.clone().domain(""), "domain", ""),
            (fine.clone().domain("a.b"), "domain", "a.b"),
            (fine.clone().domain("*"), "domain", "*"),
            (fine.clone().api_prefix("JS.API."), "api_prefix", "JS.API."),
            (fine.clone().api_prefix("JS.>"), "api_prefix", "JS.>"),
            (fine.bucket_prefix("a.b"), "bucket_prefix", "a.b"),
        ];
        for (options, option, found) in cases {
            let text = options.check().expect_err(option).to_string();
            assert!(text.contains(option) && text.contains(found), "{text}");
        }
    }

    /// A write that goes to the nearest JetStream while reads go to the named one is lost.
    #[test]
    fn methods_and_writes_go_to_the_same_jetstream() {
        let options = NatsOptions::default();
        let subjects = |options: &NatsOptions| {
            let both = (
                options.api.method("INFO"),
                options.api.publish("$KV.b.head"),
            );
            options.check().map(|()| both)
        };
        let pair = |method: &str, write: &str| Ok((method.to_owned(), write.to_owned()));
        assert_eq!(subjects(&options), pair("$JS.API.INFO", "$KV.b.head"));
        assert_eq!(
            subjects(&options.clone().domain("hub")),
            pair("$JS.hub.API.INFO", "$JS.hub.API.$KV.b.head")
        );
        assert_eq!(
            subjects(&options.api_prefix("JS.hub.API")),
            pair("JS.hub.API.INFO", "JS.hub.API.$KV.b.head")
        );
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

//! Opening a store: connect, check the server, open the bucket.
//!
//! It is separate because it is the only part whose errors people read first: each failure names what was
//! found and what is needed, and none of them repeats a password that stood in the address.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions};
use parti_core::GroupName;
use tokio::time::{Instant, sleep, timeout};

use crate::bucket;
use crate::bucket::twin::{self, Twins};
use crate::requests::api::Api;
use crate::requests::page_size::PageSize;
use crate::requests::violation::{ClientEvents, ConnectionEvents, Violations};
use crate::settings::address::Addresses;
use crate::settings::error::{OpenError, ensure_version};
use crate::settings::options::{Access, NatsOptions, tuned};
use crate::store::NatsStore;
use crate::wire::key::Names;

/// How often to look whether a client has its first connection.
const FIRST_LOOKS: Duration = Duration::from_millis(20);

/// A client that was told to make its first connection in the background
/// (`retry_on_initial_connect`) has none yet. It is waited for, however long that takes: this is what
/// was asked for.
async fn first_connection(client: Client) -> Client {
    while client.connection_state() == State::Pending {
        sleep(FIRST_LOOKS).await;
    }
    client
}

/// A connection to a NATS server, before it is said which group is meant.
#[derive(Clone, Debug)]
pub struct NatsConnection {
    client: Client,
    violations: Violations,
    options: NatsOptions,
}

impl NatsConnection {
    /// Connects to a server, as [`NatsStore::connect_with`] does; no bucket is opened.
    ///
    /// # Errors
    /// [`OpenError`] names what was found and what is needed.
    ///
    /// # Cancellation safety
    /// Dropping the future closes the connection. Bounded by `connect_timeout`, unless
    /// `retry_on_initial_connect` is set.
    pub async fn open(
        connect: ConnectOptions,
        url: &str,
        options: NatsOptions,
    ) -> Result<Self, OpenError> {
        options.check()?;
        let addresses = Addresses::parse(url)?;
        let violations = Violations::new(ClientEvents::Own);
        let events = violations.clone();
        let connect = addresses.authenticate(tuned(connect, &options));
        let connect = connect.event_callback(move |event| {
            tracing::debug!(%event, "connection");
            events.on_event(&event);
            std::future::ready(())
        });
        let connecting = connect.connect(&addresses.servers[..]);
        let client = match timeout(options.connect_timeout, connecting).await {
            Ok(Ok(client)) => first_connection(client).await,
            Ok(Err(error)) => return Err(addresses.refusal(error.kind(), error.to_string())),
            Err(_) => {
                let reason = format!("no connection within {:?}", options.connect_timeout);
                return Err(addresses.unreachable(reason));
            }
        };
        if let Some(server) = client.try_server_info() {
            ensure_version(&server.version)?;
        }
        Ok(Self {
            client,
            violations,
            options,
        })
    }

    /// Opens the bucket of a group.
    ///
    /// # Errors
    /// As [`NatsStore::connect`].
    ///
    /// # Cancellation safety
    /// As [`NatsStore::with_client`].
    pub async fn group(&self, group: &GroupName) -> Result<NatsStore, OpenError> {
        let (client, options) = (self.client.clone(), self.options.clone());
        NatsStore::open(client, group, options, self.violations.clone()).await
    }

    /// The groups whose buckets are in this JetStream, by name. It costs a request for each 256 streams
    /// of the account.
    ///
    /// # Errors
    /// [`OpenError::Denied`] without permission for `STREAM.LIST`, and what else a request may fail with.
    ///
    /// # Cancellation safety
    /// Dropping the future changes nothing. Bounded by `connect_timeout`.
    pub async fn groups(&self) -> Result<Vec<GroupName>, OpenError> {
        let api = self.api(self.options.bucket_prefix.clone());
        let deadline = Instant::now() + self.options.connect_timeout;
        let found = bucket::groups(&api, deadline).await;
        found.map_err(|failure| OpenError::from_failure(failure, "list groups", &self.options.api))
    }

    /// The connection itself, for callers that want to use it for more.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    fn api(&self, bucket: String) -> Api {
        let (client, options) = (self.client.clone(), self.options.clone());
        api(client, bucket, options, self.violations.clone())
    }
}

fn api(client: Client, bucket: String, options: NatsOptions, violations: Violations) -> Api {
    Api {
        client,
        names: Names::new(bucket),
        options,
        violations,
        page_size: Arc::new(PageSize::new()),
        leader: Arc::default(),
        replies: Arc::default(),
    }
}

impl NatsStore {
    /// Connects to a server and opens the bucket of a group, creating it if there is none.
    ///
    /// `url` is `nats://host:port` (or `tls://`), several joined by commas. User and password, or a
    /// token, may stand in one of them and count for all; special characters are escaped (`%40`).
    ///
    /// # Errors
    /// [`OpenError`] names what was found and what is needed.
    ///
    /// # Cancellation safety
    /// Dropping the future closes the connection and may leave the (empty) bucket behind; opening again
    /// is safe. Bounded by `connect_timeout` for the connection, unless `retry_on_initial_connect` is
    /// set, and for each of at most three requests. Asking whether the group lives elsewhere takes a
    /// tenth of it at most.
    pub async fn connect(
        url: &str,
        group: &GroupName,
        options: NatsOptions,
    ) -> Result<Self, OpenError> {
        Self::connect_with(ConnectOptions::new(), url, group, options).await
    }

    /// As [`NatsStore::connect`], with the client's own options for authentication, TLS and names.
    ///
    /// What leases need is set over them, see [`tuned`]; an event callback in `connect` is
    /// replaced by the store's own. With `retry_on_initial_connect` a server that is not there yet is
    /// waited for without a limit, and so are credentials that it does not accept yet.
    ///
    /// # Errors
    /// As [`NatsStore::connect`].
    ///
    /// # Cancellation safety
    /// As [`NatsStore::connect`].
    pub async fn connect_with(
        connect: ConnectOptions,
        url: &str,
        group: &GroupName,
        options: NatsOptions,
    ) -> Result<Self, OpenError> {
        let connection = NatsConnection::open(connect, url, options).await?;
        connection.group(group).await
    }

    /// Opens the bucket of a group over a client that is connected already.
    ///
    /// Use [`tuned`] when you make the client: its own defaults are too slow for leases. A missing
    /// permission shows as a time-out here, since the client tells it only to its event callback:
    /// use [`NatsStore::with_client_events`] where permissions are restricted.
    ///
    /// # Errors
    /// As [`NatsStore::connect`]; the client stays connected.
    ///
    /// # Cancellation safety
    /// Dropping the future leaves the client connected and may leave the (empty) bucket behind; opening
    /// again is safe. Bounded by `connect_timeout` for each of at most three requests, and a tenth of it
    /// for asking whether the group lives elsewhere.
    pub async fn with_client(
        client: Client,
        group: &GroupName,
        options: NatsOptions,
    ) -> Result<Self, OpenError> {
        options.check()?;
        Self::open(
            client,
            group,
            options,
            Violations::new(ClientEvents::Missing),
        )
        .await
    }

    /// As [`NatsStore::with_client`], with the events of the client, so that missing permissions
    /// are told as what they are.
    ///
    /// # Errors
    /// As [`NatsStore::connect`]; the client stays connected.
    ///
    /// # Cancellation safety
    /// As [`NatsStore::with_client`].
    pub async fn with_client_events(
        client: Client,
        events: ConnectionEvents,
        group: &GroupName,
        options: NatsOptions,
    ) -> Result<Self, OpenError> {
        options.check()?;
        Self::open(client, group, options, events.0).await
    }

    async fn open(
        client: Client,
        group: &GroupName,
        options: NatsOptions,
        violations: Violations,
    ) -> Result<Self, OpenError> {
        let client = first_connection(client).await;
        if let Some(server) = client.try_server_info() {
            ensure_version(&server.version)?;
        }
        let bucket = format!("{}{group}", options.bucket_prefix);
        let api = api(client, bucket, options, violations);
        let info = bucket::open(&api).await?;
        if api.options.access != Access::Reader {
            twin::ensure_only(&api, &info).await?;
        }
        let twins = Arc::<Twins>::default();
        twins.look(&api, &info);
        Ok(Self {
            api: Arc::new(api),
            twins,
            message_limit: info.config.max_msg_size,
            opened: Arc::new(Mutex::new(Some((info, std::time::Instant::now())))),
        })
    }
}

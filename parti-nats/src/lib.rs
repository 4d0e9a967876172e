//! The [`Store`](parti_core::Store) port of `parti` on NATS JetStream: one KV bucket per group.
//!
//! The crate only knows the wire. It decides nothing about workers or partitions: it turns a
//! [`StoreOp`](parti_core::StoreOp) into requests to a NATS server and their outcome into one of
//! the port's answers. What always holds:
//!
//! * A commit is **one** conditional publish or **one** atomic batch: all writes happen or none.
//! * An outcome that is not certain is [`Unknown`](parti_core::StoreErrorKind::Unknown). Nothing
//!   that was handed to the connection is ever called "not sent".
//! * A watch delivers in the order of the revisions and says
//!   [`Lost`](parti_core::WatchEvent::Lost) when it cannot promise to have missed nothing.
//! * Neither lists nor watches leave consumers behind on the server.
//!
//! The server must be nats-server 2.12.1 or later with JetStream; an older one is refused with the
//! version found and needed.
//!
//! # Example
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use parti_core::{Expect, GroupName, Store, StoreOp, Write};
//! use parti_nats::{NatsOptions, NatsStore};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let group = GroupName::new("orders")?;
//! let options = NatsOptions::default()
//!     .replicas(3)
//!     .request_timeout(Duration::from_secs(1));
//! let store = NatsStore::connect("nats://127.0.0.1:4222", &group, options).await?;
//!
//! let write = Write {
//!     key: "greeting".to_owned(),
//!     value: Some(b"hello".to_vec()),
//!     expect: Expect::Absent,
//! };
//! let reply = store.execute(StoreOp::Commit { writes: vec![write] }).await?;
//! println!("{reply:?}");
//! # Ok(())
//! # }
//! ```
//!
//! Authentication and TLS are set on the client: give your own
//! [`ConnectOptions`](async_nats::ConnectOptions) to [`NatsStore::connect_with`], or a client you
//! connected yourself to [`NatsStore::with_client`].

#![cfg_attr(docsrs, feature(doc_cfg))]

mod bucket;
mod commit;
mod connect;
#[cfg(feature = "jetstream")]
pub mod consume;
mod liveness;
mod read;
mod requests;
pub mod route;
mod settings;
mod store;
mod watch;
mod wire;

pub use async_nats;

pub use crate::connect::NatsConnection;
pub use crate::requests::violation::ConnectionEvents;
pub use crate::settings::error::OpenError;
pub use crate::settings::options::{NatsOptions, Storage, tuned};
pub use crate::store::NatsStore;
pub use crate::wire::version::{MINIMUM_SERVER, ServerVersion};

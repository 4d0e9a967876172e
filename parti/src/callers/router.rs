//! Reaching the owner of a partition over NATS: callers send by key, the owner answers.
//!
//! A [`Responder`] is the handler of a worker: it answers requests for the partitions that are its own. A
//! [`Router`] is what callers hold: it reads the group as a [`Directory`](crate::directory::Directory) does,
//! asks the owner, and follows when the partition moves.
//!
//! ```no_run
//! use parti::nats::async_nats;
//! use parti::nats::router::{Request, Responder, Router};
//! use parti::sources::StaticSource;
//! use parti::{Config, GroupName, Manager, PartitionKey};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let (url, group) = ("nats://127.0.0.1:4222", GroupName::new("orders")?);
//! // A worker.
//! let client = async_nats::connect(url).await?;
//! let responder = Responder::builder(client, &group);
//! let answer = |request: Request| async move {
//!     Ok(format!("{} with token {}", request.partition(), request.token()))
//! };
//! let responder = responder.on_request(answer).await?;
//! let source = StaticSource::numbered("orders", 8)?;
//! let config = Config::builder("orders").build()?;
//! let manager = Manager::builder(config, source, responder.clone()).nats(url);
//! let manager = manager.advertise(responder.endpoint().as_str()).start().await?;
//! // A caller.
//! let router = Router::nats(url, &group).await?;
//! let answer = router.call(&PartitionKey::new(["orders", "7"])?, "what are you?").await?;
//! println!("{:?} from {}", answer.payload(), answer.token());
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//! * A request is handled by a worker with a valid guard, and its answer is sent while that is valid. In
//!   exclusive mode no request is handled by two owners, however often it was asked.
//! * A planned move loses nothing: the old owner ends what it has accepted before its `on_revoked` returns,
//!   refuses the rest, and callers ask the new one. What takes longer than `drain_timeout` is cut short.
//! * A request that may have been handled and has no answer is [`RouteError::Unknown`], and only what may
//!   be handled twice ([`Repeat::Allowed`]) is sent again then.
//!
//! What is on the wire, limits and permissions: `docs/ROUTING.md`.

mod admission;
mod caller;
mod course;
mod error;
mod limits;
mod responder;
mod serving;

pub use caller::{Answer, Router};
pub use error::{ListenError, RouteError, Untaken};
pub use limits::{Limits, Repeat};
pub use responder::{Responder, ResponderBuilder};
pub use serving::Request;

#[doc(inline)]
pub use parti_core::{Endpoint, EndpointError};
#[doc(inline)]
pub use parti_nats::route::{Bytes, key_of, key_tokens, text_of, token_of};

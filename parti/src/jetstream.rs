//! Consuming a NATS JetStream stream by partition: each key in order, by one worker, none lost.
//!
//! A stream splits its subjects into partitions, a group of workers owns them, and each owner handles the
//! messages of its partitions one after another. How far it has come is a *cursor*, a record beside the
//! stream that is changed by conditional writes only. A new owner takes over with one such write; from
//! then on every commit of an older owner is refused. What was handled and not committed by an owner that
//! crashed is handled again: pass [`PartitionMessage::token`] to what the work writes to.
//!
//! ```no_run
//! use parti::jetstream::{PartitionMessage, Partitioned};
//! use parti::nats::async_nats;
//! use parti::{Config, Manager};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let url = "nats://127.0.0.1:4222";
//! let context = async_nats::jetstream::new(async_nats::connect(url).await?);
//! let orders = Partitioned::builder(context, "ORDERS")
//!     .group("billing")
//!     .partitions(64)
//!     .transform("orders.*")
//!     .on_message(|message: PartitionMessage| async move {
//!         println!("{} is {}", message.subject(), message.payload().len());
//!         Ok(())
//!     })
//!     .build()
//!     .await?;
//! let config = Config::builder("billing").build()?;
//! let manager = Manager::builder(config, orders.source(), orders).nats(url).start().await?;
//! manager.run_until(std::future::pending::<()>()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The guarantees, and on which conditions, are in `docs/CONSUMING.md`.

mod acks;
mod builder;
mod feed;
mod grouping;
mod hub;
mod lane;
mod message;
mod owned;
mod partitioned;
mod reading;
mod settings;
mod writer;

pub use builder::PartitionedBuilder;
pub use message::PartitionMessage;
pub use partitioned::{PartitionStatus, Partitioned, StreamPartitions};
pub use settings::OnPoison;

#[doc(inline)]
pub use parti_nats::consume::layout::destination;
#[doc(inline)]
pub use parti_nats::consume::{
    Condition, ConsumeError, Layout, LayoutError, OnOvertaken, OnRecreated, Output, Repartition,
    RepartitionProgress, StartAt, partition_of, plan_repartition, repartition,
    repartition_progress,
};

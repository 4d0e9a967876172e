//! Consuming a stream by partition: the subjects of each partition, the cursor that fences, and the
//! reader that may be thrown away.
//!
//! It is separate from the store because it works beside it, on the user's own streams, and behind the
//! feature `jetstream`, so that coordination alone does not pull it in. What always holds: the position
//! of a partition is a record that is changed by conditional writes only, and nothing on the server
//! that could be rewound, deleted or acknowledged by somebody else decides what was handled. Nothing
//! here spawns a task.

pub mod condition;
pub mod cursor;
pub mod cursors;
pub mod durable;
pub mod intake;
pub mod layout;
pub mod outputs;
pub mod progress;
pub mod reader;
pub mod stream;
pub mod take_over;
pub mod wire;

pub use condition::Condition;
pub use cursor::{Cursor, Found, Hold, Owner};
pub use cursors::Cursors;
pub use cursors::gate::Gate;
pub use cursors::gate::sharing::{Shared, is_ended, shared};
pub use durable::unacknowledged::Unacknowledged;
pub use durable::{DurableName, Durables};
pub use intake::{Intake, Numbers};
pub use layout::{Layout, LayoutError, partition_of};
pub use outputs::{MOST_OUTPUTS, Output, OutputStream};
pub use progress::{CommitRules, Next, Progress};
pub use reader::{Delivery, Reader, ReaderEnd, ReaderSpec, Step};
pub use stream::{
    Repartition, RepartitionProgress, Retention, Source, plan_repartition, repartition,
    repartition_progress,
};
pub use take_over::{OnOvertaken, OnRecreated, Rules, StartAt, StreamFacts, TakeOver, take_over};
pub use wire::{ConsumeError, Wire, Wrote};

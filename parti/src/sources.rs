//! Where partitions come from: a fixed list, a function, or a list kept in a bucket.
//!
//! What always holds: a list is whole, or it is an error.

mod kv_source;
mod source;

pub use kv_source::{KvSource, KvSourceError};
#[doc(inline)]
pub use parti_core::{PartitionSource, PieceError, SourceError};
pub use source::{StaticSource, source_fn};

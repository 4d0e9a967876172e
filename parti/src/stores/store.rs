//! Where records are kept: the store in this process, the one in a file, and what a backend of your own
//! implements.
//!
//! Implement [`Store`] and [`Watch`]; everything else in here is data. What a backend has to promise is
//! said at each item, and `parti_testing::kit::conformance` tests it.
//!
//! ```
//! use parti::store::{Store, StoreError, StoreErrorKind, StoreOp, StoreReply, Watch, WatchScope};
//! use parti::async_trait;
//! use parti::store::LocalStore;
//!
//! /// Refuses to write.
//! struct ReadOnly(LocalStore);
//!
//! #[async_trait]
//! impl Store for ReadOnly {
//!     async fn execute(&self, op: StoreOp) -> Result<StoreReply, StoreError> {
//!         match op {
//!             StoreOp::Commit { .. } | StoreOp::Create => {
//!                 Err(StoreError::new(StoreErrorKind::Rejected, "this store is read-only"))
//!             }
//!             StoreOp::Get { .. } | StoreOp::List { .. } | StoreOp::Info => self.0.execute(op).await,
//!         }
//!     }
//!
//!     async fn watch(&self, scope: WatchScope) -> Result<Box<dyn Watch>, StoreError> {
//!         self.0.watch(scope).await
//!     }
//! }
//! ```

pub use crate::stores::local_store::LocalStore;
#[cfg(feature = "sqlite")]
pub use crate::stores::sqlite::{SqliteOptions, SqliteStore};
#[doc(inline)]
pub use parti_core::{
    Answering, Entry, Expect, Liveness, Nonce, ProbeAnswer, Revision, Store, StoreError,
    StoreErrorKind, StoreFault, StoreInfo, StoreOp, StoreReply, Watch, WatchEvent, WatchScope,
    Write,
};

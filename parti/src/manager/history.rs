//! Reading back what the group did and why, for operators.
//!
//! It is separate from the rest of the manager because it asks the store itself and not the driver:
//! an answer must not depend on a worker that is busy. What always holds: it only reads.

use parti_core::{AuditEntry, Explanation, History, PartitionKey};

use super::Manager;
use crate::error::ReadError;

impl Manager {
    /// The last `n` generations of the group's assignments, oldest first: what each did and why. A
    /// generation is one write of the leader; a rebalance is one or more of them.
    ///
    /// The group keeps a ring of 256 entries in the store; older ones are gone.
    ///
    /// ```no_run
    /// # async fn show(manager: &parti::Manager) -> Result<(), parti::history::ReadError> {
    /// for generation in manager.history(10).await? {
    ///     println!("{generation}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReadError`]; nothing changes by it.
    ///
    /// # Cancellation safety
    /// Dropping the future changes nothing; it can be called again. Each read is bounded by
    /// `request_timeout`.
    pub async fn history(&self, n: usize) -> Result<Vec<AuditEntry>, ReadError> {
        Ok(self.read_history().await?.last(n).to_vec())
    }

    /// Why a partition is where it is: who owns it, with which token and since when, whether it is on
    /// its way, and the chain of moves that led there with their causes. What the store no longer
    /// shows is in [`Explanation::gaps`].
    ///
    /// ```no_run
    /// # async fn show(manager: &parti::Manager) -> Result<(), Box<dyn std::error::Error>> {
    /// let partition = parti::PartitionKey::new(["orders", "7"])?;
    /// println!("{}", manager.explain(&partition).await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReadError`]; nothing changes by it.
    ///
    /// # Cancellation safety
    /// Dropping the future changes nothing; it can be called again. Each read is bounded by
    /// `request_timeout`.
    pub async fn explain(&self, partition: &PartitionKey) -> Result<Explanation, ReadError> {
        Ok(self.read_history().await?.explain(partition))
    }

    async fn read_history(&self) -> Result<History, ReadError> {
        if let Some(ended) = self.shared.ended() {
            return Err(ReadError::Ended(ended));
        }
        let limit = self.config.request_timeout();
        let mut entries = Vec::new();
        for read in History::reads() {
            let reply = tokio::time::timeout(limit, self.store.execute(read)).await;
            let reply = reply.map_err(|_| ReadError::TimedOut { after: limit })?;
            entries.extend(History::entries_of(reply.map_err(ReadError::Store)?));
        }
        Ok(History::read(&entries))
    }
}

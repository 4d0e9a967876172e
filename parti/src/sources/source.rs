//! Ready-made partition sources: a fixed list, and a function that lists.

use std::future::Future;

use async_trait::async_trait;
use parti_core::{Partition, PartitionError, PartitionSource, PartitionTable, SourceError};

/// A list that never changes.
#[derive(Clone, Debug)]
pub struct StaticSource(Vec<Partition>);

impl StaticSource {
    /// A source of these partitions, in any order.
    ///
    /// # Errors
    /// [`PartitionError`] for a list with duplicates or weights that overflow.
    ///
    /// ```
    /// use parti::Partition;
    /// use parti::sources::StaticSource;
    /// let source = StaticSource::new(vec![Partition::new(["orders", "0"])?])?;
    /// # Ok::<(), parti::PartitionError>(())
    /// ```
    pub fn new(partitions: Vec<Partition>) -> Result<Self, PartitionError> {
        PartitionTable::new(partitions.clone())?;
        Ok(Self(partitions))
    }

    /// A source of `count` partitions `[name, "0"]`, `[name, "1"]`, and so on.
    ///
    /// # Errors
    /// [`PartitionError`] for an empty or too long name.
    pub fn numbered(name: &str, count: u32) -> Result<Self, PartitionError> {
        let partition = |number: u32| Partition::new([name, &number.to_string()]);
        Self::new((0..count).map(partition).collect::<Result<_, _>>()?)
    }
}

#[async_trait]
impl PartitionSource for StaticSource {
    async fn list(&self) -> Result<Vec<Partition>, SourceError> {
        Ok(self.0.clone())
    }
}

/// A source that calls a function for each listing. Call [`Manager::refresh`](crate::Manager) when
/// the answer may have changed, or set `refresh_interval`.
pub fn source_fn<F, R>(list: F) -> impl PartitionSource
where
    F: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = Result<Vec<Partition>, SourceError>> + Send + 'static,
{
    FnSource(list)
}

struct FnSource<F>(F);

#[async_trait]
impl<F, R> PartitionSource for FnSource<F>
where
    F: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = Result<Vec<Partition>, SourceError>> + Send + 'static,
{
    async fn list(&self) -> Result<Vec<Partition>, SourceError> {
        (self.0)().await
    }
}

//! What a worker does where two answers are right: at a change of owners, and when its bucket is lost.

/// What happens between an old and a new owner of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// Nobody is granted a partition while another worker may hold it: revoke, acknowledge, grant.
    #[default]
    Exclusive,
    /// The new owner is granted the partition at once; for a moment there can be two. For work where
    /// a pause is worse than doing something twice.
    Overlap,
}

/// What a worker does when the bucket was deleted, created anew, wiped or set back while it ran. In
/// either case it gives up everything it holds at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnBucketLost {
    /// It stays in quarantine for one lease, creates the bucket if there is none, and takes part again.
    /// The group assigns everything anew; tokens go on rising.
    #[default]
    Recreate,
    /// It stops, so that people can look before anything is written. It never creates a bucket.
    Halt,
}

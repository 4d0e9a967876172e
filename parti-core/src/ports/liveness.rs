//! The liveness port: asking whether the process behind a session still runs, beside the store.
//!
//! It is separate from the store because a backend need not offer it, and because nothing it says is a
//! proof: a process that is about to connect again looks like one that has ended. What always holds:
//! only suspicion follows from an answer; what it leads to is a conditional write.

use alloc::boxed::Box;
use alloc::string::String;
use async_trait::async_trait;
use core::fmt;
use core::time::Duration;

use crate::model::id::Nonce;
use crate::ports::store::StoreError;

/// The number of a probe, and the session that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId {
    pub(crate) session: Nonce,
    pub(crate) seq: u64,
}

impl ProbeId {
    /// A name for a probe that no core asked for: for the tests of a backend or of a checker.
    #[must_use]
    pub const fn new(session: Nonce, number: u64) -> Self {
        Self {
            session,
            seq: number,
        }
    }

    /// The session that is asked.
    #[must_use]
    pub const fn session(self) -> Nonce {
        self.session
    }

    /// Which of the probes of this process it is; they are numbered from 1.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.seq
    }
}

impl fmt::Display for ProbeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "probe#{}", self.seq)
    }
}

/// What became of a probe.
///
/// Closed: what follows from each is decided in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// The process of the session answered.
    Alive,
    /// Somebody who would know says that nobody listens for this session.
    Nobody,
    /// No answer in time, or the question could not be sent.
    Silence,
}

/// Asking processes whether they run. A [`Store`](crate::Store) that can carry such questions offers it.
///
/// # Cancellation safety
/// Dropping the future of [`Liveness::ask`] abandons the answer. Dropping that of [`Liveness::answer`]
/// leaves nothing behind. [`Liveness::ask`] is bounded by `within`, [`Liveness::answer`] by its caller.
#[async_trait]
pub trait Liveness: Send + Sync + 'static {
    /// Begins to answer for a session. When it returns, a question asked by anybody is answered.
    ///
    /// # Errors
    /// [`StoreError`] when that cannot be; nobody is to ask for the session then.
    async fn answer(&self, session: Nonce) -> Result<Box<dyn Answering>, StoreError>;

    /// Asks once. Nothing is repeated and nothing is waited for but the answer.
    async fn ask(&self, session: Nonce, within: Duration) -> ProbeAnswer;
}

/// Answering for a session. Dropping it ends that, and anyone who asks is told that there is nobody.
#[async_trait]
pub trait Answering: Send {
    /// Answers until that is not possible any more, and says why.
    ///
    /// # Cancellation safety
    /// Dropping the future loses at most the answer under way. There is no deadline: it lasts as long as
    /// the session.
    async fn run(&mut self) -> String;
}

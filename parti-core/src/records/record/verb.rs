//! What is asked of a leader, as it stands in a key.
//!
//! It is separate because a verb is known before its record is read: one that a release does not know is
//! left alone.

/// What is asked of the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// List the partitions again.
    Refresh,
    /// Rebalance now.
    Trigger,
    /// The leader resigns and lets another be elected.
    StepDown,
    /// A worker is to own nothing, and stays a member: its partitions go by the normal path.
    Drain,
    /// A worker gets nothing new, and keeps what it has.
    Cordon,
    /// Nothing moves that has an owner that may keep it.
    Freeze,
    /// Partitions are to be where operators want them. One record names them all.
    Pin,
    /// The session that a worker has is ended, and its slot gets nothing new.
    Evict,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 8] = [
        Self::Refresh,
        Self::Trigger,
        Self::StepDown,
        Self::Drain,
        Self::Cordon,
        Self::Freeze,
        Self::Pin,
        Self::Evict,
    ];
    /// Those that a worker asks for on behalf of its own process. The leader removes the request in the
    /// generation that contains it.
    pub const REQUESTS: [Self; 2] = [Self::Refresh, Self::Trigger];

    /// The verb as it stands in a key.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::Trigger => "trigger",
            Self::StepDown => "step-down",
            Self::Drain => "drain",
            Self::Cordon => "cordon",
            Self::Freeze => "freeze",
            Self::Pin => "pin",
            Self::Evict => "evict",
        }
    }

    /// Whether it holds until it is over or withdrawn, for every leader. Its key then names the worker it
    /// is about, or [`Verb::GROUP`]; the key of a request names who asks.
    #[must_use]
    pub const fn is_order(self) -> bool {
        match self {
            Self::Refresh | Self::Trigger | Self::StepDown => false,
            Self::Drain | Self::Cordon | Self::Freeze | Self::Pin | Self::Evict => true,
        }
    }

    /// Stands for a worker in the key of an order that is about the whole group.
    pub const GROUP: &str = "group";

    /// Reads a verb.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == text)
    }
}

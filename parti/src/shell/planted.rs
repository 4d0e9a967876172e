//! Planted bugs of the shell: deliberate defects, to prove that simulated managers would find them.
//!
//! **Not for production.** Without the feature `planted` none can be named, and [`Bugs::has`] is a
//! constant `false`. What always holds: a hook is one condition in the code it spoils.

/// Makes the list of bugs: variant, word, description.
macro_rules! bugs {
    ($($variant:ident $word:literal $what:literal;)*) => {
        /// A bug that can be planted in the shell of a manager.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[cfg_attr(not(feature = "planted"), expect(unreachable_pub))]
        #[non_exhaustive]
        pub enum ShellBug {
            $(#[doc = $what] $variant,)*
        }

        #[cfg(feature = "planted")]
        impl ShellBug {
            /// Every bug.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in lower-case words.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// What is wrong with a manager that has it.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$variant => $what,)*
                }
            }
        }
    };
}

bugs! {
    EarlyRelease "early-release" "A partition is given back when `on_revoked` begins.";
    ValidAfterRelease "valid-after-release" "The release of a partition does not end its guard.";
    DeadlineIgnored "deadline-ignored" "Guards stay valid when the lease is over.";
    EarlyDeadline "early-deadline" "A later deadline holds before the effects that end older guards.";
    LeaseLossIgnored "lease-loss-ignored" "The loss of the lease ends no guard.";
    CallbacksOverlap "callbacks-overlap" "A callback that is cut short goes on beside the next one.";
    TimeoutIsRefusal "timeout-is-refusal" "A request without an answer counts as not carried out.";
    StopForgetsCallbacks "stop-forgets-callbacks" "A stop answers while callbacks still run.";
    ErrorSwallowed "error-swallowed" "A handler that fails counts as processing.";
    PanicSwallowed "panic-swallowed" "A handler that panics in `on_assigned` counts as processing.";
    LostWatchUnseen "lost-watch-unseen" "The end of a watch is not told.";
}

/// Which bug a manager has, if any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bugs {
    #[cfg(feature = "planted")]
    planted: Option<ShellBug>,
}

impl Bugs {
    #[cfg(feature = "planted")]
    pub(crate) const fn one(bug: ShellBug) -> Self {
        Self { planted: Some(bug) }
    }

    /// Whether this bug is planted.
    #[cfg(feature = "planted")]
    pub(crate) fn has(self, bug: ShellBug) -> bool {
        self.planted == Some(bug)
    }

    /// Without the feature no bug is ever planted.
    #[cfg(not(feature = "planted"))]
    #[expect(clippy::unused_self, reason = "with the feature it looks")]
    pub(crate) const fn has(self, _: ShellBug) -> bool {
        false
    }
}

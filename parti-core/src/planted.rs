//! Planted bugs: deliberate defects, to prove that the tests would find such a bug.
//!
//! **Not for production.** The feature `planted` is off by default and nothing in the workspace
//! switches it on by default. Without it no configuration can name a bug, and
//! [`Config::planted`](crate::Config) is a constant `false`, so that nothing of the hooks remains.
//! What always holds: a hook is one condition in the code it spoils.

/// Makes the list of bugs: number in the list of the verification plan, variant, word, description.
macro_rules! bugs {
    ($($number:literal $variant:ident $word:literal $what:literal;)*) => {
        /// A bug that can be planted in a [`Core`](crate::Core).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[cfg_attr(not(feature = "planted"), expect(unreachable_pub))]
        #[non_exhaustive]
        pub enum Planted {
            $(#[doc = $what] $variant,)*
        }

        #[cfg(feature = "planted")]
        impl Planted {
            /// Every bug, by number.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its number in the list of planted bugs.
            #[must_use]
            pub const fn number(self) -> u8 {
                match self {
                    $(Self::$variant => $number,)*
                }
            }

            /// Its name as one lower-case word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// What is wrong with a core that has it.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$variant => $what,)*
                }
            }

            /// Reads the word that [`Planted::as_str`] gives, or the number.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                let all = Self::ALL.iter().copied();
                let number = word.parse::<u8>().ok();
                all.filter(|bug| bug.as_str() == word || Some(bug.number()) == number).next()
            }
        }
    };
}

bugs! {
    1 GrantWithoutEvict "grant-without-evict"
        "The partitions of a silent worker are granted without ending its session in the store.";
    2 StaleEvidence "stale-evidence"
        "A session record older than the incarnation in question counts as proof of its end.";
    3 NameWithoutEpoch "name-without-epoch"
        "A worker takes in a record with its name that was made for an earlier session.";
    4 OldRecord "old-record"
        "A worker takes in a record older than the one it has.";
    5 EventBeforeLease "event-before-lease"
        "After a pause the event is handled before the lease is looked at.";
    6 EarlyAcknowledgement "early-acknowledgement"
        "A revocation is acknowledged before its callback has returned.";
    7 BlindHead "blind-head"
        "A generation is written whatever the head is by then.";
    8 BlindRebase "blind-rebase"
        "A write that lost is repeated with its old content on the new revision.";
    9 DeadlineFromAnswer "deadline-from-answer"
        "The local deadline counts from the answer to a renewal instead of its first sending.";
    10 NoDriftMargin "no-drift-margin"
        "A session is relied on for a full lease, whatever the clocks and the margin.";
    11 TimeoutIsSuccess "timeout-is-success"
        "A renewal with an unknown outcome extends the local deadline.";
    12 SilenceGoesOn "silence-goes-on"
        "A renewal does not restart the count of silence.";
    13 UnconditionalRelease "unconditional-release"
        "At shutdown the session is released, whichever process holds it by then.";
    14 DirectMove "direct-move"
        "In exclusive mode a partition is granted in the generation that takes it away.";
    15 NoRepair "no-repair"
        "A watch is believed to be whole: nothing is compared, no silent watch begun again.";
    16 AbsenceIsEnd "absence-is-end"
        "A session key that is gone, as after a time-to-live, counts as the end of the session.";
    17 UnseenLoss "unseen-loss"
        "A bucket that was made again, wiped or rolled back passes for the one that was known.";
    18 RetryRestartsLease "retry-restarts-lease"
        "Sending a renewal again moves the start of the local deadline.";
    19 StaleReadBelieved "stale-read-believed"
        "A read that shows less than is known counts as the loss of the session.";
    20 NeverYields "never-yields"
        "A leader whose head was overwritten goes on deciding and committing.";
    21 EarlyEmergency "early-emergency"
        "A worker counts as lost an eighth of an interval too early.";
    22 ForgottenCooldown "forgotten-cooldown"
        "A new leader does not wait for the cooldown of a rebalance before it.";
    23 OutageIsSilence "outage-is-silence"
        "Silence counts although the leader itself heard nothing.";
    24 SkippedRelease "skipped-release"
        "A record that both takes and gives partitions revokes nothing.";
    25 MovesOnLeave "moves-on-leave"
        "When a worker leaves, everything is planned again, not only what it had.";
    26 OneFailsAll "one-fails-all"
        "A partition that nobody may own fails the whole plan instead of being parked.";
    27 GreaterEpochIsEnd "greater-epoch-is-end"
        "A slot that was taken counts as the end of its former session, whatever the new one says.";
    28 ForgottenPredecessor "forgotten-predecessor"
        "A new leader does not see that a session names a predecessor that may hold partitions.";
    29 RetakenTooEarly "retaken-too-early"
        "A process takes its slot again without saying which of its callbacks still run.";
    30 HoldWithoutEnd "hold-without-end"
        "A slot is held for as long as the leaving worker asked, whatever the group allows.";
    31 RenewalDropsPlan "renewal-drops-plan"
        "A renewal that comes while the plan is made drops the plan, also one of a stuck worker.";
    32 UnsteadyForever "unsteady-forever"
        "A leader that is in contact only now and then goes on leading.";
    33 WindowPerLeader "window-per-leader"
        "Each leader begins the windows of a cold start and of joins again.";
    34 NoListNoLeader "no-list-no-leader"
        "A new leader whose source fails knows no list, and gives up.";
    35 VanishedHead "vanished-head"
        "A head that was removed without a tombstone still counts as the one to be followed.";
    45 IgnoredJump "ignored-jump"
        "A jump of the clock of known length does not shorten the lease.";
    46 UnreadHeadVacant "unread-head-vacant"
        "A head of another release counts as damaged: it is written over at once, from what was known.";
    47 ReadersLease "readers-lease"
        "A session of another release is judged by the lease of its observer.";
    58 MixedPieces "mixed-pieces"
        "A worker takes in the pieces it has, whether or not they are those of the manifest.";
    61 OwnMode "own-mode"
        "A worker's guards obey the mode it is configured with, whatever the group has agreed on.";
    62 OwnQuarantine "own-quarantine"
        "After a lost history a worker waits for its own lease, although others may have a longer one.";
    63 LeaderMode "leader-mode"
        "A leader grants as it is configured, although a worker of a stricter mode lives.";
    50 SuspicionIsSilence "suspicion-is-silence"
        "A worker that does not answer is evicted as one that was silent for a lease.";
    51 SuspicionInExclusive "suspicion-in-exclusive"
        "A worker that does not answer is evicted at once in an exclusive group, too.";
    52 Avalanche "avalanche"
        "A leader that reaches nobody evicts everybody.";
    53 NoReconnection "no-reconnection"
        "Workers that seem to be gone together are evicted without waiting whether they come back.";
    54 RenewedBudget "renewed-budget"
        "Evictions on a suspicion are not counted.";
    55 SilentPair "silent-pair"
        "Of two, the one that hears nothing evicts the other.";
    56 Unvouched "unvouched"
        "A leader evicts a worker that does not answer, although the others have not answered since.";
    71 IgnoredRejections "ignored-rejections"
        "The leader makes no plan for what its owner cannot process.";
    72 RejectedGoesRound "rejected-goes-round"
        "A worker says what it failed with only as long as it has it, so that it gets it again.";
    73 LateReady "late-ready"
        "That a worker was ready counts for every later preparation of the partition.";
    74 PreparationHolds "preparation-holds"
        "A preparation counts as holding the partition.";
    75 ReadyIsReleased "ready-is-released"
        "What is ready is granted in the commit that takes it away from its owner.";
    76 WithdrawnUntold "withdrawn-untold"
        "A worker does not say that what it prepared for goes elsewhere.";
    77 PinIgnored "pin-ignored"
        "The leader plans as if operators wanted no partition anywhere.";
    78 EvictIgnored "evict-ignored"
        "The leader does not end the sessions that operators want to end.";
}

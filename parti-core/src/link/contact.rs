//! This worker's renewals: what was applied, and what came back. The ground for judging others.
//!
//! A renewal that comes back through the watch proves both ways at once: the write was applied, and
//! the watch has delivered everything before it. Silence of others counts only from the time since
//! which this has been so without a gap.

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::config::Config;
use crate::model::id::{Revision, Version};
use crate::model::time::Instant;

/// When versions of `head` were first seen: whatever was written in one of them is no younger.
pub(crate) type Sightings = BTreeMap<Version, Instant>;

/// What became of this worker's renewals.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contact {
    /// Since when there has been contact without a gap.
    since: Instant,
    /// When an own renewal last came back through the watch.
    echo: Instant,
    /// Whether there was a gap before `since`, so that a grace period applies.
    after_gap: bool,
    /// Whether the store has been out of order since the last echo that counted.
    broken_off: bool,
    /// The newest renewal that has come back.
    newest: Revision,
    /// When a renewal was last found to be applied, by its answer or by what came back.
    applied_at: Instant,
    /// Since when renewals have been applied without coming back.
    unheard_since: Option<Instant>,
}

impl Contact {
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            since: now,
            echo: now,
            after_gap: false,
            broken_off: false,
            newest: Revision::ZERO,
            applied_at: now,
            unheard_since: None,
        }
    }

    /// An own renewal was applied.
    pub(super) fn on_applied(&mut self, config: &Config, now: Instant) {
        self.applied_at = now;
        if !self.is_held(config, now) {
            self.unheard_since.get_or_insert(now);
        }
    }

    /// When a renewal was last found to be applied.
    pub(super) const fn applied_at(&self) -> Instant {
        self.applied_at
    }

    /// When the acknowledgement of the next renewal is overdue.
    pub(super) fn overdue_at(&self, config: &Config) -> Instant {
        self.applied_at + config.overdue_after() + config.request_timeout()
    }

    /// Since when renewals have been applied without coming back.
    pub(super) const fn unheard_since(&self) -> Option<Instant> {
        self.unheard_since
    }

    /// Whether an own renewal came back for the first time. One that a new watch delivers once more
    /// proves nothing about the writes since.
    pub(super) fn is_news(&mut self, revision: Revision) -> bool {
        let news = revision > self.newest;
        self.newest = revision.max(self.newest);
        news
    }

    /// An own renewal came back through the watch.
    pub(super) fn on_echo(&mut self, config: &Config, now: Instant) {
        if !self.is_held(config, now) {
            self.since = now;
            self.after_gap = true;
        }
        self.echo = now;
        self.broken_off = false;
        self.unheard_since = None;
    }

    /// The store is out of order: nothing that happens now is a sign of life or death, until an own
    /// renewal comes back.
    pub(super) const fn break_off(&mut self) {
        self.broken_off = true;
    }

    /// Whether there is contact now.
    pub(super) fn is_held(&self, config: &Config, now: Instant) -> bool {
        !self.broken_off && now.since(self.echo) <= limit(config)
    }

    /// When contact counts as lost unless an echo comes.
    pub(super) fn lost_at(&self, config: &Config) -> Instant {
        self.echo + limit(config) + Duration::from_nanos(1)
    }

    /// When an own renewal last came back.
    pub(super) const fn echo(&self) -> Instant {
        self.echo
    }

    /// Since when there has been contact without a gap.
    pub(crate) const fn since(&self) -> Instant {
        self.since
    }

    /// From when on there has been contact for so long that somebody who fell silent with its
    /// beginning could be judged.
    pub(super) fn steady_from(&self, config: &Config) -> Instant {
        (self.since + config.lease()).max(self.judges_from(config))
    }

    /// From when on others may be judged.
    pub(crate) fn judges_from(&self, config: &Config) -> Instant {
        if self.after_gap {
            self.since + config.recovery_grace_period()
        } else {
            self.since
        }
    }
}

/// A renewal comes back at most this long after the one before, or contact is lost. It must stay
/// below the lease less an interval, so that a store that fails for everybody breaks this worker's
/// contact before anybody seems to have been silent for a lease.
fn limit(config: &Config) -> Duration {
    let interval = config.heartbeat_interval();
    let slack = config.lease().saturating_sub(interval * 2).min(interval);
    interval + slack / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// A store that fails for everybody once looked like the death of everybody.
    #[test]
    fn a_gap_restarts_the_clock_and_asks_for_grace() {
        let config = Config::builder("g").build().expect("coherent");
        let at = Instant::from_millis;
        let mut contact = Contact::new(at(0));
        for ms in [2_000, 4_000, 6_500] {
            contact.on_echo(&config, at(ms));
        }
        assert_eq!(
            (contact.since(), contact.judges_from(&config)),
            (at(0), at(0))
        );
        assert!(contact.is_held(&config, at(9_500)) && !contact.is_held(&config, at(9_501)));
        contact.on_echo(&config, at(30_000));
        assert_eq!(
            (contact.since(), contact.judges_from(&config)),
            (at(30_000), at(36_000))
        );
    }

    /// A new leader whose renewals fail was told of its last good one by its new watch, and planned.
    #[test]
    fn a_renewal_that_is_delivered_again_is_no_news() {
        let mut contact = Contact::new(Instant::ORIGIN);
        let news = [7, 7, 8, 7, 8, 9].map(|revision| contact.is_news(Revision::new(revision)));
        assert_eq!(news, [true, false, true, false, false, true]);
    }

    /// Contact that seems to last a moment longer than it does is judged from; one whose end is not
    /// foreseen is noticed only when something else happens.
    #[test]
    fn the_end_of_contact_is_foreseen_to_the_moment() {
        let config = Config::builder("g").build().expect("coherent");
        let mut contact = Contact::new(Instant::from_millis(1_000));
        contact.on_echo(&config, Instant::from_millis(2_000));
        assert_eq!(contact.echo(), Instant::from_millis(2_000));
        let (end, moment) = (contact.lost_at(&config), Duration::from_nanos(1));
        assert_eq!(end, Instant::from_millis(5_000) + moment);
        assert!(contact.is_held(&config, end.saturating_sub(moment)));
        assert!(!contact.is_held(&config, end));
    }

    /// A leader that hears nothing back must know since when, or it leads for ever; one that was so
    /// before must not give it up for that.
    #[test]
    fn renewals_that_do_not_come_back_are_counted_from_the_first_without_contact() {
        let config = Config::builder("g").build().expect("coherent");
        let at = Instant::from_millis;
        let mut contact = Contact::new(at(0));
        let mut unheard = Vec::new();
        for ms in [2_000, 4_000, 6_000] {
            contact.on_applied(&config, at(ms));
            unheard.push(contact.unheard_since());
        }
        // Until 3 s there is contact.
        assert_eq!(unheard, [None, Some(at(4_000)), Some(at(4_000))]);
        contact.on_echo(&config, at(6_500));
        assert_eq!(contact.unheard_since(), None);
        let overdue = config.overdue_after() + config.request_timeout();
        assert_eq!(contact.overdue_at(&config), at(6_000) + overdue);
    }

    /// While the store is out of order nothing is a sign of life or death, however fresh the echo.
    #[test]
    fn contact_that_was_broken_off_returns_with_an_echo_and_asks_for_grace() {
        let config = Config::builder("g").build().expect("coherent");
        let at = Instant::from_millis;
        let mut contact = Contact::new(at(0));
        contact.break_off();
        assert!(!contact.is_held(&config, at(1)));
        contact.on_echo(&config, at(10));
        assert!(contact.is_held(&config, at(11)));
        let times = (contact.since(), contact.judges_from(&config));
        assert_eq!(times, (at(10), at(6_010)));
    }
}

//! Degraded mode: from the trouble of a moment to a state that operators can rely on.
//!
//! Entering takes a while of trouble or a number of errors, leaving takes a while of health, so that
//! a blip is not an incident and an incident does not flicker. A lost lease is one at once. While it
//! lasts, alerts rise with its age and are repeated.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::DegradedSettings;
use crate::io::notice::{AlertLevel, DegradedReason, Notice};
use crate::model::time::Instant;

/// An alert is repeated this often.
const REPEAT: Duration = Duration::from_secs(60);

/// The health of a member.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    condition: Condition,
    /// When the last failures were, at most as many as count.
    errors: VecDeque<Instant>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Condition {
    #[default]
    Sound,
    /// There is trouble since then; not long enough yet.
    Troubled { since: Instant },
    Degraded {
        reason: DegradedReason,
        since: Instant,
        alert_at: Instant,
        /// Since when there has been no trouble.
        sound_since: Option<Instant>,
    },
}

impl Health {
    pub(crate) const fn is_degraded(&self) -> bool {
        matches!(self.condition, Condition::Degraded { .. })
    }

    /// A request failed.
    pub(crate) fn on_error(&mut self, now: Instant, settings: &DegradedSettings) {
        self.errors.push_back(now);
        while self.errors.len() > settings.errors {
            self.errors.pop_front();
        }
    }

    /// A request succeeded: errors count only in a row.
    pub(crate) fn on_success(&mut self) {
        self.errors.clear();
    }

    /// Looks at the trouble of this moment.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        settings: &DegradedSettings,
        trouble: Option<DegradedReason>,
    ) -> Vec<Notice> {
        match (&mut self.condition, trouble) {
            (Condition::Sound, None) => Vec::new(),
            (Condition::Troubled { .. }, None) => {
                self.condition = Condition::Sound;
                Vec::new()
            }
            (Condition::Sound, Some(reason)) => {
                self.condition = Condition::Troubled { since: now };
                self.enter(now, settings, reason)
            }
            (Condition::Troubled { .. }, Some(reason)) => self.enter(now, settings, reason),
            (Condition::Degraded { sound_since, .. }, None) => {
                let since = *sound_since.get_or_insert(now);
                if now < since + settings.exit {
                    return self.alert(now);
                }
                self.condition = Condition::Sound;
                alloc::vec![Notice::Recovered]
            }
            (
                Condition::Degraded {
                    reason,
                    sound_since,
                    ..
                },
                Some(trouble),
            ) => {
                *sound_since = None;
                if *reason != trouble && trouble == DegradedReason::LeaseLost {
                    *reason = trouble.clone();
                    return alloc::vec![Notice::Degraded { reason: trouble }];
                }
                self.alert(now)
            }
        }
    }

    /// When to look again.
    pub(crate) fn wake(&self, settings: &DegradedSettings) -> Option<Instant> {
        match &self.condition {
            Condition::Sound => None,
            Condition::Troubled { since } => Some(*since + settings.enter),
            Condition::Degraded {
                alert_at,
                sound_since,
                ..
            } => {
                let exit = sound_since.map(|since| since + settings.exit);
                Some(exit.map_or(*alert_at, |exit| exit.min(*alert_at)))
            }
        }
    }

    fn enter(
        &mut self,
        now: Instant,
        settings: &DegradedSettings,
        reason: DegradedReason,
    ) -> Vec<Notice> {
        let Condition::Troubled { since } = self.condition else {
            return Vec::new();
        };
        let many = self.errors.len() >= settings.errors
            && self
                .errors
                .front()
                .is_some_and(|&first| now.since(first) <= settings.window);
        let enters = reason == DegradedReason::LeaseLost || many || now >= since + settings.enter;
        if !enters {
            return Vec::new();
        }
        let alert_at = since + AlertLevel::Info.after();
        self.condition = Condition::Degraded {
            reason: reason.clone(),
            since,
            alert_at: alert_at.max(now + Duration::from_millis(1)),
            sound_since: None,
        };
        alloc::vec![Notice::Degraded { reason }]
    }

    fn alert(&mut self, now: Instant) -> Vec<Notice> {
        let Condition::Degraded {
            reason,
            since,
            alert_at,
            ..
        } = &mut self.condition
        else {
            return Vec::new();
        };
        let lasting = now.since(*since);
        let Some(level) = AlertLevel::of(lasting).filter(|_| now >= *alert_at) else {
            return Vec::new();
        };
        let rises = level
            .next()
            .map(|next| *since + next.after())
            .filter(|&at| at > now);
        *alert_at = rises.map_or(now + REPEAT, |at| at.min(now + REPEAT));
        alloc::vec![Notice::DegradedAlert {
            level,
            reason: reason.clone(),
            lasting
        }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DegradedPreset;
    use alloc::string::String;

    const SILENT: DegradedReason = DegradedReason::WatchSilent;

    /// What is told at each of these seconds, with trouble or without.
    fn told(preset: DegradedPreset, looks: &[(u64, bool)]) -> Vec<String> {
        let (mut health, mut told) = (Health::default(), Vec::new());
        for &(second, trouble) in looks {
            let now = Instant::from_millis(second * 1_000);
            let trouble = trouble.then_some(SILENT);
            for notice in health.look(now, &preset.settings(), trouble) {
                let word = if let Notice::DegradedAlert { level, .. } = notice {
                    alloc::format!("{level:?}")
                } else if notice == Notice::Recovered {
                    "recovered".into()
                } else {
                    assert!(matches!(notice, Notice::Degraded { .. }), "{notice:?}");
                    "degraded".into()
                };
                told.push(alloc::format!("{second} {word}"));
            }
        }
        told
    }

    /// Even a conservative setting flapped where separate blips added up.
    #[test]
    fn blips_are_not_an_incident_and_an_incident_does_not_flicker() {
        let blips = [
            (0, true),
            (9, true),
            (9, false),
            (10, true),
            (19, true),
            (19, false),
        ];
        assert_eq!(told(DegradedPreset::Balanced, &blips), [""; 0]);
        let incident = [
            (0, true),
            (10, true),
            (12, false),
            (13, true),
            (14, false),
            (18, false),
        ];
        assert_eq!(told(DegradedPreset::Balanced, &incident), ["10 degraded"]);
        let over = [(0, true), (10, true), (12, false), (16, false), (17, false)];
        assert_eq!(
            told(DegradedPreset::Balanced, &over),
            ["10 degraded", "17 recovered"]
        );
    }

    /// The presets differ in patience by the roadmap's numbers.
    #[test]
    fn each_preset_enters_and_leaves_at_its_own_time() {
        let cases = [
            (DegradedPreset::Conservative, 30, 10),
            (DegradedPreset::Balanced, 10, 5),
            (DegradedPreset::Aggressive, 5, 3),
        ];
        for (preset, enter, exit) in cases {
            let looks = [
                (0, true),
                (enter - 1, true),
                (enter, true),
                (enter + 1, false),
            ];
            let looks = [
                &looks[..],
                &[(enter + exit, false), (enter + exit + 1, false)],
            ]
            .concat();
            let expected = [
                alloc::format!("{enter} degraded"),
                alloc::format!("{} recovered", enter + exit + 1),
            ];
            let mut told = told(preset, &looks);
            told.retain(|line| !line.ends_with("Info"));
            assert_eq!(told, expected);
        }
    }

    /// An operator must hear of a lasting incident again, and louder.
    #[test]
    fn alerts_rise_with_age_and_are_repeated_each_minute() {
        let looks: Vec<(u64, bool)> = (0..=720).map(|second| (second, true)).collect();
        let told = told(DegradedPreset::Balanced, &looks);
        let expected = [
            "10 degraded",
            "30 Info",
            "90 Info",
            "120 Warn",
            "180 Warn",
            "240 Warn",
            "300 Error",
            "360 Error",
            "420 Error",
            "480 Error",
            "540 Error",
            "600 Critical",
            "660 Critical",
            "720 Critical",
        ];
        assert_eq!(told, expected);
    }

    /// A burst of failures is trouble enough, a success in between is not a burst.
    #[test]
    fn errors_in_a_row_enter_at_once_and_a_success_forgets_them() {
        let settings = DegradedPreset::Balanced.settings();
        let at = |ms| Instant::from_millis(ms);
        let mut health = Health::default();
        for ms in [0, 100, 200, 300] {
            health.on_error(at(ms), &settings);
        }
        assert_eq!(health.look(at(300), &settings, Some(SILENT)), []);
        health.on_success();
        health.on_error(at(400), &settings);
        assert_eq!(health.look(at(400), &settings, Some(SILENT)), []);
        for ms in [500, 600, 700, 800] {
            health.on_error(at(ms), &settings);
        }
        assert_eq!(health.look(at(800), &settings, Some(SILENT)).len(), 1);
    }

    /// Without a lease nothing may be held: that is an incident whatever the patience.
    #[test]
    fn a_lost_lease_is_degraded_at_once() {
        let settings = DegradedPreset::Conservative.settings();
        let lost = DegradedReason::LeaseLost;
        let told = Health::default().look(Instant::ORIGIN, &settings, Some(lost.clone()));
        assert_eq!(told, [Notice::Degraded { reason: lost }]);
    }
}

//! Which workers may own which partitions: rules on labels, such as zones, hard and soft.
//!
//! A rule describes partitions by the beginning of their key and about workers by a label, so
//! neither list has to know the other. What always holds: a partition is never given to a worker
//! that breaks one of its hard rules; if nobody may own it, it alone has no owner, and the plan
//! names it.

mod classes;
mod flow;
mod local;
mod plan;

use core::time::Duration;

use parti_core::{PartitionKey, WorkerInfo};
use xxhash_rust::xxh3::xxh3_64;

pub(super) use plan::plan;

/// As many rules as there are bits in a mask.
pub(crate) const MAX_RULES: usize = 64;

/// Rules: partitions whose key begins so need, or prefer, workers with that label.
///
/// All rules that match a partition apply together. No rule: any worker will do.
///
/// A partition whose hard rules nobody meets has no owner until somebody does; everything else is
/// placed as if it were not there. A partition whose soft rules nobody meets waits for the grace of
/// the rule, and is then given to whom the other rules allow. It goes back as soon as somebody meets
/// them. Its owner keeps it meanwhile if it lives and may.
///
/// ```
/// use core::time::Duration;
/// use parti_strategy::{Eligibility, Sticky};
/// let rules = Eligibility::new()
///     .require(["orders", "eu"], "region", ["eu"])
///     .prefer(["orders", "eu"], "zone", ["eu-1", "eu-2"], Duration::from_secs(60))
///     .require(["gpu"], "hardware", ["gpu"]);
/// let strategy = Sticky::new().with_eligibility(rules);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Eligibility {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rule {
    /// The encoded first parts of a key: parts are length-prefixed, so that a key begins with these
    /// parts exactly when its text begins with this text.
    prefix: String,
    label: String,
    values: Vec<String>,
    strength: Strength,
}

/// How strictly a rule is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Strength {
    /// Never broken.
    Hard,
    /// Broken when nobody has met it for this long.
    Soft(Duration),
}

impl Eligibility {
    /// No rules.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a hard rule: partitions whose key begins with these parts need a worker whose label has
    /// one of these values. No parts at all match every partition.
    ///
    /// Up to 64 rules, soft ones included; planning with more is refused.
    #[must_use]
    pub fn require<P, V>(self, prefix: P, label: &str, values: V) -> Self
    where
        P: IntoIterator,
        P::Item: AsRef<str>,
        V: IntoIterator,
        V::Item: AsRef<str>,
    {
        self.with(prefix, label, values, Strength::Hard)
    }

    /// Adds a soft rule: partitions whose key begins with these parts wait for a worker whose label
    /// has one of these values, but only for `grace`; then any worker that the other rules allow will do.
    /// A grace of zero does not wait.
    ///
    /// The grace is counted from when the group first had nobody. That is stored, so that a change of
    /// leader does not begin it again; it is measured with the wall clocks of the leaders, so it is as
    /// exact as those agree. Several soft rules that match one partition are given up in the order of
    /// their graces.
    #[must_use]
    pub fn prefer<P, V>(self, prefix: P, label: &str, values: V, grace: Duration) -> Self
    where
        P: IntoIterator,
        P::Item: AsRef<str>,
        V: IntoIterator,
        V::Item: AsRef<str>,
    {
        self.with(prefix, label, values, Strength::Soft(grace))
    }

    fn with<P, V>(mut self, prefix: P, label: &str, values: V, strength: Strength) -> Self
    where
        P: IntoIterator,
        P::Item: AsRef<str>,
        V: IntoIterator,
        V::Item: AsRef<str>,
    {
        let mut encoded = String::new();
        for part in prefix {
            let part = part.as_ref();
            encoded += &format!("{}:{part}", part.len());
        }
        let mut values: Vec<_> = values.into_iter().map(|v| v.as_ref().to_owned()).collect();
        values.sort();
        values.dedup();
        self.rules.push(Rule {
            prefix: encoded,
            label: label.to_owned(),
            values,
            strength,
        });
        // The order in which rules are given means nothing, so it must not show in the identity.
        self.rules.sort();
        self.rules.dedup();
        self
    }

    /// Whether there are no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether this worker may own this partition, by the hard rules.
    #[must_use]
    pub fn allows(&self, key: &PartitionKey, worker: &WorkerInfo) -> bool {
        let hard = self.rules.iter().filter(|rule| rule.is_hard());
        hard.filter(|rule| rule.matches(key))
            .all(|rule| rule.admits(worker))
    }

    /// Whether this worker may own this partition and all its soft rules are met as well.
    #[must_use]
    pub fn prefers(&self, key: &PartitionKey, worker: &WorkerInfo) -> bool {
        let mut matching = self.rules.iter().filter(|rule| rule.matches(key));
        matching.all(|rule| rule.admits(worker))
    }

    /// A number that changes with the rules.
    pub(crate) fn digest(&self) -> u64 {
        digest(&self.rules)
    }

    /// The rules that match a partition, as bits.
    fn mask(&self, key: &PartitionKey) -> u64 {
        bits(&self.rules, |rule| rule.matches(key))
    }

    /// The rules a worker satisfies, as bits.
    fn satisfied(&self, worker: &WorkerInfo) -> u64 {
        bits(&self.rules, |rule| rule.admits(worker))
    }

    /// What is asked for after waiting in vain, strictest first: from when on, and the rules as bits.
    fn levels(&self, mask: u64) -> Vec<(Duration, u64)> {
        let graces = self.of(mask).filter_map(Rule::grace);
        let mut graces: Vec<Duration> = graces.collect();
        graces.sort_unstable();
        graces.dedup();
        let still_asked = |waited: Duration| {
            let asks = |rule: &Rule| rule.grace().is_none_or(|grace| grace > waited);
            (waited, mask & bits(&self.rules, asks))
        };
        let strictest = (Duration::ZERO, mask);
        core::iter::once(strictest)
            .chain(graces.into_iter().map(still_asked))
            .collect()
    }

    /// The number of what the rules of a mask ask for.
    fn need(&self, mask: u64) -> u64 {
        digest(self.of(mask))
    }

    /// What the rules of a mask ask for, in words.
    fn needs(&self, mask: u64) -> String {
        let words: Vec<_> = self
            .of(mask)
            .map(|rule| format!("label {:?} {}", rule.label, rule.values.join(" or ")))
            .collect();
        match words.is_empty() {
            true => "any worker that has capacity".to_owned(),
            false => format!("a worker with {}", words.join(" and ")),
        }
    }

    /// The rules of a mask.
    fn of(&self, mask: u64) -> impl Iterator<Item = &Rule> + Clone {
        let rules = (0..).zip(&self.rules);
        rules
            .filter(move |&(bit, _): &(u32, _)| mask >> bit & 1 == 1)
            .map(|(_, rule)| rule)
    }
}

impl Rule {
    fn matches(&self, key: &PartitionKey) -> bool {
        key.encoded().starts_with(&self.prefix)
    }

    fn admits(&self, worker: &WorkerInfo) -> bool {
        worker
            .labels
            .get(&self.label)
            .is_some_and(|value| self.values.binary_search(value).is_ok())
    }

    fn is_hard(&self) -> bool {
        self.grace().is_none()
    }

    fn grace(&self) -> Option<Duration> {
        match self.strength {
            Strength::Hard => None,
            Strength::Soft(grace) => Some(grace),
        }
    }
}

/// The rules for which something holds, as bits.
fn bits(rules: &[Rule], holds: impl Fn(&Rule) -> bool) -> u64 {
    let chosen = rules.iter().enumerate().filter(|(_, rule)| holds(rule));
    chosen.fold(0, |mask, (bit, _)| mask | 1 << bit)
}

/// A number that is another one for other rules.
fn digest<'a>(rules: impl IntoIterator<Item = &'a Rule>) -> u64 {
    let mut text = String::new();
    for rule in rules {
        for field in [&rule.prefix, &rule.label].into_iter().chain(&rule.values) {
            text += &format!("{}:{field}", field.len());
        }
        if let Some(grace) = rule.grace() {
            text += &format!("~{}", grace.as_nanos());
        }
        text.push(';');
    }
    xxh3_64(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use parti_core::WorkerId;

    /// A prefix of the text that is no prefix of the parts would match other partitions.
    #[test]
    fn rules_match_whole_parts() {
        let rules = Eligibility::new().require(["eu", "a"], "zone", ["x", "y"]);
        let mut worker = WorkerInfo::new(WorkerId::new("w").expect("valid"));
        worker.labels.insert("zone".to_owned(), "z".to_owned());
        let allows =
            |parts: &[&str]| rules.allows(&PartitionKey::new(parts).expect("valid"), &worker);
        assert!(!allows(&["eu", "a"]));
        assert!(!allows(&["eu", "a", "b"]));
        assert!(allows(&["eu"]));
        assert!(allows(&["eu", "ab"]));
        assert!(allows(&["eua"]));
        worker.labels.insert("zone".to_owned(), "y".to_owned());
        assert!(rules.allows(&PartitionKey::new(["eu", "a"]).expect("valid"), &worker));
    }

    /// Two leaders that list the same rules in another order must not look like different ones.
    #[test]
    fn the_order_of_rules_means_nothing() {
        let one = Eligibility::new()
            .require(["a"], "x", ["1"])
            .require(["b"], "y", ["2", "3"]);
        let two = Eligibility::new()
            .require(["b"], "y", ["3", "2"])
            .require(["a"], "x", ["1"]);
        assert_eq!((&one, one.digest()), (&two, two.digest()));
        assert_ne!(
            one.digest(),
            Eligibility::new().require(["a"], "x", ["1"]).digest()
        );
    }
}

//! Which workers may own which partitions: hard rules on labels, such as zones.
//!
//! A rule speaks about partitions by the beginning of their key and about workers by a label, so
//! neither list has to know the other. What always holds: a partition is never given to a worker
//! that breaks one of its rules; if nobody may own it, the plan is refused and names it.

mod classes;
mod flow;
mod local;
mod plan;

use parti_core::{PartitionKey, WorkerInfo};
use xxhash_rust::xxh3::xxh3_64;

pub(crate) use plan::plan;

/// As many rules as there are bits in a mask.
pub(crate) const MAX_RULES: usize = 64;

/// Hard rules: partitions whose key begins so need workers with that label.
///
/// All rules that match a partition apply together. No rule: any worker will do.
///
/// ```
/// use parti_strategy::{Eligibility, Sticky};
/// let rules = Eligibility::new()
///     .require(["orders", "eu"], "zone", ["eu-1", "eu-2"])
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
}

impl Eligibility {
    /// No rules.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule: partitions whose key begins with these parts need a worker whose label has one
    /// of these values. No parts at all match every partition.
    ///
    /// Up to 64 rules; planning with more is refused.
    #[must_use]
    pub fn require<P, V>(mut self, prefix: P, label: &str, values: V) -> Self
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

    /// Whether this worker may own this partition.
    #[must_use]
    pub fn allows(&self, key: &PartitionKey, worker: &WorkerInfo) -> bool {
        let mut matching = self.rules.iter().filter(|rule| rule.matches(key));
        matching.all(|rule| rule.admits(worker))
    }

    /// A number that changes with the rules.
    pub(crate) fn digest(&self) -> u64 {
        let mut text = String::new();
        for rule in &self.rules {
            for field in [&rule.prefix, &rule.label].into_iter().chain(&rule.values) {
                text += &format!("{}:{field}", field.len());
            }
            text.push(';');
        }
        xxh3_64(text.as_bytes())
    }

    /// The rules that match a partition, as bits.
    fn mask(&self, key: &PartitionKey) -> u64 {
        let matching = self
            .rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.matches(key));
        matching.fold(0, |mask, (bit, _)| mask | 1 << bit)
    }

    /// The rules a worker satisfies, as bits.
    fn satisfied(&self, worker: &WorkerInfo) -> u64 {
        let admitting = self
            .rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.admits(worker));
        admitting.fold(0, |mask, (bit, _)| mask | 1 << bit)
    }

    /// What the rules of a mask ask for, in words.
    fn needs(&self, mask: u64) -> String {
        let chosen = self
            .rules
            .iter()
            .enumerate()
            .filter(|(bit, _)| mask >> bit & 1 == 1);
        let words: Vec<_> = chosen
            .map(|(_, rule)| {
                format!(
                    "a worker whose label {:?} is {}",
                    rule.label,
                    rule.values.join(" or ")
                )
            })
            .collect();
        words.join(" and ")
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use parti_core::WorkerId;

    /// A prefix of the text that is no prefix of the parts would catch foreign partitions.
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

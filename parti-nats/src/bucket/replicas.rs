//! Whether the leader of the stream still hears the other replicas.
//!
//! It is separate because a leader that is cut off does not know it: until it gives up, ten seconds and
//! more, it answers with facts of before, while the others have elected another one and go on. Compared
//! with what is known from those, such facts look like a bucket that was rolled back.

use std::time::Duration;

use serde::Deserialize;

/// A leader that has not heard most of the replicas for so long may have a successor. Leaders send
/// heartbeats every second, and nobody else is elected before four seconds without one.
const ALONE: Duration = Duration::from_secs(3);

/// What the leader says of the other replicas. A stream with one has none, or says nothing.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Replicas {
    #[serde(default)]
    replicas: Vec<Replica>,
}

#[derive(Clone, Debug, Deserialize)]
struct Replica {
    /// For how many nanoseconds the leader has not heard it; 0 if never, as a leader that was just elected.
    #[serde(default)]
    active: u64,
}

impl Replicas {
    /// For how long the leader has heard no majority, if that is too long for its word to count.
    pub(crate) fn alone(&self) -> Option<Duration> {
        let mut silent: Vec<u64> = self.replicas.iter().map(|other| other.active).collect();
        silent.sort_unstable();
        // Of three, one other makes a majority: the one that was heard last.
        let needed = silent.len().div_ceil(2).checked_sub(1)?;
        let since = silent.get(needed).copied().map(Duration::from_nanos)?;
        (since >= ALONE).then_some(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Facts of a leader that was cut off ended the work of healthy groups as if their bucket were lost.
    #[test]
    fn a_leader_counts_as_alone_when_it_has_heard_no_majority_for_long() {
        let alone = |seconds: &[u64]| {
            let others = seconds.iter().map(|s| s * 1_000_000_000);
            let others = others.map(|active| format!(r#"{{"name":"s","active":{active}}}"#));
            let others: Vec<String> = others.collect();
            let text = format!(r#"{{"leader":"a","replicas":[{}]}}"#, others.join(","));
            let replicas: Replicas = serde_json::from_str(&text).expect("as servers write it");
            replicas.alone().map(|since| since.as_secs())
        };
        let cases: [(&[u64], Option<u64>); 9] = [
            (&[], None),
            (&[1], None),
            (&[9], Some(9)),
            (&[1, 9], None),
            (&[5, 9], Some(5)),
            (&[0, 0], None),
            (&[1, 1, 9, 9], None),
            (&[1, 4, 9, 9], Some(4)),
            (&[3, 3], Some(3)),
        ];
        for (others, expected) in cases {
            assert_eq!(alone(others), expected, "{others:?}");
        }
        let single: Replicas = serde_json::from_str(r#"{"leader":"a"}"#).expect("one replica");
        assert_eq!(single.alone(), None);
    }
}

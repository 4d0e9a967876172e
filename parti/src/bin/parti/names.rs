//! Names that people type: the worker or partition that is meant, or the names nearest to it.
//!
//! It is separate because every command that takes a name answers a wrong one alike.

use std::fmt::Display;

use parti::directory::View;
use parti_core::{PartitionKey, WorkerId};

use crate::failure::{Exit, Failure};

/// How many names are proposed.
const PROPOSED: usize = 5;

/// The worker with this ID, of those there are.
pub(crate) fn worker(view: &View, name: &str) -> Result<WorkerId, Failure> {
    let ids: Vec<&WorkerId> = view.workers.iter().map(|worker| &worker.worker).collect();
    let found = ids.iter().find(|id| id.as_str() == name);
    found
        .map(|&id| id.clone())
        .ok_or_else(|| not_there("worker", name, &ids))
}

/// The partition that is meant by its parts joined with `/`, or by its stored form.
pub(crate) fn partition(view: &View, name: &str) -> Result<PartitionKey, Failure> {
    let keys: Vec<&PartitionKey> = view.partitions.iter().map(|of| &of.partition).collect();
    let is_meant = |key: &&&PartitionKey| key.to_string() == name || key.encoded() == name;
    let meant: Vec<_> = keys.iter().filter(is_meant).collect();
    match &meant[..] {
        [key] => Ok((**key).clone()),
        [] => Err(not_there("partition", name, &keys)),
        several => {
            let forms: Vec<_> = several.iter().map(|key| key.encoded()).collect();
            let message = format!(
                "{name:?} is the name of {} partitions; name one as {}",
                several.len(),
                forms.join(" or ")
            );
            Err(Failure::new(Exit::Usage, message))
        }
    }
}

fn not_there<T: Display>(what: &str, name: &str, known: &[T]) -> Failure {
    let known = match known {
        [] => format!("the group has no {what} yet"),
        known => format!("nearest: {}", nearest(name, known)),
    };
    let message = format!("there is no {what} {name:?}; {known}");
    Failure::new(Exit::NotThere, message)
}

/// The names nearest to one, nearest first; how many more there are is said.
pub(crate) fn nearest<T: Display>(name: &str, known: &[T]) -> String {
    let mut names: Vec<(usize, String)> = known
        .iter()
        .map(|known| known.to_string())
        .map(|known| (distance(name, &known), known))
        .collect();
    names.sort();
    let more = names.len().saturating_sub(PROPOSED);
    let first = names.into_iter().take(PROPOSED).map(|(_, name)| name);
    let first = first.collect::<Vec<_>>().join(", ");
    match more {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// How many letters have to be changed, added or left out. With nothing to compare all are alike.
fn distance(a: &str, b: &str) -> usize {
    if a.is_empty() {
        return 0;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At 3 a.m. a typing error is answered with the name that was meant.
    #[test]
    fn the_name_that_was_meant_comes_first() {
        let known = ["worker-1", "worker-12", "orders-1"];
        assert_eq!(nearest("wroker-1", &known), "worker-1, worker-12, orders-1");
        let many: Vec<String> = (0..9).map(|n| format!("w{n}")).collect();
        assert_eq!(nearest("", &many), "w0, w1, w2, w3, w4 and 4 more");
        assert_eq!(distance("abc", "axc"), 1);
        assert_eq!(distance("abc", "ac"), 1);
        assert_eq!(distance("ac", "abc"), 1);
    }
}

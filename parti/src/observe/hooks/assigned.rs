//! The partitions a worker has, as a list that shares with the lists before what did not change.
//!
//! Separate because it is a data structure. Every change of an assignment is told with the whole of it,
//! and a thousand of them may wait for a slow hook: each costs the pieces that changed and a pointer for
//! each that did not. What always holds: keys are in order, each once, and no piece is empty.

use std::fmt;
use std::sync::Arc;

use parti_core::PartitionKey;

/// The most keys of a piece.
const MOST: usize = 512;

type Piece = Arc<Vec<PartitionKey>>;

/// The partitions assigned to a worker at a moment, by key. Cheap to clone and to keep.
#[derive(Clone, Default)]
pub struct AssignedKeys {
    pieces: Arc<[Piece]>,
    len: usize,
}

impl AssignedKeys {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether a partition is one of them.
    #[must_use]
    pub fn contains(&self, key: &PartitionKey) -> bool {
        let piece = self.pieces.get(place(&self.pieces, key));
        piece.is_some_and(|piece| piece.binary_search(key).is_ok())
    }

    /// Each of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &PartitionKey> {
        self.pieces.iter().flat_map(|piece| piece.iter())
    }
}

impl PartialEq for AssignedKeys {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl Eq for AssignedKeys {}

impl fmt::Debug for AssignedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl FromIterator<PartitionKey> for AssignedKeys {
    fn from_iter<I: IntoIterator<Item = PartitionKey>>(keys: I) -> Self {
        let mut all = Keys::default();
        keys.into_iter().for_each(|key| all.insert(key));
        all.snapshot()
    }
}

/// The list that is kept up to date, from which [`AssignedKeys`] are taken.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    pieces: Vec<Piece>,
    len: usize,
}

impl Keys {
    pub(crate) fn insert(&mut self, key: PartitionKey) {
        let index = place(&self.pieces, &key);
        let Some(piece) = self.pieces.get_mut(index) else {
            self.pieces.push(Arc::new(Vec::from([key])));
            self.len += 1;
            return;
        };
        let Err(position) = piece.binary_search(&key) else {
            return;
        };
        let keys = Arc::make_mut(piece);
        keys.insert(position, key);
        self.len += 1;
        if keys.len() > MOST {
            let rest = keys.split_off(MOST / 2);
            self.pieces.insert(index + 1, Arc::new(rest));
        }
    }

    pub(crate) fn remove(&mut self, key: &PartitionKey) {
        let index = place(&self.pieces, key);
        let Some(piece) = self.pieces.get_mut(index) else {
            return;
        };
        let Ok(position) = piece.binary_search(key) else {
            return;
        };
        let keys = Arc::make_mut(piece);
        keys.remove(position);
        self.len -= 1;
        let left = keys.len();
        let next = self.pieces.get(index + 1).map(|next| next.len());
        if left == 0 {
            self.pieces.remove(index);
        } else if next.is_some_and(|next| left + next <= MOST / 2) {
            // What shrank must not stay in many small pieces.
            let next = self.pieces.remove(index + 1);
            Arc::make_mut(&mut self.pieces[index]).extend(next.iter().cloned());
        }
    }

    pub(crate) fn snapshot(&self) -> AssignedKeys {
        AssignedKeys {
            pieces: self.pieces.as_slice().into(),
            len: self.len,
        }
    }
}

/// The piece a key is in or belongs into.
fn place(pieces: &[Piece], key: &PartitionKey) -> usize {
    let begins_after = |piece: &Piece| piece.first().is_none_or(|first| first <= key);
    pieces.partition_point(begins_after).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn key(number: u64) -> PartitionKey {
        PartitionKey::new(["orders", &number.to_string()]).expect("valid key")
    }

    /// A thousand changes of a worker with 100 000 partitions that wait for a slow hook took more than
    /// a gigabyte: each had a list of its own.
    #[test]
    fn changes_that_wait_share_what_did_not_change() {
        let (all, waiting) = (100_000, 1024);
        let mut keys = Keys::default();
        (0..all).for_each(|number| keys.insert(key(number)));
        let mut lists = Vec::new();
        for change in 0..waiting {
            keys.remove(&key(change * 97));
            lists.push(keys.snapshot());
        }
        // Every piece once, however many lists it is in.
        let pieces = lists.iter().flat_map(|list| list.pieces.iter());
        let sizes: BTreeMap<_, _> = pieces.map(|p| (Arc::as_ptr(p), p.len())).collect();
        let kept: usize = sizes.values().sum();
        assert!(kept < 6 * 100_000, "{kept} keys for {waiting} lists");
        let pointers: usize = lists.iter().map(|list| list.pieces.len()).sum();
        assert!(pointers < 600 * 1024, "{pointers}");
        let lens: Vec<_> = lists.iter().map(AssignedKeys::len).collect();
        assert!(lens.windows(2).all(|pair| pair[1] == pair[0] - 1));
    }

    /// A list that forgets a key, or has it twice, tells a program to stop or to begin work it should
    /// not.
    #[test]
    fn it_is_the_set_that_was_made_whatever_the_order() {
        let (mut keys, mut model) = (Keys::default(), BTreeSet::new());
        let mut state = 1_u64;
        for step in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005) + 1;
            let key = key((state >> 33) % 3000);
            // It grows, shrinks to little, and grows again.
            let grows = (step / 5000) % 2 == 0;
            if (state >> 40).is_multiple_of(4) || !grows {
                keys.remove(&key);
                model.remove(&key);
            } else {
                keys.insert(key.clone());
                model.insert(key);
            }
        }
        let list = keys.snapshot();
        assert!(list.iter().eq(model.iter()) && list.len() == model.len());
        assert!((0..3000).all(|n| list.contains(&key(n)) == model.contains(&key(n))));
        assert!(list.pieces.iter().all(|p| !p.is_empty() && p.len() <= MOST));
        assert_eq!(model.into_iter().collect::<AssignedKeys>(), list);
        assert!(!AssignedKeys::default().contains(&key(0)) && AssignedKeys::default().is_empty());
    }
}

//! Which partitions one reader reads together, and which have one of their own.
//!
//! It is separate because it is pure, and because speed hangs on it: a reader for each partition makes
//! the server look through the stream once for each. What always holds: every partition that has room is
//! in exactly one reader.

use std::collections::BTreeSet;

/// A partition that is further behind than this reads alone until it has caught up.
pub(super) const FAR: u64 = 5_000;
/// A partition that reads alone joins the others when it is this near.
const NEAR: u64 = 500;
/// More readers than this are not worth it: then all read together, from where the last one is.
pub(super) const MOST_ALONE: usize = 16;

/// A partition as the hub sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) partition: u32,
    /// Up to where it was delivered.
    pub(super) delivered: u64,
    /// Whether its queue was full while it read with the others.
    pub(super) overflowed: bool,
    /// Whether half of its queue is free.
    pub(super) has_room: bool,
    /// Whether it reads alone now.
    pub(super) alone: bool,
}

/// Who reads how.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Grouping {
    pub(super) together: BTreeSet<u32>,
    pub(super) alone: BTreeSet<u32>,
}

/// Decides for all partitions of a worker; `front` is where the shared reader is, if there is one.
pub(super) fn group(views: &[View], front: Option<u64>) -> Grouping {
    let furthest = views.iter().map(|view| view.delivered).max();
    let front = front.or(furthest).unwrap_or_default();
    let mut grouping = Grouping::default();
    for view in views {
        let behind = front.saturating_sub(view.delivered);
        let is_alone = match (view.alone, view.overflowed) {
            // Slow ones must have both caught up and emptied their queue.
            (true, true) => behind > NEAR || !view.has_room,
            (true, false) => behind > NEAR,
            (false, true) => true,
            (false, false) => behind > FAR,
        };
        match (is_alone, view.overflowed && !view.has_room && !view.alone) {
            // It reads on when there is room.
            (_, true) => {}
            (true, false) => drop(grouping.alone.insert(view.partition)),
            (false, false) => drop(grouping.together.insert(view.partition)),
        }
    }
    if grouping.alone.len() > MOST_ALONE {
        let slow: BTreeSet<u32> = views
            .iter()
            .filter(|view| view.overflowed)
            .map(|view| view.partition)
            .collect();
        let late = grouping.alone.difference(&slow).copied();
        grouping.together.extend(late.collect::<Vec<_>>());
        grouping.alone.retain(|partition| slow.contains(partition));
    }
    grouping
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(partition: u32, delivered: u64) -> View {
        View {
            partition,
            delivered,
            overflowed: false,
            has_room: true,
            alone: false,
        }
    }

    fn sets(grouping: &Grouping) -> (Vec<u32>, Vec<u32>) {
        let list = |set: &BTreeSet<u32>| set.iter().copied().collect();
        (list(&grouping.together), list(&grouping.alone))
    }

    /// One partition that is far behind would have all others read again what they have.
    #[test]
    fn those_far_behind_read_alone_until_they_are_near() {
        let mut views = [view(0, 100_000), view(1, 99_000), view(2, 10)];
        assert_eq!(sets(&group(&views, None)), (vec![0, 1], vec![2]));
        views[2] = View {
            alone: true,
            ..view(2, 100_000 - NEAR - 1)
        };
        assert_eq!(sets(&group(&views, Some(100_000))), (vec![0, 1], vec![2]));
        views[2].delivered += 1;
        assert_eq!(sets(&group(&views, Some(100_000))), (vec![0, 1, 2], vec![]));
    }

    /// A slow partition must neither hold up the others nor be forgotten.
    #[test]
    fn a_full_one_waits_then_reads_alone_then_joins() {
        let full = View {
            overflowed: true,
            has_room: false,
            ..view(1, 50)
        };
        assert_eq!(
            sets(&group(&[view(0, 60), full], Some(60))),
            (vec![0], vec![])
        );
        let drained = View {
            has_room: true,
            ..full
        };
        assert_eq!(
            sets(&group(&[view(0, 60), drained], Some(60))),
            (vec![0], vec![1])
        );
        let busy = View {
            alone: true,
            ..full
        };
        assert_eq!(
            sets(&group(&[view(0, 60), busy], Some(60))),
            (vec![0], vec![1])
        );
        let caught_up = View {
            alone: true,
            ..drained
        };
        assert_eq!(
            sets(&group(&[view(0, 60), caught_up], Some(60))),
            (vec![0, 1], vec![])
        );
    }

    /// A reader for each of a thousand partitions is what the shared one is there to avoid.
    #[test]
    fn many_that_are_behind_read_together_after_all() {
        let late = (0..100).map(|partition| view(partition, u64::from(partition)));
        let views: Vec<View> = late.chain([view(100, 1_000_000)]).collect();
        let grouping = group(&views, None);
        assert_eq!((grouping.together.len(), grouping.alone.len()), (101, 0));
    }
}

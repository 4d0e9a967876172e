//! Sorting by hash: which position of a list comes at which rank.
//!
//! Hashes are spread evenly, so scattering them into as many buckets as there are items, by their
//! leading bits, leaves one or two in each. What always holds: the order is total, by hash and then
//! by key, so it does not depend on the order of the list.

use alloc::vec;
use alloc::vec::Vec;

use crate::model::partition::Partition;

/// A bucket this long is sorted by comparison; hashes that fill one are no accident.
const LONG_BUCKET: usize = 24;

/// Positions in a list with their hashes, in canonical order.
pub(super) fn canonical(hashes: &[u64], list: &[Partition]) -> Vec<(u64, u32)> {
    let bits = hashes.len().max(2).ilog2();
    let bucket_of = |hash: u64| (hash >> (64 - bits)) as usize;
    let mut starts = vec![0_u32; (1 << bits) + 1];
    for &hash in hashes {
        starts[bucket_of(hash) + 1] += 1;
    }
    for bucket in 1..starts.len() {
        starts[bucket] += starts[bucket - 1];
    }
    let mut order = vec![(0, 0); hashes.len()];
    for (position, &hash) in (0_u32..).zip(hashes) {
        let slot = &mut starts[bucket_of(hash)];
        order[*slot as usize] = (hash, position);
        *slot += 1;
    }
    // After scattering, the start of a bucket has become its end.
    let mut start = 0;
    for &end in &starts[..1 << bits] {
        sort_bucket(&mut order[start..end as usize], list);
        start = end as usize;
    }
    order
}

fn sort_bucket(bucket: &mut [(u64, u32)], list: &[Partition]) {
    let comes_before = |left: &(u64, u32), right: &(u64, u32)| {
        let key = |entry: &(u64, u32)| &list[entry.1 as usize].key;
        left.0.cmp(&right.0).then_with(|| key(left).cmp(key(right)))
    };
    if bucket.len() > LONG_BUCKET {
        return bucket.sort_unstable_by(comes_before);
    }
    for end in 1..bucket.len() {
        let mut at = end;
        while at > 0 && comes_before(&bucket[at], &bucket[at - 1]).is_lt() {
            bucket.swap(at, at - 1);
            at -= 1;
        }
    }
}

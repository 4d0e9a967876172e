//! The hash ring: virtual nodes of all workers in ascending order of position.
//!
//! Bit-exact with the Go library: node `j` of worker `w` sits at `xxh3(le64(j), seed = xxh3(w))`,
//! and a partition belongs to the first node at or after its hash, wrapping round. Because a
//! partition table is in hash order too, placing all of it is one linear merge. What always holds:
//! points are ordered by (position, worker index), so equal positions have one winner.

use parti_core::{PlanError, WorkerInfo, WorkerTable};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// More points than this are thinned out: they would cost memory and time and make nothing more
/// even. A ring of as many takes 128 MiB while it is sorted.
const MAX_POINTS: u64 = 1 << 22;
/// A bucket this long is sorted by comparison; hashes that fill one are no accident.
const LONG_BUCKET: usize = 24;

/// What a ring looks like apart from its workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RingShape {
    /// How many points a worker has.
    pub(crate) virtual_nodes: u32,
    /// Seed of the worker hash; 0 is the unseeded hash.
    pub(crate) seed: u64,
    /// How the number of points follows the capacity.
    pub(crate) scale: Scale,
}

/// How the number of a worker's points follows its capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// The virtual nodes are those of capacity 1: a worker's points depend on itself alone, as long
    /// as there are not more than [`MAX_POINTS`] altogether.
    PerUnit,
    /// The virtual nodes are those of a worker of mean capacity: any capacities will do, but a
    /// worker's points depend on the others'.
    Mean,
}

impl RingShape {
    /// The number of points of a worker; `able` workers share a capacity of `total`.
    fn points_of(self, worker: &WorkerInfo, able: u64, total: u64) -> u64 {
        let (nodes, capacity) = (u64::from(self.virtual_nodes), u64::from(worker.capacity));
        match self.scale {
            Scale::PerUnit if capacity == 0 => 0,
            Scale::PerUnit => ((nodes * capacity) >> self.thinning(total)).max(1),
            Scale::Mean if capacity == 0 => 0,
            Scale::Mean => {
                let product = u128::from(nodes * able) * u128::from(capacity);
                ((product / u128::from(total)) as u64).max(1)
            }
        }
    }
}

impl RingShape {
    /// How often the points of everybody are halved so that a ring has room for all. A power of two,
    /// so that it seldom changes when a worker comes or goes: then a worker's points still depend on
    /// itself alone.
    fn thinning(self, total: u64) -> u32 {
        let points = u128::from(self.virtual_nodes) * u128::from(total);
        let excess = points.div_ceil(u128::from(MAX_POINTS)).max(1);
        excess.next_power_of_two().ilog2()
    }
}

/// One virtual node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point {
    /// Where it sits.
    pub(crate) position: u64,
    /// Whose it is.
    pub(crate) worker: u32,
}

/// All virtual nodes, ascending.
#[derive(Debug)]
pub(crate) struct Ring {
    points: Vec<Point>,
}

impl Ring {
    /// The ring of these workers; a worker has points in proportion to its capacity.
    pub(crate) fn of(workers: &WorkerTable, shape: RingShape) -> Result<Self, PlanError> {
        let members = workers.as_slice();
        let total: u64 = members.iter().map(|w| u64::from(w.capacity)).sum();
        let able = members.iter().filter(|w| w.capacity > 0).count() as u64;
        let count: u128 = members
            .iter()
            .map(|w| u128::from(shape.points_of(w, able, total)))
            .sum();
        // Everybody has at least one point, so a group can be too large for being thinned out.
        if count > 2 * u128::from(MAX_POINTS) {
            return Err(PlanError::BadInput(format!(
                "{able} workers with {} virtual nodes make {count} points on the ring; at most \
                 {} are allowed, so use fewer virtual nodes or another strategy",
                shape.virtual_nodes,
                2 * MAX_POINTS
            )));
        }
        let mut unsorted = Vec::with_capacity(count as usize);
        for (worker, info) in (0_u32..).zip(members) {
            let seed = xxh3_64_with_seed(info.id.as_str().as_bytes(), shape.seed);
            let nodes = 0..shape.points_of(info, able, total);
            unsorted.extend(nodes.map(|node| Point {
                position: xxh3_64_with_seed(&node.to_le_bytes(), seed),
                worker,
            }));
        }
        Ok(Self {
            points: sorted(&unsorted),
        })
    }

    /// The points, ascending.
    pub(crate) fn points(&self) -> &[Point] {
        &self.points
    }

    /// The index of the first point at or after a position, wrapping round.
    pub(crate) fn successor(&self, position: u64) -> usize {
        let index = self
            .points
            .partition_point(|point| point.position < position);
        if index == self.points.len() { 0 } else { index }
    }

    /// Calls `visit(rank, point index)` for ascending hashes: one merge instead of searches.
    pub(crate) fn merge(&self, hashes: &[u64], mut visit: impl FnMut(usize, usize)) {
        let mut index = 0;
        for (rank, &hash) in hashes.iter().enumerate() {
            while index < self.points.len() && self.points[index].position < hash {
                index += 1;
            }
            visit(rank, if index == self.points.len() { 0 } else { index });
        }
    }

    /// The owner of each of the ascending hashes.
    pub(crate) fn owners(&self, hashes: &[u64]) -> Vec<u32> {
        let mut rest = self.points.as_slice();
        let owners = hashes.iter().map(|&hash| {
            while let [point, tail @ ..] = rest
                && point.position < hash
            {
                rest = tail;
            }
            rest.first()
                .or(self.points.first())
                .map_or(0, |point| point.worker)
        });
        owners.collect()
    }
}

/// Scatters the points into about as many buckets as there are points by their leading bits, which
/// leaves one or two to sort in each: positions are hashes and thus spread evenly.
fn sorted(unsorted: &[Point]) -> Vec<Point> {
    let bits = unsorted.len().max(2).ilog2();
    let bucket_of = |point: &Point| (point.position >> (64 - bits)) as usize;
    let mut starts = vec![0_u32; (1 << bits) + 1];
    for point in unsorted {
        starts[bucket_of(point) + 1] += 1;
    }
    let mut sum = 0;
    for start in &mut starts {
        sum += *start;
        *start = sum;
    }
    let mut points = vec![Point::default(); unsorted.len()];
    for point in unsorted {
        let slot = &mut starts[bucket_of(point)];
        points[*slot as usize] = *point;
        *slot += 1;
    }
    // After scattering, the start of a bucket has become its end.
    let mut start = 0;
    for &end in &starts[..1 << bits] {
        sort_bucket(&mut points[start..end as usize]);
        start = end as usize;
    }
    points
}

fn sort_bucket(bucket: &mut [Point]) {
    if bucket.len() > LONG_BUCKET {
        return bucket.sort_unstable();
    }
    for end in 1..bucket.len() {
        let mut at = end;
        while at > 0 && bucket[at] < bucket[at - 1] {
            bucket.swap(at, at - 1);
            at -= 1;
        }
    }
}

/// The hash of a partition's parts with a seed other than the table's.
pub(crate) fn seeded_hash(key: &parti_core::PartitionKey, seed: u64) -> u64 {
    key.parts()
        .fold(seed, |seed, part| xxh3_64_with_seed(part.as_bytes(), seed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use parti_core::{PartitionKey, WorkerId, WorkerInfo};

    fn workers(ids: &[&str]) -> WorkerTable {
        let info = |id: &&str| WorkerInfo::new(WorkerId::new(id).expect("valid ID"));
        WorkerTable::new(ids.iter().map(info).collect()).expect("unique")
    }

    /// A seed must give the placement of a Go group that is configured with the same seed.
    #[test]
    fn seeded_hashes_are_the_golden_ones() {
        let cases: [(&[&str], u64); 4] = [
            (&["topic-0", "p-0"], 0xae20_6817_4bfb_94a9),
            (&["topic-12", "p-1234"], 0x48dd_f945_389c_70d2),
            (&["a"], 0x4c43_7dd4_7f07_16f4),
            (
                &[
                    "some-very-long-partition-key-name",
                    "with",
                    "three",
                    "levels",
                ],
                0x6b3f_194a_17d6_211f,
            ),
        ];
        for (parts, hash) in cases {
            let key = PartitionKey::new(parts).expect("valid key");
            assert_eq!(seeded_hash(&key, 42), hash, "{parts:?}");
            assert_eq!(
                seeded_hash(&key, 0),
                parti_core::hash_key(&key),
                "{parts:?}"
            );
        }
        assert_eq!(
            xxh3_64_with_seed(b"worker-1", 0),
            xxhash_rust::xxh3::xxh3_64(b"worker-1")
        );
    }

    /// A mis-sorted ring would place partitions differently from every other implementation.
    #[test]
    fn points_are_in_ascending_order_for_every_size() {
        for nodes in [1, 2, 3, 7, 16, 150, 1000] {
            let shape = RingShape {
                virtual_nodes: nodes,
                seed: 0,
                scale: Scale::PerUnit,
            };
            let ring = Ring::of(&workers(&["a", "b", "c"]), shape).expect("small");
            assert_eq!(ring.points().len(), nodes as usize * 3);
            assert!(ring.points().is_sorted());
            let hashes = [0, 1, u64::MAX / 3, u64::MAX / 2, u64::MAX];
            ring.merge(&hashes, |rank, index| {
                assert_eq!(index, ring.successor(hashes[rank]));
            });
        }
    }

    fn points_by_worker(capacities: &[u32]) -> Vec<usize> {
        let info = |(number, &capacity): (u32, &u32)| WorkerInfo {
            capacity,
            ..WorkerInfo::new(WorkerId::numbered("w", number).expect("short"))
        };
        let table = WorkerTable::new((0..).zip(capacities).map(info).collect()).expect("unique");
        let shape = RingShape {
            virtual_nodes: 150,
            seed: 0,
            scale: Scale::PerUnit,
        };
        let ring = Ring::of(&table, shape).expect("thinned out");
        let mut counts = vec![0; capacities.len()];
        for point in ring.points() {
            counts[point.worker as usize] += 1;
        }
        counts
    }

    /// A capacity in megabytes exhausted the leader's memory, and there was never a plan.
    #[test]
    fn large_capacities_are_thinned_out_in_proportion() {
        let counts = points_by_worker(&[64_000, 128_000, 0, 1]);
        assert!(
            counts.iter().sum::<usize>() <= MAX_POINTS as usize + 2,
            "{counts:?}"
        );
        assert!(
            counts.iter().sum::<usize>() >= MAX_POINTS as usize / 2,
            "{counts:?}"
        );
        assert!(counts[1].abs_diff(2 * counts[0]) <= 2, "{counts:?}");
        assert_eq!((counts[2], counts[3]), (0, 18));
        let counts = points_by_worker(&[u32::MAX, u32::MAX]);
        assert!(
            counts[0] == counts[1] && counts[0] > 1_000_000,
            "{counts:?}"
        );
    }

    /// A ring that need not be thinned out must stay the Go library's.
    #[test]
    fn ordinary_capacities_have_the_points_of_the_go_library() {
        assert_eq!(
            points_by_worker(&[1, 0, 7, 9_000]),
            [150, 0, 1_050, 1_350_000]
        );
    }

    /// A join that rescaled everybody would move partitions between workers that did not change.
    #[test]
    fn a_join_leaves_the_points_of_the_others_alone_unless_the_ring_is_full() {
        let (before, after) = ([40_000; 3], [40_000; 4]);
        assert_eq!(points_by_worker(&before)[..], points_by_worker(&after)[..3]);
    }
}

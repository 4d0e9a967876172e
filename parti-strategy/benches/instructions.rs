//! One fixed workload, so that an instrument can count the instructions it takes.
//!
//! `cargo xtask bench instructions` runs it under callgrind: once with 0 repetitions, which prepares
//! everything and warms it up, and once with 1; the difference is the workload alone. What always
//! holds: a name stands for the same work in every release, so that counts can be compared.
//!
//! Usage: `NAME REPETITIONS`; without arguments it names all workloads, one a line.

use std::hint::black_box;
use std::process::ExitCode;

use parti_core::wire::{decode, encode};
use parti_core::{
    AssignmentRecord, AssignmentStrategy, Epoch, Nonce, Partition, PartitionTable, Plan, PlanInput,
    Record, RecordGrant, Token, Version, WriteId,
};
use parti_strategy::workload::{Weights, Workload, worker_table};
use parti_strategy::{ConsistentHash, Sticky, next_input};

type Work = Box<dyn FnMut()>;

/// The work of a name, prepared.
type Prepare = fn() -> Work;

const WORKLOADS: [(&str, Prepare); 16] = [
    ("sticky-fresh-equal-100x1000", || {
        fresh(100, 1000, Weights::Equal)
    }),
    ("sticky-fresh-equal-1000x10000", || {
        fresh(1000, 10_000, Weights::Equal)
    }),
    ("sticky-fresh-u200-100x1000", || {
        fresh(100, 1000, Weights::Uniform)
    }),
    ("sticky-fresh-u200-1000x10000", || {
        fresh(1000, 10_000, Weights::Uniform)
    }),
    ("sticky-join-equal-100x1000", || {
        join(100, 1000, Weights::Equal)
    }),
    ("sticky-join-equal-1000x10000", || {
        join(1000, 10_000, Weights::Equal)
    }),
    ("sticky-join-u200-100x1000", || {
        join(100, 1000, Weights::Uniform)
    }),
    ("sticky-join-u200-1000x10000", || {
        join(1000, 10_000, Weights::Uniform)
    }),
    ("sticky-unchanged-equal-100x1000", || {
        unchanged(100, 1000, Weights::Equal)
    }),
    ("sticky-unchanged-equal-1000x10000", || {
        unchanged(1000, 10_000, Weights::Equal)
    }),
    ("sticky-unchanged-u200-100x1000", || {
        unchanged(100, 1000, Weights::Uniform)
    }),
    ("sticky-unchanged-u200-1000x10000", || {
        unchanged(1000, 10_000, Weights::Uniform)
    }),
    ("consistent-hash-rebuilt-100x1000", consistent_hash),
    ("table-build-10000", table_build),
    ("wire-encode-100-grants", wire_encode),
    ("wire-decode-100-grants", wire_decode),
];

fn main() -> ExitCode {
    // `cargo test --benches` and `cargo bench` add options; none of them concerns this program.
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    let [name, repetitions] = &words[..] else {
        for (name, _) in WORKLOADS {
            println!("{name}");
        }
        return ExitCode::SUCCESS;
    };
    let found = WORKLOADS.iter().find(|(known, _)| known == name);
    let (Some((_, prepare)), Ok(repetitions)) = (found, repetitions.parse::<u32>()) else {
        eprintln!("usage: NAME REPETITIONS; there may be no workload {name}");
        return ExitCode::FAILURE;
    };
    let mut work = prepare();
    work();
    for _ in 0..repetitions {
        work();
    }
    ExitCode::SUCCESS
}

fn planning(strategy: impl AssignmentStrategy, input: PlanInput) -> Work {
    Box::new(move || {
        black_box(strategy.plan(black_box(&input)).expect("a plan"));
    })
}

fn fresh(workers: u32, partitions: u32, weights: Weights) -> Work {
    let group = Workload::new(workers, partitions, weights);
    let input = PlanInput::fresh(group.partitions(), group.workers());
    planning(Sticky::new(), input)
}

/// A group at rest, and the plan it rests on.
fn at_rest(workers: u32, partitions: u32, weights: Weights) -> (PlanInput, Plan) {
    let group = Workload::new(workers, partitions, weights);
    let mut input = PlanInput::fresh(group.partitions(), group.workers());
    let plan = Sticky::new().plan(&input).expect("a plan");
    input.previous.clone_from(&plan.owners);
    (input, plan)
}

fn unchanged(workers: u32, partitions: u32, weights: Weights) -> Work {
    planning(Sticky::new(), at_rest(workers, partitions, weights).0)
}

fn join(workers: u32, partitions: u32, weights: Weights) -> Work {
    let (input, plan) = at_rest(workers, partitions, weights);
    let joined = next_input(&input, &plan, worker_table(0..=workers));
    planning(Sticky::new(), joined)
}

fn consistent_hash() -> Work {
    let group = Workload::new(100, 1000, Weights::Equal);
    let input = PlanInput::fresh(group.partitions(), group.workers());
    planning(ConsistentHash::new(), input)
}

/// The list is copied each time, since the table takes it over.
fn table_build() -> Work {
    let list: Vec<Partition> = Workload::new(1, 10_000, Weights::Uniform).list().to_vec();
    Box::new(move || {
        black_box(PartitionTable::new(black_box(&list).clone()).expect("distinct"));
    })
}

fn record() -> Record {
    let group = Workload::new(10, 100, Weights::Equal);
    let workers = group.workers();
    let previous = &workers.as_slice()[0].id;
    let grants = group
        .list()
        .iter()
        .zip(1_000_u64..)
        .map(|(partition, number)| RecordGrant {
            partition: partition.key.clone(),
            token: Token::new(number),
            anchor: (number % 10 == 0).then(|| previous.clone()),
        });
    Record::Assignment(AssignmentRecord {
        write: WriteId {
            nonce: Nonce::new(0x1234_5678_9abc_def0_1234_5678_9abc_def0),
            seq: 77,
        },
        version: Version::new(42),
        epoch: Epoch::new(4711),
        session: parti_core::Nonce::new(1),
        granted: grants.collect(),
        revoking: Vec::new(),
        preparing: Vec::new(),
    })
}

fn wire_encode() -> Work {
    let record = record();
    Box::new(move || {
        black_box(encode(black_box(&record)));
    })
}

fn wire_decode() -> Work {
    let bytes = encode(&record());
    Box::new(move || {
        black_box(decode(black_box(&bytes)).expect("our own record"));
    })
}

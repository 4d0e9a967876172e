//! The first record of a session: what a claim writes.

use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Mode;
use crate::link::cx::Cx;
use crate::model::id::{Epoch, Version, WriteId};
use crate::model::partition::PartitionKey;
use crate::records::agreement::GroupSettings;
use crate::records::record::{Readiness, Record, Remains, SessionRecord, SessionStatus};
use crate::worker::claim::choice::Pending;

/// Its bytes, at most `most` if the list of what still runs makes the difference. What still runs of the
/// former session is named if it is the former's slot that is claimed; a list that does not fit is not said,
/// and the former may hold everything it held.
pub(super) fn value(
    cx: &Cx<'_>,
    write: WriteId,
    (draining, predecessors): (&[PartitionKey], &mut [Pending]),
    most: usize,
) -> Vec<u8> {
    let encode = |draining: &[PartitionKey], predecessors: &[Pending]| {
        let predecessors = predecessors.iter().map(|p| p.predecessor.clone());
        cx.encode(&Record::Session(SessionRecord {
            draining: draining.to_vec(),
            predecessors: predecessors.collect(),
            ..record(cx, write)
        }))
    };
    let named = |pending: &Pending| pending.predecessor.remains == Remains::Draining;
    if !predecessors.iter().any(named) {
        return encode(&[], predecessors);
    }
    let value = encode(draining, predecessors);
    if value.len() <= most {
        return value;
    }
    for pending in predecessors.iter_mut() {
        pending.predecessor.remains = Remains::Everything;
    }
    encode(&[], predecessors)
}

/// What a claim writes. Until the group says otherwise, the strictest mode is obeyed.
pub(super) fn record(cx: &Cx<'_>, write: WriteId) -> SessionRecord {
    SessionRecord {
        write,
        epoch: Epoch::ZERO,
        status: SessionStatus::Active,
        applied: Version::ZERO,
        known: cx.known(),
        age: Duration::ZERO,
        reads: cx.formats(),
        draining: Vec::new(),
        capacity: cx.config().capacity(),
        labels: cx.config().labels().clone(),
        heartbeat_interval: cx.config().heartbeat_interval(),
        lease: cx.config().lease(),
        software: cx.boot().software.clone(),
        endpoint: cx.boot().endpoint.clone(),
        settings: GroupSettings::new(cx.config(), &cx.boot().strategy),
        honours: Mode::Exclusive,
        predecessors: Vec::new(),
        readiness: Readiness {
            answers: false,
            prepares: cx.boot().prepares,
            prepared: Vec::new(),
        },
        rejections: Vec::new(),
        bulletin: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::link::cx::Env;
    use crate::model::id::{Nonce, Revision};
    use crate::model::time::Instant;
    use crate::records::record::Predecessor;

    /// Whether a claim names what still runs, and what its predecessor may still hold by it.
    fn claimed(remains: Option<Remains>, most: usize) -> (bool, Option<Remains>) {
        let config = Config::builder("g").build().expect("coherent");
        let mut env = Env::for_tests(Instant::ORIGIN, 1, config);
        let cx = env.cx(Instant::ORIGIN);
        let draining: Vec<_> = (0..64)
            .map(|n| PartitionKey::new([alloc::format!("{n:0100}")]).expect("valid"))
            .collect();
        let pending = |remains| Pending {
            predecessor: Predecessor {
                epoch: Epoch::from(Revision::new(3)),
                revision: Revision::new(4),
                lease: Duration::from_secs(6),
                applied: Version::new(9),
                remains,
            },
            until: Instant::from_millis(6_000),
        };
        let mut predecessors: Vec<_> = remains.into_iter().map(pending).collect();
        let write = WriteId {
            nonce: Nonce::new(1),
            seq: 0,
        };
        let bytes = value(&cx, write, (&draining, &mut predecessors), most);
        assert!(bytes.len() <= most, "{} of {most}", bytes.len());
        let kept = predecessors.first().map(|p| p.predecessor.remains);
        (bytes.len() > 64 * 100, kept)
    }

    /// A worker that lost its ID while it held many partitions could claim none: what still ran made its
    /// record larger than the store allows, and it stopped for good.
    #[test]
    fn what_still_runs_is_named_where_it_matters_and_fits() {
        let (all, draining) = (Remains::Everything, Remains::Draining);
        let table = [
            (None, 4_000, (false, None)),
            (Some(all), 4_000, (false, Some(all))),
            (Some(draining), 1 << 20, (true, Some(draining))),
            (Some(draining), 4_000, (false, Some(all))),
        ];
        for (remains, most, expected) in table {
            assert_eq!(claimed(remains, most), expected, "{remains:?} {most}");
        }
    }
}

//! What outlasts a term, to bytes and back.

use alloc::vec::Vec;
use core::time::Duration;

use super::super::WireError;
use super::super::body::{CarriedWire, QuarantinedWire};
use super::super::envelope::millis;
use crate::records::carried::{Carried, Quarantined};

pub(in crate::records::wire) fn carried_to_wire(carried: &Carried) -> CarriedWire<'_> {
    CarriedWire {
        futile: carried.futile,
        unassigned_ms: carried.unassigned.map(millis),
        rebalanced_ms: carried.rebalanced.map(millis),
        quarantined: carried.quarantined.iter().map(to_wire).collect(),
        suspected: carried.suspected.iter().map(to_wire).collect(),
        leases_decide_ms: millis(carried.leases_decide),
    }
}

fn to_wire(kept: &Quarantined) -> QuarantinedWire<'_> {
    let times = [kept.rest, kept.length, kept.forgiven].map(millis);
    (kept.worker.as_str(), times[0], times[1], times[2])
}

pub(in crate::records::wire) fn carried_from_wire(
    wire: &CarriedWire<'_>,
) -> Result<Carried, WireError> {
    Ok(Carried {
        futile: wire.futile,
        unassigned: wire.unassigned_ms.map(Duration::from_millis),
        rebalanced: wire.rebalanced_ms.map(Duration::from_millis),
        quarantined: all_from_wire(&wire.quarantined.0)?,
        suspected: all_from_wire(&wire.suspected.0)?,
        leases_decide: Duration::from_millis(wire.leases_decide_ms),
    })
}

fn all_from_wire(kept: &[QuarantinedWire<'_>]) -> Result<Vec<Quarantined>, WireError> {
    let from_wire = |&(name, rest, length, forgiven): &QuarantinedWire<'_>| {
        Ok(Quarantined {
            worker: super::worker(name)?,
            rest: Duration::from_millis(rest),
            length: Duration::from_millis(length),
            forgiven: Duration::from_millis(forgiven),
        })
    };
    kept.iter().map(from_wire).collect()
}

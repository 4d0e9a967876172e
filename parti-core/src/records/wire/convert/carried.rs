//! What outlasts a term, to bytes and back.

use core::time::Duration;

use super::super::WireError;
use super::super::body::CarriedWire;
use super::super::envelope::millis;
use crate::records::carried::{Carried, Quarantined};

pub(in crate::records::wire) fn carried_to_wire(carried: &Carried) -> CarriedWire<'_> {
    let quarantined = carried.quarantined.iter().map(|kept| {
        let times = [kept.rest, kept.length, kept.forgiven].map(millis);
        (kept.worker.as_str(), times[0], times[1], times[2])
    });
    CarriedWire {
        futile: carried.futile,
        unassigned_ms: carried.unassigned.map(millis),
        rebalanced_ms: carried.rebalanced.map(millis),
        quarantined: quarantined.collect(),
    }
}

pub(in crate::records::wire) fn carried_from_wire(
    wire: &CarriedWire<'_>,
) -> Result<Carried, WireError> {
    let kept = wire.quarantined.0.iter();
    let quarantined = kept.map(|&(name, rest, length, forgiven)| {
        Ok(Quarantined {
            worker: super::worker(name)?,
            rest: Duration::from_millis(rest),
            length: Duration::from_millis(length),
            forgiven: Duration::from_millis(forgiven),
        })
    });
    Ok(Carried {
        futile: wire.futile,
        unassigned: wire.unassigned_ms.map(Duration::from_millis),
        rebalanced: wire.rebalanced_ms.map(Duration::from_millis),
        quarantined: quarantined.collect::<Result<_, _>>()?,
    })
}

//! Requests and orders between their types and the wire.

use alloc::string::ToString;
use core::time::Duration;

use super::{key, worker};
use crate::records::record::{Control, Pin};
use crate::records::wire::WireError;
use crate::records::wire::body::{ControlWire, PinWire};
use crate::records::wire::envelope::{Envelope, millis};

pub(super) fn to_wire(control: &Control) -> ControlWire<'_> {
    ControlWire {
        author: &control.author,
        reason: &control.reason,
        lasts_ms: control.lasts.map(millis),
        pins: control.pins.iter().map(pin_to_wire).collect(),
    }
}

pub(super) fn from_wire(envelope: &Envelope, wire: &ControlWire<'_>) -> Result<Control, WireError> {
    let pins = wire.pins.0.iter().map(pin_from_wire);
    Ok(Control {
        write: envelope.write,
        author: wire.author.to_string(),
        reason: wire.reason.to_string(),
        lasts: wire.lasts_ms.map(Duration::from_millis),
        pins: pins.collect::<Result<_, _>>()?,
    })
}

fn pin_to_wire(pin: &Pin) -> PinWire<'_> {
    PinWire {
        partition: pin.partition.encoded(),
        worker: pin.worker.as_str(),
        once: pin.once,
        author: &pin.author,
        reason: &pin.reason,
        since_ms: pin.since_ms,
        lasts_ms: pin.lasts.map(millis),
    }
}

fn pin_from_wire(wire: &PinWire<'_>) -> Result<Pin, WireError> {
    Ok(Pin {
        partition: key(wire.partition)?,
        worker: worker(wire.worker)?,
        once: wire.once,
        author: wire.author.to_string(),
        reason: wire.reason.to_string(),
        since_ms: wire.since_ms,
        lasts: wire.lasts_ms.map(Duration::from_millis),
    })
}

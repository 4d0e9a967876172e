//! The settings of a group to their wire types and back.

use alloc::string::ToString;
use core::time::Duration;

use crate::config::{Mode, OnBucketLost};
use crate::ports::strategy::StrategyId;
use crate::records::agreement::{Agreed, GroupSettings};
use crate::records::wire::body::{AgreedWire, ModeWire, SettingsWire};
use crate::records::wire::envelope::millis;

pub(super) fn to_wire(settings: &GroupSettings) -> SettingsWire<'_> {
    SettingsWire {
        mode: mode_to_wire(settings.mode),
        rolling_from: settings.rolling_from.map(mode_to_wire),
        max_lease_ms: millis(settings.max_lease),
        clock_drift_ppm: settings.clock_drift_ppm,
        halts: settings.on_bucket_lost == OnBucketLost::Halt,
        strategy: settings.strategy.as_str(),
        application: &settings.application,
        list: settings.list,
        leading: settings.leading,
    }
}

pub(super) fn from_wire(wire: &SettingsWire<'_>) -> GroupSettings {
    GroupSettings {
        mode: mode_from_wire(&wire.mode),
        rolling_from: wire.rolling_from.as_ref().map(mode_from_wire),
        max_lease: Duration::from_millis(wire.max_lease_ms),
        clock_drift_ppm: wire.clock_drift_ppm,
        on_bucket_lost: if wire.halts {
            OnBucketLost::Halt
        } else {
            OnBucketLost::Recreate
        },
        strategy: StrategyId::new(wire.strategy),
        application: wire.application.to_string(),
        list: wire.list,
        leading: wire.leading,
    }
}

pub(super) fn agreed_to_wire(agreed: &Agreed) -> AgreedWire {
    AgreedWire(
        mode_to_wire(agreed.mode),
        mode_to_wire(agreed.holds),
        millis(agreed.longest_lease),
    )
}

pub(super) fn agreed_from_wire(wire: &AgreedWire) -> Agreed {
    Agreed {
        mode: mode_from_wire(&wire.0),
        holds: mode_from_wire(&wire.1),
        longest_lease: Duration::from_millis(wire.2),
    }
}

pub(super) const fn mode_to_wire(mode: Mode) -> ModeWire {
    match mode {
        Mode::Exclusive => ModeWire::Exclusive,
        Mode::Fenced => ModeWire::Fenced,
        Mode::Overlap => ModeWire::Overlap,
    }
}

pub(super) const fn mode_from_wire(wire: &ModeWire) -> Mode {
    match wire {
        ModeWire::Exclusive => Mode::Exclusive,
        ModeWire::Fenced => Mode::Fenced,
        ModeWire::Overlap => Mode::Overlap,
    }
}

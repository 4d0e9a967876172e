//! The certificate's lower bounds: what any plan within the band must move.
//!
//! Weight above the band must leave its worker, and weight that is missing below it, beyond what
//! nobody owns, must come from somebody. What always holds: the bounds use only the state before
//! planning, so no step can make itself look good.

use crate::basis::classes::Classes;
use crate::sticky::census::Burden;
use crate::sticky::weighted::level::Bands;
use crate::sticky::weighted::state::NO_PIN;

/// The loads before planning, and the heaviest giant of each worker.
#[derive(Debug, Default)]
pub(super) struct Bound {
    before: Vec<(u64, u64)>,
}

impl Bound {
    /// Takes note of the state before planning.
    pub(super) fn remember(&mut self, loads: &[u64], pins: &[u32], weights: &[u64]) {
        self.before.clear();
        self.before
            .extend(loads.iter().zip(pins).map(|(&load, &pin)| {
                (
                    load,
                    if pin == NO_PIN {
                        0
                    } else {
                        weights[pin as usize]
                    },
                )
            }));
    }

    /// The fewest partitions and the least weight that must move. The count assumes that only
    /// partitions as heavy as the heaviest travel.
    pub(super) fn least(
        &self,
        burden: Burden,
        heaviest: u64,
        classes: &Classes,
        bands: &Bands,
    ) -> (u32, u64) {
        let (mut excess, mut excess_count, mut missing) = (0_u64, 0_u64, 0_u64);
        for (worker, class) in classes.able() {
            let (band, (load, giant)) = (bands.of(class), self.before[worker as usize]);
            let above = load.saturating_sub(band.high_trigger.max(giant));
            excess += above;
            excess_count += above.div_ceil(heaviest.max(1));
            if giant == 0 {
                missing = missing.saturating_add(band.low_trigger.saturating_sub(load));
            }
        }
        let pulled = missing.saturating_sub(burden.departed + burden.unowned);
        let count = excess_count.max(pulled.div_ceil(heaviest.max(1)));
        let count = u64::from(burden.census.departed) + count;
        (
            u32::try_from(count).unwrap_or(u32::MAX),
            burden.departed + excess.max(pulled),
        )
    }
}

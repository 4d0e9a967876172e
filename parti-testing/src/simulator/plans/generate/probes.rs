//! Workers that ask each other whether they run, and what goes wrong with that.

use super::PlanDraft;
use super::class::FaultClass;

impl PlanDraft {
    pub(super) fn probe(&mut self, class: FaultClass) {
        // As a share of the lease: probes that are much faster cost time and show nothing more.
        let interval = self
            .roll()
            .pick(&[self.lease / 40, self.lease / 20, self.lease / 10]);
        self.plan.settings.probe_interval_ms = Some(interval);
        if class == FaultClass::Probing {
            return;
        }
        let intensities = [0, 1_000, 20_000, 200_000];
        let faults = &mut self.plan.faults;
        let rolls: [_; 4] = core::array::from_fn(|index| {
            let number = self.drawn + 1 + index as u64;
            self.dice
                .roll(super::Purpose::Plan, self.stream, number)
                .pick(&intensities)
        });
        self.drawn += 4;
        [
            faults.probe_lost_ppm,
            faults.probe_wrong_ppm,
            faults.probe_late_ppm,
            faults.probe_one_sided_ppm,
        ] = rolls;
    }
}

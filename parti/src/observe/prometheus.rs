//! An exporter for Prometheus: the numbers of this process as text.
//!
//! It is separate and behind the feature `prometheus` because a program that exports its metrics
//! already needs only [`metrics`](crate::observe::metrics). What always holds: nothing here is needed by a
//! manager; without it the numbers go nowhere. Serving the text is the program's business; the example
//! `observed` does it with a web framework, beside probes.
//!
//! ```
//! // Before the first manager is built:
//! let exporter = parti::prometheus::Exporter::install()?;
//! // For each request of `/metrics`:
//! println!("{}", exporter.render());
//! # Ok::<(), parti::prometheus::ExporterError>(())
//! ```

use std::fmt;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::observe::instrument::Instruments;

/// The upper bounds of histogram buckets, in seconds: from a local call to a long outage.
pub const BUCKETS: [f64; 16] = [
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0,
];

/// Why nothing is exported, in words: as a rule the process has another recorder already. Nothing was left
/// behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExporterError(String);

impl fmt::Display for ExporterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = &self.0;
        write!(
            f,
            "the exporter could not be installed: {reason}; a process has one recorder"
        )
    }
}

impl std::error::Error for ExporterError {}

/// The recorder of this process, which keeps the numbers until they are scraped. Clones share it.
#[derive(Clone)]
pub struct Exporter(PrometheusHandle);

impl Exporter {
    /// Makes this the recorder of the process. Managers built before it are not measured.
    ///
    /// # Errors
    /// [`ExporterError`] when there is one already.
    pub fn install() -> Result<Self, ExporterError> {
        let refused = |error: &dyn fmt::Display| ExporterError(error.to_string());
        let builder = PrometheusBuilder::new().set_buckets(&BUCKETS);
        let recorder = builder.map_err(|error| refused(&error))?.build_recorder();
        let handle = recorder.handle();
        ::metrics::set_global_recorder(recorder).map_err(|error| refused(&error))?;
        Instruments::describe();
        Ok(Self(handle))
    }

    /// The numbers in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Puts the samples of histograms into their buckets, as [`Exporter::render`] does. Call it every few
    /// seconds where nobody may scrape for long, or samples pile up.
    pub fn run_upkeep(&self) {
        self.0.run_upkeep();
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").finish_non_exhaustive()
    }
}

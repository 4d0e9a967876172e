//! What a run is made of, and what came out of it.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use parti::sources::PartitionSource;
use parti::{Config, ManagerBuilder, Preset};

use super::judge::{Situation, Violation};
use super::nemesis::{Nemesis, Size};
use super::plan::Plan;
use super::process::{Process, SharedHandler};
use super::resource::{Fencing, Resource};

/// Has the last word on a process.
pub(super) type Adjust = Arc<dyn Fn(ManagerBuilder, &Process) -> ManagerBuilder + Send + Sync>;

/// Looks at the resources in the end.
type Finally = Arc<dyn Fn(&[Resource]) -> Result<(), String> + Send + Sync>;

/// What a run is made of.
#[derive(Clone)]
pub struct Run {
    /// The handler of each process.
    pub(super) handler: Arc<dyn Fn(Process) -> SharedHandler + Send + Sync>,
    /// The configuration of each process.
    pub(super) config: Config,
    /// The partitions, instead of those that a plan numbers.
    pub(super) source: Option<Arc<dyn PartitionSource>>,
    /// Has the last word on each process.
    pub(super) adjust: Option<Adjust>,
    /// What handlers write to.
    pub(super) resources: Vec<Resource>,
    /// Whether everything must be written to after the faults.
    pub(super) progress: bool,
    /// Looks at what was written in the end.
    pub(super) finally: Option<Finally>,
    /// What goes wrong, in a group of which size.
    pub(super) nemesis: Nemesis,
    pub(super) size: Size,
    /// Whether what happens is kept as lines.
    pub(super) traced: bool,
    #[cfg(feature = "planted")]
    pub(super) bug: Option<parti::planted::ShellBug>,
}

impl core::fmt::Debug for Run {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Run")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Run {
    /// With handlers that this makes for each process.
    ///
    /// # Panics
    /// Never: the built-in configuration is coherent.
    #[must_use]
    pub fn new(handler: impl Fn(Process) -> SharedHandler + Send + Sync + 'static) -> Self {
        let config = Config::builder("managers")
            .preset(Preset::Fast)
            .worker_id_range(0, 7);
        let config = config.drain_timeout(Duration::from_millis(500)).build();
        Self {
            handler: Arc::new(handler),
            config: config.expect("coherent"),
            source: None,
            adjust: None,
            resources: Vec::new(),
            progress: false,
            finally: None,
            nemesis: Nemesis::default(),
            size: Size::default(),
            traced: false,
            #[cfg(feature = "planted")]
            bug: None,
        }
    }

    /// With a resource that compares tokens, to which every partition must be written in the end.
    #[must_use]
    pub fn writing_to(mut self, resource: &str) -> Self {
        self.resources
            .push(Resource::new(resource, Fencing::Checked));
        self.progress = true;
        self
    }

    /// The plan of a seed.
    #[must_use]
    pub fn plan(&self, seed: u64) -> Plan {
        self.nemesis.make(seed, self.size)
    }

    /// Plants a bug in the managers. **Not for production.**
    #[cfg(feature = "planted")]
    #[must_use]
    pub fn planted(mut self, bug: parti::planted::ShellBug) -> Self {
        self.bug = Some(bug);
        self
    }
}

/// How a run ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// What did not hold, in the order it was seen.
    pub violations: Vec<Violation>,
    /// What the run has met, and how often.
    pub met: BTreeMap<Situation, u64>,
    /// The virtual time that passed.
    pub simulated: Duration,
    /// How long after the last fault everything was owned.
    pub recovered_after: Option<Duration>,
    /// What handlers wrote to, as it was at the end.
    pub resources: Vec<Resource>,
    /// What happened, if it was to be kept.
    pub trace: Vec<String>,
    /// The same for two runs only if the same things happened at the same times.
    pub digest: u64,
}

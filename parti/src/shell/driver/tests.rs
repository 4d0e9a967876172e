//! The driver with clocks that a test sets: what a machine looks like that was paused.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use parti_core::{Config, PartitionKey, Preset, RevokeCause, StopMode};

use crate::handler::guard::Guard;
use crate::handler::{HandlerError, PartitionHandler};
use crate::manager::Manager;
use crate::sources::StaticSource;
use crate::system::clock::Clock;

#[derive(Clone, Default)]
struct Told(Arc<Mutex<(usize, Vec<RevokeCause>)>>);

#[async_trait]
impl PartitionHandler for Told {
    async fn on_assigned(&self, _: &PartitionKey, _: Guard) -> Result<(), HandlerError> {
        self.0.lock().expect("whole").0 += 1;
        Ok(())
    }

    async fn on_revoked(&self, _: &PartitionKey, _: Guard, cause: RevokeCause) {
        self.0.lock().expect("whole").1.push(cause);
    }
}

/// Both clocks go on with tokio's time.
async fn tick(clocks: Arc<[AtomicU64; 2]>) {
    loop {
        tokio::time::sleep(Duration::from_millis(1)).await;
        for clock in &*clocks {
            clock.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// A host that pauses a virtual machine also stops what the lease is measured with. When the wall clock
/// tells, the lease is over; a small correction, or one back, must cost nothing.
#[tokio::test(start_paused = true)]
async fn only_a_wall_clock_that_runs_ahead_by_more_than_the_lease_costs_it() {
    let clocks = Arc::new([AtomicU64::new(1000), AtomicU64::new(1_700_000_000_000)]);
    let ticking = tokio::spawn(tick(Arc::clone(&clocks)));
    let config = Config::builder("g")
        .preset(Preset::Fast)
        .expected_workers(1);
    let source = StaticSource::numbered("p", 1).expect("valid");
    let handler = Told::default();
    let builder = Manager::builder(config.build().expect("coherent"), source, handler.clone());
    let worker = builder.clock(Clock::set(Arc::clone(&clocks)));
    let worker = worker.start().await.expect("starts");
    worker.wait_assigned().await.expect("runs");
    let revoked = || handler.0.lock().expect("whole").1.clone();
    let wait = || tokio::time::sleep(Duration::from_secs(5));
    wait().await;
    let wall = &clocks[1];
    wall.fetch_add(300, Ordering::SeqCst);
    wait().await;
    wall.fetch_sub(60_000, Ordering::SeqCst);
    wait().await;
    assert_eq!(revoked(), []);
    let token = worker.assignment()[0].token();
    wall.fetch_add(2_000, Ordering::SeqCst);
    wait().await;
    assert_eq!(revoked(), [RevokeCause::LeaseLost]);
    let guards = worker.assignment();
    assert!(
        guards[0].is_valid() && guards[0].token() == token,
        "resumed"
    );
    assert_eq!(handler.0.lock().expect("whole").0, 2);
    worker.stop(StopMode::Now).await.expect("stops");
    ticking.abort();
}

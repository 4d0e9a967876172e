//! A simulated machine: what a simulator does to one worker process, while others of the same runtime go on.
//!
//! It is separate from the clock because a process that stands still keeps its clock, and one that is
//! suspended does not. What always holds: production needs nothing of it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::system::clock::Clock;

/// The machine of one worker process in a test with paused time: it can stand still and be suspended.
///
/// A worker that is built with [`ManagerBuilder::machine`](crate::ManagerBuilder::machine) runs its driver
/// and its callbacks on it. While it stands still they do not run; time, timers and messages go on, as for
/// a process that was sent SIGSTOP. Tasks that a handler spawns go on too, unless it runs them with
/// [`Machine::run`]. Clones are the same machine.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use std::time::Duration;
/// use parti::clock::Machine;
/// use tokio::time::{Instant, sleep};
///
/// let (machine, begun) = (Machine::new(), Instant::now());
/// machine.stand_still();
/// let of = machine.clone();
/// tokio::spawn(async move {
///     sleep(Duration::from_secs(3)).await;
///     of.resume();
/// });
/// machine.run(async {}).await;
/// assert_eq!(begun.elapsed(), Duration::from_secs(3));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Machine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    origin: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    stands: Option<Stands>,
    waiting: Vec<Waker>,
    /// What the monotonic clock has not counted.
    missed: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Stands {
    since: Instant,
    /// Whether the monotonic clock goes on.
    counted: bool,
}

impl Machine {
    /// A machine that runs, on the clock of the tokio runtime.
    #[must_use]
    pub fn new() -> Self {
        Self::since(Instant::now())
    }

    /// As [`Machine::new`], with the origin of its clocks: machines whose wall clocks agree have the same.
    #[must_use]
    pub fn since(origin: Instant) -> Self {
        Self(Arc::new(Inner {
            origin,
            state: Mutex::default(),
        }))
    }

    /// The clock of the machine.
    #[must_use]
    pub fn clock(&self) -> Clock {
        Clock::of(self.clone())
    }

    /// Lets the process stand still until [`Machine::resume`]; its clock goes on.
    pub fn stand_still(&self) {
        self.stop(true);
    }

    /// Suspends the machine until [`Machine::resume`]: its monotonic clock does not count the time, and
    /// its wall clock is right afterwards.
    pub fn suspend(&self) {
        self.stop(false);
    }

    fn stop(&self, counted: bool) {
        let since = Instant::now();
        self.state().stands.get_or_insert(Stands { since, counted });
    }

    /// Lets the process go on.
    pub fn resume(&self) {
        let mut state = self.state();
        if let Some(Stands { since, counted }) = state.stands.take()
            && !counted
        {
            state.missed += since.elapsed();
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Runs a future as a part of the process: it is not polled while the process stands still.
    ///
    /// # Cancellation safety
    /// Dropping it drops the future. Not bounded by time while the process stands still.
    pub async fn run<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| {
            let mut state = self.state();
            if state.stands.is_some() {
                state.waiting.push(cx.waker().clone());
                return Poll::Pending;
            }
            drop(state);
            future.as_mut().poll(cx)
        })
        .await
    }

    /// Since the origin: as the monotonic clock shows it, and as it truly is.
    pub(crate) fn elapsed(&self) -> (Duration, Duration) {
        let state = self.state();
        let missed = match state.stands {
            Some(Stands { since, counted }) if !counted => state.missed + since.elapsed(),
            Some(_) | None => state.missed,
        };
        let true_time = self.0.origin.elapsed();
        (true_time.saturating_sub(missed), true_time)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs a future on a machine, if it is a simulated one.
pub(crate) async fn on<F: Future>(machine: Option<Machine>, future: F) -> F::Output {
    match machine {
        Some(machine) => machine.run(future).await,
        None => future.await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};

    use super::*;

    /// A clock that counts a suspension is another fault: the driver would never compare its clocks.
    #[tokio::test(start_paused = true)]
    async fn a_suspended_machine_misses_the_time_and_one_that_stands_still_does_not() {
        let machine = Machine::new();
        let clock = machine.clock();
        machine.stand_still();
        advance(Duration::from_secs(1)).await;
        machine.resume();
        assert_eq!(clock.now(), parti_core::Instant::from_millis(1_000));
        machine.suspend();
        advance(Duration::from_secs(5)).await;
        assert_eq!(clock.now(), parti_core::Instant::from_millis(1_000));
        machine.resume();
        advance(Duration::from_secs(1)).await;
        assert_eq!(clock.now(), parti_core::Instant::from_millis(2_000));
        assert_eq!(machine.elapsed().1, Duration::from_secs(7));
    }

    /// A pause that lets the process finish what it is at tests nothing.
    #[tokio::test(start_paused = true)]
    async fn nothing_runs_while_the_process_stands_still() {
        let machine = Machine::new();
        let of = machine.clone();
        let ran = tokio::spawn(async move {
            of.run(sleep(Duration::from_secs(1))).await;
            Instant::now()
        });
        let begun = Instant::now();
        tokio::task::yield_now().await;
        machine.stand_still();
        sleep(Duration::from_secs(10)).await;
        assert!(!ran.is_finished());
        machine.resume();
        let ended = ran.await.expect("it runs on");
        assert_eq!(ended - begun, Duration::from_secs(10));
    }
}

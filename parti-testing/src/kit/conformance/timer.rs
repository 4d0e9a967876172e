//! A time limit without a runtime: a thread sleeps and wakes the task.
//!
//! It is only for tests of stores, where a case that hangs must not hang the suite.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Poll, Waker};
use core::time::Duration;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

#[derive(Default)]
struct Alarm {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    rung: bool,
    given_up: bool,
    waker: Option<Waker>,
}

/// The output of the future, or `None` if it was not ready in time.
pub(super) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let alarm = Arc::new(Alarm::default());
    let sleeper = Arc::clone(&alarm);
    std::thread::spawn(move || sleeper.sleep(limit));
    let _ringing = GiveUp(Arc::clone(&alarm));
    let mut future = pin!(future);
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        let mut state = alarm.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waker = Some(context.waker().clone());
        if state.rung {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    })
    .await
}

/// Lets time pass.
pub(super) async fn pause(time: Duration) {
    let never = core::future::pending::<()>();
    let ended = within(time, never).await;
    debug_assert_eq!(ended, None, "only the time ends it");
}

/// Sends the sleeping thread home when the limit is no longer needed.
struct GiveUp(Arc<Alarm>);

impl Drop for GiveUp {
    fn drop(&mut self) {
        self.0
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .given_up = true;
        self.0.changed.notify_all();
    }
}

impl Alarm {
    fn sleep(&self, limit: Duration) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .changed
            .wait_timeout_while(state, limit, |state| !state.given_up);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.rung = true;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }
}

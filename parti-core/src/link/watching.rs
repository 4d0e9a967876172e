//! Keeping one watch alive: setting it up, noticing its loss, setting it up again with backoff.

use core::time::Duration;

use crate::io::effect::{Effect, Wake, WakeReason};
use crate::io::event::WatchId;
use crate::link::cx::Cx;
use crate::model::id::Revision;
use crate::model::time::Instant;
use crate::ports::store::{WatchEvent, WatchScope};
use crate::records::keys::head_key;
use crate::resilience::backoff::Backoff;
use crate::resilience::breaker::CallEnd;

/// A watch that is to be kept alive.
#[derive(Clone, Debug)]
pub(crate) struct Watching {
    scope: WatchScope,
    state: WatchState,
    /// When the present watch was begun.
    since: Instant,
    /// Whether it has shown `head`.
    showed_head: bool,
    backoff: Backoff,
}

#[derive(Clone, Copy, Debug)]
enum WatchState {
    Running {
        id: WatchId,
        caught_up: Option<Revision>,
    },
    Lost {
        retry_at: Instant,
    },
}

impl Watching {
    pub(crate) fn begin(cx: &mut Cx<'_>, scope: WatchScope) -> Self {
        let most = cx.config().heartbeat_interval().min(Duration::from_secs(2));
        let mut watching = Self {
            scope,
            state: WatchState::Lost { retry_at: cx.now },
            since: cx.now,
            showed_head: false,
            backoff: cx.config().retry().endless(most),
        };
        watching.start(cx);
        watching
    }

    /// Whether everything present when the watch began has been delivered.
    pub(crate) const fn is_caught_up(&self) -> bool {
        matches!(
            self.state,
            WatchState::Running {
                caught_up: Some(_),
                ..
            }
        )
    }

    pub(crate) const fn scope(&self) -> &WatchScope {
        &self.scope
    }

    pub(crate) const fn since(&self) -> Instant {
        self.since
    }

    /// Whether it has shown `head` since it began.
    pub(crate) const fn showed_head(&self) -> bool {
        self.showed_head
    }

    /// Watches something else, or the same again.
    pub(crate) fn change(&mut self, cx: &mut Cx<'_>, scope: WatchScope) {
        self.end(cx);
        self.scope = scope;
        self.start(cx);
    }

    /// Ends the watch.
    pub(crate) fn end(&mut self, cx: &mut Cx<'_>) {
        if let WatchState::Running { id, .. } = self.state {
            cx.push(Effect::Unwatch { id });
        }
    }

    /// Whether an event is of the present watch; keeps account of it.
    pub(crate) fn accepts(&mut self, cx: &mut Cx<'_>, id: WatchId, event: &WatchEvent) -> bool {
        let WatchState::Running {
            id: present,
            caught_up,
        } = &mut self.state
        else {
            return false;
        };
        if *present != id {
            return false;
        }
        match event {
            WatchEvent::Entry(entry) => self.showed_head |= entry.key == head_key(),
            WatchEvent::CaughtUp { revision } => {
                *caught_up = Some(*revision);
                self.backoff.reset();
                cx.saw_watch(CallEnd::Succeeded);
            }
            WatchEvent::Lost { .. } => {
                cx.saw_watch(CallEnd::Failed);
                let retry_at = cx.now + self.backoff.next(cx.rng());
                self.state = WatchState::Lost { retry_at };
            }
        }
        true
    }

    /// Whether the watch was begun again.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>) -> bool {
        match self.state {
            WatchState::Lost { retry_at } if cx.now >= retry_at => {
                self.start(cx);
                true
            }
            WatchState::Lost { .. } | WatchState::Running { .. } => false,
        }
    }

    pub(crate) const fn wake(&self) -> Option<Wake> {
        match self.state {
            WatchState::Lost { retry_at } => Some(Wake::new(retry_at, WakeReason::WatchRetry)),
            WatchState::Running { .. } => None,
        }
    }

    fn start(&mut self, cx: &mut Cx<'_>) {
        (self.since, self.showed_head) = (cx.now, false);
        self.state = match cx.watch_opens_at() {
            Some(retry_at) => WatchState::Lost { retry_at },
            None => WatchState::Running {
                id: cx.watch(self.scope.clone()),
                caught_up: None,
            },
        };
    }
}

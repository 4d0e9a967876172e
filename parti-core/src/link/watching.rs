//! Keeping one watch alive: setting it up, noticing its loss, setting it up again with backoff.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Config;
use crate::io::effect::{Effect, Wake, WakeReason};
use crate::io::event::WatchId;
use crate::io::notice::Notice;
use crate::link::cx::Cx;
use crate::model::id::Revision;
use crate::model::time::Instant;
use crate::ports::store::{WatchEvent, WatchScope};
use crate::records::keys::head_key;
use crate::resilience::backoff::Backoff;
use crate::resilience::breaker::CallEnd;

/// The watch of a session, to be kept alive as long as there is one.
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
    /// There is no session that needs one.
    Idle,
    Running {
        id: WatchId,
        caught_up: Option<Revision>,
    },
    Lost {
        retry_at: Instant,
    },
}

impl Watching {
    pub(super) fn idle(config: &Config, now: Instant) -> Self {
        let most = config.heartbeat_interval().min(Duration::from_secs(2));
        Self {
            scope: WatchScope::Keys(Vec::new()),
            state: WatchState::Idle,
            since: now,
            showed_head: false,
            backoff: config.retry().endless(most),
        }
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

    /// When the present watch was begun.
    pub(super) const fn since(&self) -> Instant {
        self.since
    }

    /// Whether it has shown `head` since it began.
    pub(crate) const fn showed_head(&self) -> bool {
        self.showed_head
    }

    pub(super) const fn is_running(&self) -> bool {
        matches!(self.state, WatchState::Running { .. })
    }

    /// Whether a watch that was lost is to be begun again.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        matches!(self.state, WatchState::Lost { retry_at } if now >= retry_at)
    }

    pub(super) const fn wake(&self) -> Option<Wake> {
        match self.state {
            WatchState::Lost { retry_at } => Some(Wake::new(retry_at, WakeReason::WatchRetry)),
            WatchState::Running { .. } | WatchState::Idle => None,
        }
    }
}

impl Cx<'_> {
    /// Watches something else, or the same again.
    pub(crate) fn watch(&mut self, scope: WatchScope) {
        self.end_watch();
        self.link_mut().watching.scope = scope;
        self.begin_watch();
    }

    /// Ends the watch.
    pub(super) fn end_watch(&mut self) {
        let watching = &mut self.link_mut().watching;
        let before = core::mem::replace(&mut watching.state, WatchState::Idle);
        if let WatchState::Running { id, .. } = before {
            self.push(Effect::Unwatch { id });
        }
    }

    pub(super) fn begin_watch(&mut self) {
        let state = match self.link().watch.opens_at(self.now) {
            Some(retry_at) => WatchState::Lost { retry_at },
            None => {
                let scope = self.link().watching.scope.clone();
                let (id, caught_up) = (self.next_watch(), None);
                self.push(Effect::Watch { id, scope });
                WatchState::Running { id, caught_up }
            }
        };
        let now = self.now;
        let watching = &mut self.link_mut().watching;
        (watching.since, watching.showed_head) = (now, false);
        watching.state = state;
    }

    /// A watch said something. Whether it was the present one.
    pub(crate) fn on_watch(&mut self, id: WatchId, event: &WatchEvent) -> bool {
        let link = self.link_mut();
        link.continuity.on_watch(id, event);
        let WatchState::Running {
            id: present,
            caught_up,
        } = &mut link.watching.state
        else {
            return false;
        };
        if *present != id {
            return false;
        }
        match event {
            WatchEvent::Entry(entry) => link.watching.showed_head |= entry.key == head_key(),
            WatchEvent::CaughtUp { revision } => {
                *caught_up = Some(*revision);
                link.watching.backoff.reset();
                self.record_watch(CallEnd::Succeeded);
            }
            WatchEvent::Lost { reason } => {
                self.record_watch(CallEnd::Failed);
                let (now, env) = (self.now, &mut *self.env);
                let watching = &mut env.link.watching;
                let retry_at = now + watching.backoff.next(&mut env.rng);
                watching.state = WatchState::Lost { retry_at };
                self.suspect();
                let reason = reason.to_string();
                self.notify(Notice::WatchRenewed { reason });
            }
        }
        true
    }
}

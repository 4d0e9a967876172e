//! A watch of a store on a file: what it has shown, and the next look when something was written.
//!
//! It is separate because it is the only part that waits for other processes. What always holds: each look is
//! one snapshot, so that a commit is shown whole, and another history than the one it began with ends it.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use parti_core::{Revision, StoreError, Watch, WatchEvent, WatchScope};
use tokio::sync::watch;

use super::Inner;
use super::requests::Changes;

pub(super) struct SqliteWatch {
    store: Arc<Inner>,
    scope: WatchScope,
    changed: watch::Receiver<()>,
    /// Which history it shows.
    created: u64,
    shown: Revision,
    waiting: VecDeque<WatchEvent>,
    next: Next,
}

enum Next {
    /// Nothing is known to be new.
    Wait,
    /// Something was written.
    Look,
    /// It has ended.
    Lost(String),
}

impl SqliteWatch {
    pub(super) async fn begin(store: Arc<Inner>, scope: WatchScope) -> Result<Self, StoreError> {
        // First, so that what is written after the look is not overheard.
        let changed = store.changed.subscribe();
        let Changes {
            created,
            last,
            entries,
        } = store.changes(scope.clone(), Revision::ZERO).await?;
        let present = entries.into_iter().filter(|entry| entry.value.is_some());
        let mut waiting: VecDeque<_> = present.map(WatchEvent::Entry).collect();
        waiting.push_back(WatchEvent::CaughtUp { revision: last });
        Ok(Self {
            store,
            scope,
            changed,
            created,
            shown: last,
            waiting,
            next: Next::Wait,
        })
    }

    async fn look(&mut self) -> Next {
        let Changes {
            created,
            last,
            entries,
        } = match self.store.changes(self.scope.clone(), self.shown).await {
            Ok(changes) => changes,
            Err(error) => return Next::Lost(error.to_string()),
        };
        if created != self.created || last < self.shown {
            return Next::Lost("the file has another history".to_owned());
        }
        self.shown = last;
        self.waiting
            .extend(entries.into_iter().map(WatchEvent::Entry));
        Next::Wait
    }
}

#[async_trait]
impl Watch for SqliteWatch {
    async fn next(&mut self) -> WatchEvent {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return event;
            }
            match &self.next {
                Next::Wait => {
                    // The sender lives in the store, which this watch holds.
                    let _ = self.changed.changed().await;
                    self.next = Next::Look;
                }
                Next::Look => self.next = self.look().await,
                Next::Lost(reason) => {
                    let reason = reason.clone();
                    return WatchEvent::Lost { reason };
                }
            }
        }
    }
}

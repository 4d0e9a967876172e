//! What somebody writes into the bucket who is not part of the group: operators, other programs,
//! workers of a later release.
//!
//! What always holds: checkers are told of such writes as what they are, so that nobody of the group
//! is blamed for them.

use core::time::Duration;

use parti_core::{
    Control, Expect, Instant, Nonce, Record, Revision, StoreError, Write, WriteId, wire,
};

use super::super::dice::Purpose;
use super::super::plan::{Hand, Target};
use super::super::queue::Item;
use super::super::store::written;
use super::World;
use crate::checks::Fact;

/// The format byte of a release that does not exist yet.
const NEWER_FORMAT: u8 = wire::SESSION_FORMAT + 1;

impl World<'_> {
    pub(super) fn foreign_hand(&mut self, hand: Hand) {
        self.judge.sometimes.count(match hand {
            Hand::NewerFormat { .. } => "foreign_newer_format",
            Hand::Damaged { .. } => "foreign_damaged",
            Hand::WrongKind { .. } => "foreign_wrong_kind",
            Hand::Delete { .. } => "foreign_delete",
            Hand::Junk { .. } => "foreign_junk",
            Hand::Alien { .. } => "foreign_worker",
        });
        match hand {
            Hand::NewerFormat { target } => {
                let value = self.noise(NEWER_FORMAT, 64);
                self.overwrite(target, Some(value));
            }
            Hand::Damaged { target } => {
                let present = self.store.present_entry(&target.key());
                let mut value = present
                    .and_then(|entry| entry.value.clone())
                    .unwrap_or_default();
                value.truncate(value.len() / 2);
                self.overwrite(target, Some(value));
            }
            Hand::WrongKind { target } => {
                let write = WriteId {
                    nonce: Nonce::new(1),
                    seq: 1,
                };
                let (author, reason) = ("somebody".to_owned(), "by mistake".to_owned());
                let record = Record::Control(Control {
                    write,
                    author,
                    reason,
                });
                self.overwrite(target, Some(wire::encode(&record)));
            }
            Hand::Delete { target } => self.overwrite(target, None),
            Hand::Junk { count } => self.litter(count),
            Hand::Alien { worker, for_ms } => {
                let until = self.now + Duration::from_millis(for_ms);
                self.alien(worker, Revision::ZERO, until);
            }
        }
    }

    fn overwrite(&mut self, target: Target, value: Option<Vec<u8>>) {
        let (key, expect) = (target.key(), Expect::Any);
        // A key can be deleted only if it is there.
        let present = self.store.present_entry(&key);
        if value.is_none() && present.is_none_or(|entry| entry.value.is_none()) {
            return;
        }
        let _ = self.write_as_foreigner(Write { key, value, expect });
    }

    /// Keys without a meaning, and keys that look almost like ours.
    fn litter(&mut self, count: u32) {
        const NAMES: [&str; 8] = [
            "junk", "head.x", "w.x.y", "a.x.y", "h.999", "ctl.x", "src.0", "zz.top",
        ];
        for number in 0..count {
            let name = NAMES[number as usize % NAMES.len()];
            let size = [0, 1, 100, 100_000][number as usize / NAMES.len() % 4];
            let key = format!("{name}.{}", number / 8);
            let value = Some(self.noise(wire::FORMAT, size));
            let expect = Expect::Any;
            let _ = self.write_as_foreigner(Write { key, value, expect });
        }
    }

    /// A worker of a later release goes on unless somebody has ended its session.
    pub(super) fn alien(&mut self, worker: u32, last: Revision, until: Instant) {
        if self.now >= until || self.outage.is_some_and(|outage| self.now < outage.until) {
            return;
        }
        let key = Target::Session { worker }.key();
        let value = Some(self.noise(NEWER_FORMAT, 80));
        let expect = match last {
            Revision::ZERO => Expect::Absent,
            last => Expect::Revision(last),
        };
        let Ok(last) = self.write_as_foreigner(Write { key, value, expect }) else {
            self.judge.sometimes.count("foreign_worker_ended");
            return;
        };
        if let Some(node) = self.nodes.first() {
            let at = self.now + node.config.heartbeat_interval();
            self.queue.push(
                at,
                Item::Alien {
                    worker,
                    last,
                    until,
                },
            );
        }
    }

    /// Bytes that mean nothing, after a format byte.
    fn noise(&self, format: u8, size: u64) -> Vec<u8> {
        let number = self.store.last_revision().get();
        let roll = |index| self.dice.roll(Purpose::Foreign, index, number);
        // Large values are there for their size: one roll is enough for eight bytes.
        let words = (0..size.div_ceil(8)).map(|index| roll(index).bits().to_le_bytes());
        let mut bytes = vec![format];
        bytes.extend(words.flatten());
        bytes.truncate(1 + size as usize);
        bytes
    }

    fn write_as_foreigner(&mut self, write: Write) -> Result<Revision, StoreError> {
        let applied = self.store.commit(self.now, &[write])?;
        let writes: Vec<_> = applied.iter().map(written).collect();
        for write in &writes {
            self.judge.fold(write.revision.get());
        }
        self.judge.observe(self.now, &Fact::Foreign { writes });
        self.fan_out(&applied);
        Ok(self.store.last_revision())
    }
}

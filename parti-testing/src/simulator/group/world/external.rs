//! What somebody writes into the bucket who is not part of the group: operators, other programs,
//! workers of a later release.
//!
//! What always holds: checkers are told of such writes as what they are, so that nobody of the group
//! is blamed for them.

use core::time::Duration;
use std::collections::BTreeMap;

use parti_core::{
    Config, Control, Epoch, Expect, Formats, GroupSettings, Instant, Key, Nonce, Pin, Readiness,
    Record, Revision, SessionRecord, SessionStatus, StoreError, Version, WorkerId, Write, WriteId,
    wire,
};

use super::World;
use crate::simulator::checks::{Fact, Value, Written};
use crate::simulator::group::queue::Item;
use crate::simulator::plans::dice::Purpose;
use crate::simulator::plans::plan::{ExternalWrite, OrderVerb, Target};
use crate::simulator::storage::store::{any_release, written};

/// The format of a release after the next.
const NEWER_FORMAT: u16 = Formats::NEXT_RELEASE.newest + 1;

/// What an operator writes.
fn operators(pins: Vec<Pin>, lasts: Option<Duration>, reason: &str) -> Record {
    Record::Control(Control {
        write: WriteId {
            nonce: Nonce::new(1),
            seq: 1,
        },
        author: "operator".to_owned(),
        reason: reason.to_owned(),
        lasts,
        pins,
    })
}

impl World<'_> {
    pub(super) fn external_write(&mut self, write: ExternalWrite) {
        self.judge.situations.count(match write {
            ExternalWrite::NewerFormat { .. } => "external_newer_format",
            ExternalWrite::Damaged { .. } => "external_damaged",
            ExternalWrite::WrongKind { .. } => "external_wrong_kind",
            ExternalWrite::Delete { .. } => "external_delete",
            ExternalWrite::Vanish { .. } => "external_vanish",
            ExternalWrite::Junk { .. } => "external_junk",
            ExternalWrite::Alien { .. } => "external_worker",
            ExternalWrite::Order { .. } => "order",
            ExternalWrite::Pin { .. } => "order_of_a_partition",
            ExternalWrite::Withdraw { .. } => "order_withdrawn",
        });
        match write {
            ExternalWrite::NewerFormat { target } => {
                let present = self.store.present_entry(&self.key_of(target));
                let value = present.and_then(|entry| entry.value.as_deref());
                let value = match value.map(any_release) {
                    Some(Ok(mut record)) => {
                        // It goes on with a session, as a process does that was updated in place: a
                        // claim of its own would have to name the one before.
                        if let (Record::Session(session), Some(entry)) = (&mut record, present)
                            && session.epoch == Epoch::ZERO
                        {
                            session.epoch = Epoch::from(entry.revision);
                        }
                        wire::encode_as(NEWER_FORMAT, &by_another(record))
                    }
                    Some(Err(_)) | None => self.noise(wire::ENVELOPE + 1, 64),
                };
                self.overwrite(target, Some(value));
            }
            ExternalWrite::Damaged { target } => {
                let present = self.store.present_entry(&self.key_of(target));
                let mut value = present
                    .and_then(|entry| entry.value.clone())
                    .unwrap_or_default();
                value.truncate(value.len() / 2);
                self.overwrite(target, Some(value));
            }
            ExternalWrite::WrongKind { target } => {
                let record = operators(Vec::new(), None, "by mistake");
                self.overwrite(target, Some(wire::encode(&record)));
            }
            ExternalWrite::Delete { target } => self.overwrite(target, None),
            ExternalWrite::Vanish { target } => self.vanish(&self.key_of(target)),
            ExternalWrite::Junk { count } => self.litter(count),
            ExternalWrite::Order {
                verb,
                worker,
                for_ms,
            } => self.order(&verb.key(worker), Some(for_ms)),
            ExternalWrite::Pin {
                partition,
                worker,
                once,
                for_ms,
            } => self.pin(partition, worker, once, Duration::from_millis(for_ms)),
            ExternalWrite::Withdraw { verb, worker } => self.order(&verb.key(worker), None),
            ExternalWrite::Alien { worker, for_ms } => {
                let until = self.now + Duration::from_millis(for_ms);
                self.alien(worker, Epoch::ZERO, Revision::ZERO, until);
            }
        }
    }

    /// An operator gives an order for a while, or takes it back if it is there.
    fn order(&mut self, key: &str, for_ms: Option<u64>) {
        let present = self.store.present_entry(key);
        if for_ms.is_none() && present.is_none_or(|entry| entry.value.is_none()) {
            return;
        }
        let value = for_ms.map(|for_ms| {
            let lasts = Some(Duration::from_millis(for_ms));
            wire::encode(&operators(Vec::new(), lasts, ""))
        });
        let (key, expect) = (key.to_owned(), Expect::Any);
        let _ = self.write_as_external(Write { key, value, expect });
    }

    /// An operator adds a pin to those that are there, as the command line does.
    fn pin(&mut self, partition: u32, worker: u32, once: bool, lasts: Duration) {
        let listed = self.partitions();
        let number = partition as usize % listed.len().max(1);
        let (Some(partition), Ok(worker)) =
            (listed.get(number), WorkerId::numbered("worker", worker))
        else {
            return;
        };
        let key = OrderVerb::Pin.key(0);
        let present = self.store.present_entry(&key);
        let at_ms = present.map(|entry| entry.at_ms);
        let stored = present.and_then(|entry| entry.value.as_deref());
        let mut pins = match stored.map(wire::decode) {
            Some(Ok(Record::Control(control))) => control.pins,
            Some(Ok(_) | Err(_)) | None => Vec::new(),
        };
        for pin in &mut pins {
            pin.since_ms = pin.since_ms.or(at_ms);
        }
        pins.retain(|pin| pin.partition != partition.key);
        pins.push(Pin {
            partition: partition.key.clone(),
            worker,
            once,
            author: "operator".to_owned(),
            reason: String::new(),
            since_ms: None,
            lasts: Some(lasts),
        });
        let record = operators(pins, None, "");
        let (value, expect) = (Some(wire::encode(&record)), Expect::Any);
        let _ = self.write_as_external(Write { key, value, expect });
    }

    /// The key that is meant: of an assignment in pieces now and then one of them.
    fn key_of(&self, target: Target) -> String {
        let key = target.key();
        let piece = format!("{key}.{}", 1 + self.store.last_revision().get() % 2);
        let pieces = matches!(target, Target::Assignment { .. });
        let there = self.store.present_entry(&piece).filter(|_| pieces);
        match there.filter(|entry| {
            entry.value.is_some() && !self.store.last_revision().get().is_multiple_of(3)
        }) {
            Some(_) => piece,
            None => key,
        }
    }

    fn overwrite(&mut self, target: Target, value: Option<Vec<u8>>) {
        let (key, expect) = (self.key_of(target), Expect::Any);
        // A key can be deleted only if it is there.
        let present = self.store.present_entry(&key);
        if value.is_none() && present.is_none_or(|entry| entry.value.is_none()) {
            return;
        }
        let _ = self.write_as_external(Write { key, value, expect });
    }

    /// No revision tells of it; checkers are told of a deletion.
    fn vanish(&mut self, key: &str) {
        let Some(previous) = self.store.vanish(key) else {
            return;
        };
        let gone = Written {
            name: key.to_owned(),
            key: Key::parse(key),
            revision: Revision::ZERO,
            previous,
            expect: Expect::Any,
            value: Value::Tombstone,
        };
        self.judge.fold(previous.get());
        let writes = vec![gone];
        self.judge.observe(self.now, &Fact::External { writes });
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
            let value = Some(self.noise(wire::ENVELOPE, size));
            let expect = Expect::Any;
            let _ = self.write_as_external(Write { key, value, expect });
        }
    }

    /// A worker of a later release goes on unless somebody has ended its session.
    pub(super) fn alien(&mut self, worker: u32, epoch: Epoch, last: Revision, until: Instant) {
        if self.now >= until || self.outage.is_some_and(|outage| self.now < outage.until) {
            return;
        }
        let Some(config) = self.nodes.first().map(|node| node.config.clone()) else {
            return;
        };
        let key = Target::Session { worker }.key();
        let session = alien_session(&config, worker, (epoch, last));
        let value = Some(wire::encode_as(NEWER_FORMAT, &Record::Session(session)));
        let expect = match last {
            Revision::ZERO => Expect::Absent,
            last => Expect::Revision(last),
        };
        let Ok(last) = self.write_as_external(Write { key, value, expect }) else {
            self.judge.situations.count("external_worker_ended");
            return;
        };
        let epoch = match epoch {
            Epoch::ZERO => Epoch::from(last),
            epoch => epoch,
        };
        let at = self.now + config.heartbeat_interval();
        self.queue.push(
            at,
            Item::Alien {
                worker,
                epoch,
                last,
                until,
            },
        );
    }

    /// Bytes that mean nothing, after a format byte.
    fn noise(&self, format: u8, size: u64) -> Vec<u8> {
        let number = self.store.last_revision().get();
        let roll = |index| self.dice.roll(Purpose::External, index, number);
        // Large values are there for their size: one roll is enough for eight bytes.
        let words = (0..size.div_ceil(8)).map(|index| roll(index).bits().to_le_bytes());
        let mut bytes = vec![format];
        bytes.extend(words.flatten());
        bytes.truncate(1 + size as usize);
        bytes
    }

    fn write_as_external(&mut self, write: Write) -> Result<Revision, StoreError> {
        let applied = self.store.commit(self.now, &[write])?;
        let writes: Vec<_> = applied.iter().map(written).collect();
        for write in &writes {
            self.judge.fold(write.revision.get());
        }
        self.judge.observe(self.now, &Fact::External { writes });
        self.fan_out(&applied);
        Ok(self.store.last_revision())
    }
}

/// The record as if somebody else had written it.
fn by_another(mut record: Record) -> Record {
    let write = match &mut record {
        Record::Head(head) => &mut head.write,
        Record::Session(session) => &mut session.write,
        Record::Assignment(assignment) => &mut assignment.write,
        Record::Manifest(manifest) => &mut manifest.write,
        Record::Piece(piece) => &mut piece.write,
        Record::Audit(entry) => &mut entry.write,
        Record::Control(control) => &mut control.write,
        Record::Parked(parked) => &mut parked.write,
        Record::Suspicion(suspicion) => &mut suspicion.write,
        Record::Source(_) => return record,
    };
    write.nonce = Nonce::new(0xa11e);
    record
}

/// The session of a worker of a release that promises more than those here.
fn alien_session(config: &Config, worker: u32, (epoch, last): (Epoch, Revision)) -> SessionRecord {
    let nonce = Nonce::new(0xa11e_0000 + u128::from(worker));
    SessionRecord {
        write: WriteId {
            nonce,
            seq: last.get(),
        },
        epoch,
        status: SessionStatus::Active,
        applied: Version::ZERO,
        known: Version::ZERO,
        age: Duration::ZERO,
        reads: Formats {
            oldest: NEWER_FORMAT,
            newest: NEWER_FORMAT,
        },
        draining: Vec::new(),
        capacity: 100,
        labels: BTreeMap::new(),
        heartbeat_interval: config.heartbeat_interval(),
        lease: config.lease() * 2,
        software: "later".to_owned(),
        endpoint: None,
        settings: GroupSettings {
            mode: config.mode(),
            ..GroupSettings::default()
        },
        honours: config.mode(),
        rejections: Vec::new(),
        bulletin: None,
        predecessors: Vec::new(),
        readiness: Readiness::default(),
    }
}

//! What of a step fits into one commit: so many writes, and so many bytes.
//!
//! It is separate because it knows what an assignment takes when it is stored in pieces. What always
//! holds: all that changes of one worker is in one commit; what is left over is found again by comparing
//! with the target, and every commit brings it nearer.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use crate::leader::committing::commit::Draft;
use crate::leader::committing::ledger::{Change, Granted, Page};
use crate::model::id::{Token, Version, WorkerId};
use crate::ports::store::{Expect, Write};
use crate::records::assembly::{Assembly, TooLarge, lay_out};
use crate::records::keys::{assignment_key, piece_key};
use crate::records::record::{AssignmentRecord, Record};
use crate::records::wire;

/// The most bytes of assignments in one commit: a store keeps all of it in memory until it is whole.
pub(crate) const MAX_COMMIT: usize = 16 << 20;

/// What a commit has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) writes: usize,
    pub(crate) bytes: usize,
}

/// What a commit does to the keys of one worker's assignment.
#[derive(Clone, Debug)]
pub(crate) struct Put {
    pub(crate) worker: WorkerId,
    pub(crate) what: What,
    pub(crate) writes: Vec<Write>,
    /// The keys of the writes, once these have been sent.
    pub(crate) keys: Vec<String>,
    /// What is stored in pieces then.
    pub(crate) after: Assembly,
}

/// What becomes of an assignment.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// It is this one from now on.
    Written(AssignmentRecord),
    /// There is none any more.
    Removed,
    /// It stays as it is: pieces of it are written again, or what is left over of earlier ones is
    /// deleted.
    Repaired,
}

/// What of the changes fits.
#[derive(Default)]
struct Fitted {
    puts: Vec<Put>,
    /// What becomes of each change.
    shares: Vec<Share>,
    /// Ranks that are taken away later although the step would do so now.
    postponed: BTreeSet<u32>,
    /// Why something cannot be stored at all.
    too_large: Option<TooLarge>,
}

/// How much of a change fits.
enum Share {
    All,
    Part(Page),
    Nothing,
}

/// The change of one partition, in the order in which they are taken.
enum Item {
    /// Begins to take it away.
    Revoke(u32),
    /// Its taking away was acknowledged.
    Forget((u32, Version)),
    /// What it prepared for goes elsewhere.
    Withdraw((u32, Version)),
    /// It is to prepare.
    Prepare((u32, Version)),
    Grant(Granted),
}

impl Room {
    fn holds(self, put: &Put) -> bool {
        put.writes.len() <= self.writes && bytes(&put.writes) <= self.bytes
    }

    fn take(&mut self, put: &Put) {
        self.writes = self.writes.saturating_sub(put.writes.len());
        self.bytes = self.bytes.saturating_sub(bytes(&put.writes));
    }
}

impl Draft<'_> {
    /// Cuts the step down to what the room holds; grants come last. The writes, and why something
    /// cannot be stored at all, if that is so.
    pub(crate) fn fit(&mut self, room: Room) -> (Vec<Put>, Option<TooLarge>) {
        let mut changes = core::mem::take(&mut self.step.changes);
        changes.sort_by_cached_key(|(index, change)| {
            let grants = match change {
                Change::Remove => false,
                Change::Write(page) => new_grants(page, self.version) > 0,
            };
            // What only takes away goes first.
            (grants, self.only_grants(*index, change))
        });
        let mut barred = BTreeSet::new();
        loop {
            let fitted = self.fit_without(&changes, &barred, room);
            // A record that is not rewritten in this commit still grants what it lists.
            if self.clashes(&changes, &fitted) {
                barred.extend(fitted.postponed);
                continue;
            }
            self.settle(changes, fitted.shares);
            return (fitted.puts, fitted.too_large);
        }
    }

    fn only_grants(&self, index: usize, change: &Change) -> bool {
        match (&self.slots.slots[index].page, change) {
            (_, Change::Remove) | (None, Change::Write(_)) => true,
            (Some(old), Change::Write(page)) => {
                let kept = ranks(page);
                old.granted
                    .iter()
                    .all(|granted| kept.contains(&granted.rank))
            }
        }
    }

    /// Whether a partition is granted again that another record still grants.
    fn clashes(&self, changes: &[(usize, Change)], fitted: &Fitted) -> bool {
        let version = Token::from(self.version);
        !fitted.postponed.is_empty()
            && changes
                .iter()
                .zip(&fitted.shares)
                .any(|((_, change), share)| {
                    let page = match (change, share) {
                        (Change::Write(page), Share::All) | (_, Share::Part(page)) => page,
                        (Change::Remove, Share::All) | (_, Share::Nothing) => return false,
                    };
                    let mut new = page.granted.iter().filter(|g| g.token == version);
                    new.any(|granted| fitted.postponed.contains(&granted.rank))
                })
    }

    fn fit_without(
        &self,
        changes: &[(usize, Change)],
        barred: &BTreeSet<u32>,
        mut room: Room,
    ) -> Fitted {
        let mut fitted = Fitted::default();
        for (index, change) in changes {
            let (put, share) = match change {
                Change::Remove if room.writes > 0 => (Some(self.removal(*index)), Share::All),
                Change::Remove => (None, Share::Nothing),
                Change::Write(page) => {
                    let found = self.page(*index, page, barred, room);
                    found.unwrap_or_else(|too_large| {
                        fitted.too_large = Some(too_large);
                        (None, Share::Nothing)
                    })
                }
            };
            let old = self.slots.slots[*index].page.as_ref();
            match (&share, change) {
                (Share::Part(page), Change::Write(wanted)) => {
                    fitted
                        .postponed
                        .extend(ranks(page).difference(&ranks(wanted)));
                }
                (Share::Nothing, _) => fitted.postponed.extend(old.map(ranks).unwrap_or_default()),
                (Share::All | Share::Part(_), _) => {}
            }
            if let Some(put) = put {
                room.take(&put);
                fitted.puts.push(put);
            }
            fitted.shares.push(share);
        }
        self.clear(&mut fitted.puts, room.writes);
        fitted
    }

    /// The step is what fits of it; the rest is unfinished.
    fn settle(&mut self, changes: Vec<(usize, Change)>, shares: Vec<Share>) {
        let count = |change: &Change| match change {
            Change::Remove => (0, 0),
            Change::Write(page) => {
                let taken = page
                    .revoking
                    .iter()
                    .filter(|(_, since)| *since == self.version);
                (new_grants(page, self.version), taken.count())
            }
        };
        let mut settled = Vec::with_capacity(changes.len());
        let (mut granted, mut revoked, mut unfinished) = (0, 0, 0);
        for ((index, change), share) in changes.into_iter().zip(shares) {
            let wanted = count(&change);
            let (change, taken) = match share {
                Share::All => {
                    settled.push((index, change));
                    continue;
                }
                Share::Part(page) => {
                    let change = Change::Write(page);
                    let taken = count(&change);
                    (Some(change), taken)
                }
                Share::Nothing => (None, (0, 0)),
            };
            granted += wanted.0.saturating_sub(taken.0);
            revoked += wanted.1.saturating_sub(taken.1);
            // At least one, so that the rest is remembered.
            unfinished += wanted.0.saturating_sub(taken.0).max(1);
            settled.extend(change.map(|change| (index, change)));
        }
        self.step.changes = settled;
        self.step.granted = self.step.granted.saturating_sub(granted);
        self.step.revoked = self.step.revoked.saturating_sub(revoked);
        self.step.unfinished += unfinished;
    }

    /// As much of a page as the room holds.
    fn page(
        &self,
        index: usize,
        page: &Page,
        barred: &BTreeSet<u32>,
        room: Room,
    ) -> Result<(Option<Put>, Share), TooLarge> {
        let version = Token::from(self.version);
        let is_barred = |g: &Granted| g.token == version && barred.contains(&g.rank);
        let allowed = page.granted.iter().any(is_barred).then(|| {
            let granted = page.granted.iter().filter(|granted| !is_barred(granted));
            Page {
                granted: granted.cloned().collect(),
                ..page.clone()
            }
        });
        let whole = self.put(index, allowed.as_ref().unwrap_or(page));
        if let Ok(put) = whole
            && room.holds(&put)
        {
            return Ok((Some(put), allowed.map_or(Share::All, Share::Part)));
        }
        self.part(index, allowed.as_ref().unwrap_or(page), room)
    }

    /// The most changes of single partitions, from the first on, that the room holds together.
    fn part(
        &self,
        index: usize,
        page: &Page,
        room: Room,
    ) -> Result<(Option<Put>, Share), TooLarge> {
        let slot = &self.slots.slots[index];
        let old = slot.page.as_ref().filter(|old| old.epoch == page.epoch);
        let base = old.cloned().unwrap_or_else(|| Page::blank(page.epoch));
        let items = items(&base, page, self.version);
        let fits = |count: usize| {
            let part = with(base.clone(), &items[..count], self.version);
            let put = self.put(index, &part)?;
            Ok(room.holds(&put).then_some((part, put)))
        };
        let Some(mut best) = fits(0)? else {
            return Ok((self.repair(index, &base, room), Share::Nothing));
        };
        let (mut low, mut high) = (0, items.len());
        while low < high {
            let middle = (low + high).div_ceil(2);
            match fits(middle) {
                Ok(Some(found)) => (best, low) = (found, middle),
                Ok(None) | Err(_) => high = middle - 1,
            }
        }
        if low == 0 && old.is_some() && !slot.damaged {
            return Ok((None, Share::Nothing));
        }
        let (part, put) = best;
        Ok((Some(put), Share::Part(part)))
    }

    fn put(&self, index: usize, page: &Page) -> Result<Put, TooLarge> {
        let worker = self.slots.workers[index].clone();
        let (granted, revoking, preparing) = self.slots.lists(self.target, page);
        let record = AssignmentRecord {
            write: self.write,
            version: self.version,
            epoch: page.epoch,
            session: self.view.session_of(&worker, page.epoch),
            granted,
            revoking,
            preparing,
        };
        let none = Assembly::default();
        let before = self.view.stored(&worker).unwrap_or(&none);
        let layout = lay_out(&record, before, self.format, self.info)?;
        let encoded = |record| Some(wire::encode_as(self.format, &record));
        let pieces = layout.write.into_iter().map(|(number, piece)| {
            let key = piece_key(&worker, number);
            write(key, encoded(Record::Piece(piece)))
        });
        let mut writes: Vec<Write> = pieces.collect();
        let value = match layout.manifest {
            Some(manifest) => encoded(Record::Manifest(manifest)),
            None => encoded(Record::Assignment(record.clone())),
        };
        writes.push(write(assignment_key(&worker), value));
        Ok(Put {
            worker,
            what: What::Written(record),
            writes,
            keys: Vec::new(),
            after: layout.after,
        })
    }

    fn removal(&self, index: usize) -> Put {
        let worker = self.slots.workers[index].clone();
        let mut after = self.view.stored(&worker).cloned().unwrap_or_default();
        after.expect(None);
        Put {
            writes: [write(assignment_key(&worker), None)].into(),
            what: What::Removed,
            keys: Vec::new(),
            worker,
            after,
        }
    }

    /// A record that is too large to be written again at once is repaired piece by piece.
    fn repair(&self, index: usize, base: &Page, room: Room) -> Option<Put> {
        let worker = &self.slots.workers[index];
        let mut after = self.view.stored(worker)?.clone();
        let whole = self.put(index, base).ok()?;
        let mut put = Put {
            worker: worker.clone(),
            what: What::Repaired,
            writes: Vec::new(),
            keys: Vec::new(),
            after: Assembly::default(),
        };
        for number in after.clone().numbers() {
            let key = piece_key(worker, number);
            let written = whole.writes.iter().find(|write| write.key == key);
            let Some(written) = written.filter(|_| after.agrees(&whole.after, number)) else {
                continue;
            };
            put.writes.push(written.clone());
            if !room.holds(&put) {
                put.writes.pop();
                break;
            }
            after.repaired(number, self.format);
        }
        put.after = after;
        (!put.writes.is_empty()).then_some(put)
    }

    /// Deletes what is left over of earlier pieces, as far as there is room.
    fn clear(&self, puts: &mut Vec<Put>, mut room: usize) {
        let concerned: BTreeSet<WorkerId> = puts.iter().map(|put| put.worker.clone()).collect();
        let others: BTreeSet<&WorkerId> = self.view.leftovers().map(|(worker, _)| worker).collect();
        for worker in others
            .into_iter()
            .filter(|worker| !concerned.contains(*worker))
        {
            puts.push(Put {
                worker: worker.clone(),
                what: What::Repaired,
                writes: Vec::new(),
                keys: Vec::new(),
                after: self.view.stored(worker).cloned().unwrap_or_default(),
            });
        }
        for put in puts.iter_mut() {
            let leftovers: Vec<u32> = put.after.leftovers().take(room).collect();
            room -= leftovers.len();
            for number in leftovers {
                put.after.lose(number);
                put.writes.push(write(piece_key(&put.worker, number), None));
            }
        }
        puts.retain(|put| !put.writes.is_empty());
    }
}

/// What changes from one page to another of the same incarnation.
fn items(base: &Page, page: &Page, version: Version) -> Vec<Item> {
    let kept: BTreeSet<u32> = ranks(page);
    let gone = base.granted.iter().map(|granted| granted.rank);
    let gone = gone.filter(|rank| !kept.contains(rank)).map(Item::Revoke);
    let still: BTreeSet<(u32, Version)> = page.revoking.iter().copied().collect();
    let done = base.revoking.iter().copied();
    let done = done
        .filter(|taken| !still.contains(taken))
        .map(Item::Forget);
    let new = page
        .granted
        .iter()
        .filter(|g| g.token == Token::from(version));
    // What is granted ends its preparation by that.
    let granted: BTreeSet<u32> = new.clone().map(|granted| granted.rank).collect();
    let before: BTreeSet<(u32, Version)> = base.preparing.iter().copied().collect();
    let after: BTreeSet<(u32, Version)> = page.preparing.iter().copied().collect();
    let withdrawn = before.difference(&after).copied();
    let withdrawn = withdrawn.filter(|(rank, _)| !granted.contains(rank));
    let begun = after.difference(&before).copied();
    gone.chain(done)
        .chain(withdrawn.map(Item::Withdraw))
        .chain(begun.map(Item::Prepare))
        .chain(new.cloned().map(Item::Grant))
        .collect()
}

/// A page with some changes.
fn with(mut page: Page, items: &[Item], version: Version) -> Page {
    let (mut revoked, mut forgotten) = (BTreeSet::new(), BTreeSet::new());
    let mut preparing: BTreeSet<(u32, Version)> = page.preparing.drain(..).collect();
    let mut granted = BTreeSet::new();
    for item in items {
        match item {
            Item::Revoke(rank) => drop(revoked.insert(*rank)),
            Item::Forget(taken) => drop(forgotten.insert(*taken)),
            Item::Withdraw(told) => drop(preparing.remove(told)),
            Item::Prepare(told) => drop(preparing.insert(*told)),
            Item::Grant(new) => drop(granted.insert(new.rank)),
        }
    }
    preparing.retain(|(rank, _)| !granted.contains(rank));
    page.preparing.extend(preparing);
    page.granted
        .retain(|granted| !revoked.contains(&granted.rank));
    page.revoking.retain(|taken| !forgotten.contains(taken));
    page.revoking
        .extend(revoked.into_iter().map(|rank| (rank, version)));
    let granted = items.iter().filter_map(|item| match item {
        Item::Grant(granted) => Some(granted.clone()),
        Item::Revoke(_) | Item::Forget(_) | Item::Withdraw(_) | Item::Prepare(_) => None,
    });
    page.granted.extend(granted);
    page
}

fn ranks(page: &Page) -> BTreeSet<u32> {
    page.granted.iter().map(|granted| granted.rank).collect()
}

pub(crate) fn new_grants(page: &Page, version: Version) -> usize {
    let version = Token::from(version);
    let new = page
        .granted
        .iter()
        .filter(|granted| granted.token == version);
    new.count()
}

fn bytes(writes: &[Write]) -> usize {
    let values = writes.iter().filter_map(|write| write.value.as_ref());
    values.map(Vec::len).sum()
}

const fn write(key: String, value: Option<Vec<u8>>) -> Write {
    let expect = Expect::Any;
    Write { key, value, expect }
}

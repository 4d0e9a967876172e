//! Opening a durable: what is asked of the server, in which order, and what follows from each answer.
//!
//! It is separate from the requests because the order is what loses nothing, and so it is pure. What always
//! holds: a work queue's older durables are deleted before the newer is created, those by interest after; the
//! cursor is read before anything is deleted, and after anything was created.

use crate::consume::condition::Condition;
use crate::consume::cursor::Found;
use crate::consume::durable::{DurableName, older};
use crate::consume::stream::Retention;

/// How often a durable is tried to be created against others that do the same.
const TRIES: u32 = 10;

/// What to ask the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The names of all consumers of the stream.
    List,
    /// The partition's cursor, from the leader of its stream.
    Cursor,
    /// The least of the sequences up to where each of these has acknowledged everything.
    Floor(Vec<String>),
    /// Delete these. One that is left is deleted by the next owner.
    Delete(Vec<String>),
    /// Create this durable.
    Create {
        /// Its name.
        name: DurableName,
        /// It delivers what comes after.
        after: u64,
    },
}

/// What the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// To [`Ask::List`].
    Names(Vec<String>),
    /// To [`Ask::Cursor`].
    Cursor(Found),
    /// To [`Ask::Floor`]; none when all are gone.
    Floor(Option<u64>),
    /// To [`Ask::Delete`].
    Deleted,
    /// To [`Ask::Create`]: it is there.
    Created,
    /// To [`Ask::Create`]: a work queue has another consumer for the partition.
    NotUnique,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask this next.
    Ask(Ask),
    /// The durable is there and is this owner's.
    Opened {
        /// It delivers what comes after.
        after: u64,
        /// No other durable of the partition was there.
        is_first: bool,
    },
    /// Do not consume.
    Stop(Condition),
    /// Others were faster each time.
    GiveUp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Listing,
    /// A work queue: is the cursor ours, before anything is deleted?
    Checking,
    Measuring,
    /// A work queue: older ones go first.
    Clearing,
    Creating,
    Verifying,
    /// By interest: older ones go last.
    Replacing,
    /// The cursor is somebody else's: nobody may be left interested in what it will not read.
    Leaving(Condition),
}

/// One opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    is_queue: bool,
    name: DurableName,
    position: u64,
    after: u64,
    older: Vec<String>,
    stage: Stage,
    tries: u32,
}

impl Opening {
    /// Begins for an owner that has taken the cursor over at this position; its count is raised, also for a
    /// name that is refused.
    #[must_use]
    pub fn new(retention: Retention, name: &DurableName, position: u64) -> Self {
        let mut name = name.clone();
        name.count += 1;
        Self {
            is_queue: retention == Retention::WorkQueue,
            name,
            position,
            after: position,
            older: Vec::new(),
            stage: Stage::Listing,
            tries: 0,
        }
    }

    /// The name that was used last.
    #[must_use]
    pub const fn name(&self) -> &DurableName {
        &self.name
    }

    /// What to ask now.
    #[must_use]
    pub fn ask(&self) -> Ask {
        match &self.stage {
            Stage::Listing => Ask::List,
            Stage::Checking | Stage::Verifying => Ask::Cursor,
            Stage::Measuring => Ask::Floor(self.older.clone()),
            Stage::Clearing | Stage::Replacing => Ask::Delete(self.older.clone()),
            Stage::Creating => Ask::Create {
                name: self.name.clone(),
                after: self.after,
            },
            Stage::Leaving(_) => Ask::Delete(vec![self.name.encode()]),
        }
    }

    /// What follows from the answer; one to another question changes nothing.
    pub fn told(&mut self, told: Told) -> Step {
        let next = match (&self.stage, told) {
            (Stage::Listing, Told::Names(names)) => match older(&self.name, &names) {
                Err(condition) => return Step::Stop(condition),
                Ok(older) => self.listed(older),
            },
            (Stage::Checking, Told::Cursor(found)) => match self.not_ours(found) {
                Some(condition) => return Step::Stop(condition),
                None => Stage::Clearing,
            },
            (Stage::Measuring, Told::Floor(floor)) => {
                // A newer one that began later than at the first message they hold would be asked for it
                // all the same, and the stream would keep it for ever.
                self.after = self.position.min(floor.unwrap_or(self.position));
                Stage::Creating
            }
            (Stage::Clearing, Told::Deleted) => Stage::Creating,
            (Stage::Creating, Told::Created) => Stage::Verifying,
            (Stage::Creating, Told::NotUnique) => {
                self.tries += 1;
                if self.tries >= TRIES {
                    return Step::GiveUp;
                }
                self.name.count += 1;
                Stage::Listing
            }
            (Stage::Verifying, Told::Cursor(found)) => match self.not_ours(found) {
                Some(condition) => Stage::Leaving(condition),
                None if self.is_queue || self.older.is_empty() => return self.opened(),
                None => Stage::Replacing,
            },
            (Stage::Replacing, Told::Deleted) => return self.opened(),
            (Stage::Leaving(condition), Told::Deleted) => return Step::Stop(condition.clone()),
            (stage, _) => stage.clone(),
        };
        self.stage = next;
        Step::Ask(self.ask())
    }

    fn listed(&mut self, older: Vec<String>) -> Stage {
        self.older = older;
        self.after = self.position;
        match (self.is_queue, self.older.is_empty()) {
            (true, _) => Stage::Checking,
            (false, true) => Stage::Creating,
            (false, false) => Stage::Measuring,
        }
    }

    const fn opened(&self) -> Step {
        Step::Opened {
            after: self.after,
            is_first: self.older.is_empty(),
        }
    }

    /// Why the cursor is not this owner's.
    fn not_ours(&self, found: Found) -> Option<Condition> {
        let ours = self.name.owner.token;
        match found {
            Found::Cursor { cursor, .. } if cursor.owner == self.name.owner => None,
            Found::Cursor { cursor, .. } => {
                let found = cursor.owner.token;
                Some(Condition::Fenced { ours, found })
            }
            Found::Unreadable { reason } => Some(Condition::CursorUnreadable { reason }),
            Found::Never | Found::Deleted { .. } => {
                let evidence = format!("we have taken it over with token {ours}");
                Some(Condition::CursorMissing { evidence })
            }
        }
    }
}

#[cfg(test)]
mod tests;

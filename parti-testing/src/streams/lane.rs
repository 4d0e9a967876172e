//! One ownership of a partition: it takes over, reads, hands messages to its handler, commits, acknowledges
//! and lets go, with the decisions that production makes.
//!
//! It is separate from the world since it knows nothing of other owners. What always holds: it has one
//! request under way for taking over, one for reading and one for writing; whatever it asks may be answered
//! late, never, or after it was done.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU64;
use std::time::Duration;

use parti_nats::consume::{
    CommitRules, Condition, Cursor, Found, Hold, Intake, Next, OnOvertaken, OnRecreated, Owner,
    Progress, Retention, Rules, StreamFacts, TakeOver, Unacknowledged, Wrote, take_over,
};

use super::lane_reading::Reading;
use super::planted::Bug;
use super::request::{Answer, Item, Request};

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Purpose {
    Taking,
    Reading,
    Writing,
    Acknowledging,
}

/// What a lane can do next by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    TakeOver,
    Open,
    Pull,
    Begin,
    End,
    Commit,
    Release,
    Sweep,
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Ask(Purpose, Request),
    /// The handler is done with a message.
    Handled {
        item: Item,
        may_repeat: bool,
    },
    Released,
    Stopped(Condition),
}

/// Where a lane stands.
#[derive(Clone, Debug)]
enum Stage {
    /// The cursor is not ours yet.
    Taking {
        found: Option<Found>,
        facts: Option<StreamFacts>,
        seen: Option<u64>,
        sent: Option<Cursor>,
    },
    Working,
    /// The last write, and then what is left to do.
    Releasing,
    Ended,
}

impl Stage {
    const BEGIN: Self = Self::Taking {
        found: None,
        facts: None,
        seen: None,
        sent: None,
    };
}

/// One ownership.
pub(super) struct Lane {
    pub(super) partition: u32,
    pub(super) owner: Owner,
    pub(super) retention: Retention,
    pub(super) bug: Option<Bug>,
    stage: Stage,
    pub(super) progress: Option<Progress>,
    pub(super) intake: Intake,
    pub(super) held: Unacknowledged<Request>,
    pub(super) queue: VecDeque<Item>,
    handling: Option<Item>,
    pub(super) reading: Reading,
    /// How many consumers it has made.
    pub(super) count: u64,
    seen_up_to: u64,
    revoked: bool,
    /// The operation that is awaited, by purpose.
    pub(super) awaited: BTreeMap<Purpose, u64>,
}

const RULES: Rules = Rules {
    start: 0,
    recreated: OnRecreated::Stop,
    overtaken: OnOvertaken::GoOn,
};
const COMMIT: CommitRules = CommitRules {
    every: NonZeroU64::MIN,
    within: Duration::ZERO,
};
/// A lane asks for no more while so many messages wait.
pub(super) const FULL: usize = 6;

impl Lane {
    pub(super) fn new(
        partition: u32,
        owner: Owner,
        retention: Retention,
        bug: Option<Bug>,
    ) -> Self {
        Self {
            partition,
            owner,
            retention,
            bug,
            stage: Stage::BEGIN,
            progress: None,
            intake: Intake::new(0),
            held: Unacknowledged::new(retention, 0),
            queue: VecDeque::new(),
            handling: None,
            reading: Reading::None,
            count: 0,
            seen_up_to: 0,
            revoked: false,
            awaited: BTreeMap::new(),
        }
    }

    pub(super) fn is(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    pub(super) const fn revoke(&mut self) {
        self.revoked = true;
    }

    pub(super) const fn is_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended)
    }

    /// Everything that was handled is stored.
    pub(super) fn is_settled(&self) -> bool {
        let stored = self.progress.as_ref();
        let stored = stored.is_some_and(|progress| progress.committed() == progress.position());
        let is_open = matches!(self.reading, Reading::Open { .. });
        matches!(self.stage, Stage::Working) && is_open && stored && self.queue.is_empty()
    }

    pub(super) fn awaits(&self, purpose: Purpose) -> bool {
        self.awaited.contains_key(&purpose)
    }

    /// What it could do now.
    pub(super) fn acts(&self) -> Vec<Act> {
        let mut acts = Vec::new();
        let free = |purpose| !self.awaits(purpose);
        match &self.stage {
            Stage::Taking { .. } if free(Purpose::Taking) => acts.push(Act::TakeOver),
            Stage::Taking { .. } | Stage::Ended | Stage::Releasing => {}
            Stage::Working => {
                if free(Purpose::Reading) && !self.revoked {
                    match self.reading {
                        Reading::None => acts.push(Act::Open),
                        Reading::Open { .. } if self.queue.len() < FULL => acts.push(Act::Pull),
                        Reading::Open { .. }
                        | Reading::Opening(_)
                        | Reading::Creating
                        | Reading::Sweeping { .. } => {}
                    }
                }
                match (self.handling, self.queue.is_empty()) {
                    (Some(_), _) => acts.push(Act::End),
                    (None, false) if !self.revoked => acts.push(Act::Begin),
                    _ => {}
                }
                if free(Purpose::Writing) {
                    match (self.revoked, self.handling) {
                        (true, None) => acts.push(Act::Release),
                        (true, Some(_)) => {}
                        (false, _) => acts.push(Act::Commit),
                    }
                }
            }
        }
        acts
    }

    pub(super) fn act(&mut self, act: Act, now: Duration) -> Vec<Effect> {
        match act {
            Act::TakeOver => self.taking(Answer::Unknown),
            Act::Open => self.open(),
            Act::Pull => self.pull(),
            Act::Sweep => self.sweep(),
            Act::Begin => {
                self.handling = self.queue.pop_front();
                if let (true, Some(item)) = (self.is(Bug::PositionEarly), self.handling)
                    && let Some(progress) = &mut self.progress
                {
                    progress.handled(now, item.sequence);
                }
                Vec::new()
            }
            Act::End => self.end(now),
            Act::Commit => {
                self.passed();
                self.write(Hold::Held)
            }
            Act::Release => self.release(),
        }
    }

    fn end(&mut self, now: Duration) -> Vec<Effect> {
        let Some(item) = self.handling.take() else {
            return Vec::new();
        };
        self.intake.handled(1);
        if let Some(progress) = &mut self.progress {
            progress.handled(now, item.sequence);
        }
        let may_repeat = item.sequence <= self.seen_up_to;
        let mut effects = vec![Effect::Handled { item, may_repeat }];
        if self.is(Bug::AcknowledgedEarly) {
            effects.extend(self.acknowledge(item.sequence));
        }
        effects
    }

    fn passed(&mut self) {
        if let (Some(position), Some(progress)) = (self.intake.idle_position(), &mut self.progress)
        {
            progress.passed(position);
        }
    }

    fn write(&mut self, hold: Hold) -> Vec<Effect> {
        let begun = self.progress.as_mut().and_then(|p| p.begin(hold));
        let Some((cursor, expected)) = begun else {
            return Vec::new();
        };
        let partition = self.partition;
        let store = Request::Store {
            partition,
            cursor,
            expected,
        };
        vec![Effect::Ask(Purpose::Writing, store)]
    }

    /// Nothing more is begun: what waits is left to the next owner.
    fn release(&mut self) -> Vec<Effect> {
        self.drop_queue();
        self.reading = Reading::None;
        self.awaited.remove(&Purpose::Reading);
        self.passed();
        self.stage = Stage::Releasing;
        let hold = match &self.progress {
            Some(progress) if !self.is(Bug::ReleasedEarly) => {
                progress.hold_of_release(self.seen_up_to)
            }
            _ => Hold::Released,
        };
        let effects = self.write(hold);
        if effects.is_empty() {
            return self.leave();
        }
        effects
    }

    fn drop_queue(&mut self) {
        if self.is(Bug::DroppedCounts) {
            self.intake.handled(self.queue.len() as u64);
        }
        self.queue.clear();
    }

    fn leave(&mut self) -> Vec<Effect> {
        self.stage = Stage::Ended;
        let mut effects = vec![Effect::Released];
        if self.retention == Retention::WorkQueue && self.count > 0 {
            let delete = Request::Delete(vec![self.consumer_name(self.count)]);
            effects.insert(0, Effect::Ask(Purpose::Acknowledging, delete));
        }
        effects
    }

    /// The ownership is over: a last write, whose answer nobody waits for. The message that was begun, if
    /// any, may have been handled.
    pub(super) fn lose(&mut self) -> (Option<Item>, Vec<Effect>) {
        let begun = self.handling.take();
        let may_write = matches!(self.stage, Stage::Working) && !self.awaits(Purpose::Writing);
        let last = if may_write {
            self.write(Hold::Held)
        } else {
            Vec::new()
        };
        self.stage = Stage::Ended;
        self.awaited.clear();
        (begun, last)
    }

    pub(super) fn answered(
        &mut self,
        purpose: Purpose,
        answer: Answer,
        now: Duration,
    ) -> Vec<Effect> {
        match purpose {
            Purpose::Taking => self.taking(answer),
            Purpose::Writing => self.written(answer, now),
            Purpose::Reading => self.read(answer),
            Purpose::Acknowledging => Vec::new(),
        }
    }

    fn taking(&mut self, answer: Answer) -> Vec<Effect> {
        let Stage::Taking {
            found,
            facts,
            seen,
            sent,
        } = &mut self.stage
        else {
            return Vec::new();
        };
        let partition = self.partition;
        let is_early = self.bug == Some(Bug::StreamFirst);
        if let Answer::Found(cursor) = answer {
            *found = Some(cursor);
        } else if let Answer::Facts(stream) = answer {
            *facts = Some(stream);
        } else if let Answer::Wrote(Wrote::Stored { revision }) = answer {
            let seen_up_to = seen.unwrap_or_default();
            if let Some(cursor) = sent.take() {
                self.work(Progress::new(COMMIT, cursor, revision), seen_up_to);
            }
            return Vec::new();
        } else {
            // Look again: it may be ours.
            (*found, *facts) = (None, None);
        }
        let (cursor, stream) = match (found.take(), facts.take()) {
            (Some(cursor), Some(stream)) => (cursor, stream),
            (cursor, stream) => {
                let has_neither = cursor.is_none() && stream.is_none();
                (*found, *facts) = (cursor, stream);
                // The stream after the cursor: a late owner may have moved it beyond what the stream had.
                let next = if has_neither == is_early {
                    Request::Facts
                } else {
                    Request::Load { partition }
                };
                return vec![Effect::Ask(Purpose::Taking, next)];
            }
        };
        let last = stream.last;
        match take_over(self.owner, cursor, &stream, RULES) {
            TakeOver::Stop(condition) => self.stop(condition),
            TakeOver::Ours { revision, cursor } => {
                let seen_up_to = seen.unwrap_or(last);
                self.work(Progress::new(COMMIT, cursor, revision), seen_up_to);
                Vec::new()
            }
            TakeOver::Write {
                cursor,
                expected,
                seen_up_to,
                ..
            } => {
                *seen = Some(seen_up_to);
                *sent = Some(cursor.clone());
                let store = Request::Store {
                    partition,
                    cursor,
                    expected,
                };
                vec![Effect::Ask(Purpose::Taking, store)]
            }
        }
    }

    fn work(&mut self, progress: Progress, seen_up_to: u64) {
        let position = progress.position();
        self.intake = Intake::new(position);
        self.held = Unacknowledged::new(self.retention, position);
        self.progress = Some(progress);
        self.seen_up_to = seen_up_to;
        self.stage = Stage::Working;
    }

    fn written(&mut self, answer: Answer, now: Duration) -> Vec<Effect> {
        let partition = self.partition;
        let load = Effect::Ask(Purpose::Writing, Request::Load { partition });
        let Some(progress) = &mut self.progress else {
            return Vec::new();
        };
        let is_believed = answer == Answer::Unknown && self.bug == Some(Bug::UnknownIsStored);
        let next = if let Answer::Wrote(wrote @ Wrote::Stored { .. }) = answer {
            progress.answered(wrote)
        } else if let Answer::Found(found) = answer {
            progress.read(now, found)
        } else if is_believed {
            progress.answered(Wrote::Stored { revision: 0 })
        } else {
            // A write that was refused or not answered, or a read that was not: read.
            return vec![load];
        };
        match next {
            Next::Stop(condition) => self.stop(condition),
            Next::GoOn | Next::Read => {
                let committed = progress.committed();
                let mut effects = self.acknowledge(committed);
                if matches!(self.stage, Stage::Releasing) {
                    effects.extend(self.leave());
                }
                effects
            }
        }
    }

    fn acknowledge(&mut self, position: u64) -> Vec<Effect> {
        let due = self.held.committed(position);
        let due = due.into_iter();
        due.map(|(_, request)| Effect::Ask(Purpose::Acknowledging, request))
            .collect()
    }

    /// Something is wrong: a newer owner, which ends this one, or something that is looked at again.
    pub(super) fn stop(&mut self, condition: Condition) -> Vec<Effect> {
        self.drop_queue();
        self.handling = None;
        self.reading = Reading::None;
        self.awaited.clear();
        self.progress = None;
        let is_fenced = matches!(condition, Condition::Fenced { .. });
        self.stage = if is_fenced {
            Stage::Ended
        } else {
            Stage::BEGIN
        };
        // Only the nonce tells two readers of one worker apart.
        self.owner.nonce += 1;
        vec![Effect::Stopped(condition)]
    }
}

//! The reading of one ownership: a reader by limits, else a durable of its own, and what it delivers.
//!
//! It is separate from the lane since it ends and begins again while the lane goes on. What always holds: a
//! consumer that was silent or whose numbers have a gap is replaced by another.

use parti_nats::consume::durable::opening::{Ask, Opening, Step, Told};
use parti_nats::consume::{DurableName, Numbers, Retention, durable};

use super::lane::{Effect, Lane, Purpose};
use super::planted::Bug;
use super::request::{Answer, Item, Request};

/// Where the reading stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    None,
    Opening(Box<Opening>),
    /// A reader is created.
    Creating,
    Open {
        name: String,
        numbers: Numbers,
    },
    /// Lists what late owners have left; the consumer goes on.
    Sweeping {
        name: String,
        numbers: Numbers,
    },
}

/// How many messages a pull asks for.
const BATCH: usize = 3;
const GROUP: &str = "g";

impl Lane {
    pub(super) fn durable_name(&self) -> DurableName {
        DurableName {
            group: GROUP.to_owned(),
            partition: self.partition,
            owner: self.owner,
            count: self.count,
        }
    }

    pub(super) fn consumer_name(&self, count: u64) -> String {
        if self.is(Bug::NameReused) {
            return format!("{GROUP}-{}", self.partition);
        }
        let name = self.durable_name();
        DurableName { count, ..name }.encode()
    }

    pub(super) fn open(&mut self) -> Vec<Effect> {
        if self.retention == Retention::Limits {
            self.count += 1;
            self.reading = Reading::Creating;
            let create = Request::Create {
                name: self.consumer_name(self.count),
                partition: None,
                after: self.intake.delivered(),
            };
            return vec![Effect::Ask(Purpose::Reading, create)];
        }
        self.held.begin();
        let position = self.held.position();
        let opening = Opening::new(self.retention, &self.durable_name(), position);
        self.count = opening.name().count;
        let ask = opening.ask();
        self.reading = Reading::Opening(Box::new(opening));
        self.ask(ask)
    }

    fn ask(&self, ask: Ask) -> Vec<Effect> {
        let request = match ask {
            Ask::List => Request::List,
            Ask::Cursor => Request::Load {
                partition: self.partition,
            },
            // Deleted where only their floor is asked for.
            Ask::Floor(older) if self.is(Bug::InterestEmptied) => Request::Delete(older),
            Ask::Floor(older) => Request::Floor(older),
            Ask::Delete(names) => Request::Delete(names),
            Ask::Create { name, after } => Request::Create {
                name: self.consumer_name(name.count),
                partition: Some(self.partition),
                after,
            },
        };
        vec![Effect::Ask(Purpose::Reading, request)]
    }

    pub(super) fn pull(&self) -> Vec<Effect> {
        let Reading::Open { name, .. } = &self.reading else {
            return Vec::new();
        };
        let (name, batch) = (name.clone(), BATCH);
        vec![Effect::Ask(Purpose::Reading, Request::Pull { name, batch })]
    }

    /// Looks for what late owners have left.
    pub(super) fn sweep(&mut self) -> Vec<Effect> {
        match std::mem::replace(&mut self.reading, Reading::None) {
            Reading::Open { name, numbers } if self.retention != Retention::Limits => {
                self.reading = Reading::Sweeping { name, numbers };
                vec![Effect::Ask(Purpose::Reading, Request::List)]
            }
            other @ (Reading::None
            | Reading::Opening(_)
            | Reading::Creating
            | Reading::Open { .. }
            | Reading::Sweeping { .. }) => {
                self.reading = other;
                Vec::new()
            }
        }
    }

    pub(super) fn read(&mut self, answer: Answer) -> Vec<Effect> {
        match std::mem::replace(&mut self.reading, Reading::None) {
            Reading::Opening(opening) => self.opening(opening, answer),
            Reading::Creating if answer == Answer::Created => {
                self.opened();
                Vec::new()
            }
            Reading::Sweeping { name, numbers } => {
                self.reading = Reading::Open { name, numbers };
                let Answer::Names(names) = answer else {
                    return Vec::new();
                };
                match durable::older(&self.durable_name(), &names) {
                    Ok(older) if older.is_empty() => Vec::new(),
                    Ok(older) => {
                        let delete = Request::Delete(older);
                        vec![Effect::Ask(Purpose::Acknowledging, delete)]
                    }
                    Err(condition) => self.stop(condition),
                }
            }
            Reading::Open { name, numbers } => self.delivered(name, numbers, answer),
            Reading::None | Reading::Creating => Vec::new(),
        }
    }

    fn opened(&mut self) {
        self.reading = Reading::Open {
            name: self.consumer_name(self.count),
            numbers: Numbers::default(),
        };
    }

    fn opening(&mut self, mut opening: Box<Opening>, answer: Answer) -> Vec<Effect> {
        let told = match (answer, opening.ask()) {
            (Answer::Names(names), _) => Told::Names(names),
            (Answer::Found(found), _) => Told::Cursor(found),
            (Answer::Floor(floor), _) => Told::Floor(floor),
            (Answer::Deleted, Ask::Floor(_)) => Told::Floor(None),
            // One that is left is deleted by the next owner.
            (Answer::Deleted | Answer::Unknown, Ask::Delete(_)) => Told::Deleted,
            (Answer::Created, _) => Told::Created,
            (Answer::NotUnique, _) => Told::NotUnique,
            // Another is opened.
            _ => return Vec::new(),
        };
        let step = opening.told(told);
        self.count = opening.name().count;
        match step {
            Step::Ask(ask) => {
                self.reading = Reading::Opening(opening);
                self.ask(ask)
            }
            Step::Opened { .. } => {
                self.opened();
                Vec::new()
            }
            Step::Stop(condition) => self.stop(condition),
            Step::GiveUp => Vec::new(),
        }
    }

    fn delivered(&mut self, name: String, mut numbers: Numbers, answer: Answer) -> Vec<Effect> {
        let is_believed = self.is(Bug::StaleReaderBelieved);
        let messages = if let Answer::Delivered(messages) = answer {
            messages
        } else if is_believed && answer == Answer::Unknown {
            // It was silent, but goes on.
            Vec::new()
        } else {
            return Vec::new();
        };
        let mut taken: Vec<(u64, Item)> = Vec::new();
        let mut is_whole = true;
        for (number, item) in messages {
            if numbers.next(number).is_err() && !is_believed {
                is_whole = false;
                break;
            }
            taken.push((number, item));
        }
        if is_whole {
            let name = name.clone();
            self.reading = Reading::Open { name, numbers };
        }
        let mut effects = Vec::new();
        if self.retention != Retention::Limits {
            let replies = taken.iter().map(|(number, item)| {
                let acknowledge = Request::Acknowledge {
                    name: name.clone(),
                    sequence: item.sequence,
                    number: *number,
                };
                (item.sequence, acknowledge)
            });
            let again = self.held.delivered(replies);
            let again = again.into_iter();
            effects.extend(again.map(|request| Effect::Ask(Purpose::Acknowledging, request)));
        }
        self.take(&taken);
        effects
    }

    fn take(&mut self, taken: &[(u64, Item)]) {
        let known = self.intake.delivered();
        let is_believed = self.is(Bug::RepeatsBelieved);
        let news = taken.iter().map(|(_, item)| *item).filter(|item| {
            let is_ours = item.partition == self.partition;
            is_ours && (is_believed || item.sequence > known)
        });
        let news: Vec<Item> = news.collect();
        if let Some(last) = news.last() {
            self.intake.put(news.len() as u64, last.sequence);
        }
        self.queue.extend(news);
        if let Some((_, last)) = taken.last() {
            self.intake.pass(last.sequence);
        }
    }
}

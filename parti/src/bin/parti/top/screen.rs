//! What the screen is at: which worker is selected, whether one is looked into, and what happened.
//!
//! It is separate because keys and changes are decided without a terminal.

use std::collections::VecDeque;

use parti::directory::{Change, SessionState, Verb, View, WorkerView};
use parti_core::{AuditEntry, Version, WorkerId};

/// So many lines of what happened are kept.
const KEPT: usize = 200;

/// A key that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    Enter,
    Back,
    Colours,
    /// Something is to be done, to the selected worker if it is about one.
    Verb(Verb),
    Yes,
    Nothing,
    Quit,
}

/// What follows from a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Draw,
    /// It is to be found out what this would move.
    Prepare(Verb, Option<WorkerId>),
    /// What was asked about is to be done.
    CarryOut,
    Quit,
}

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Focus {
    Group,
    /// One worker and its partitions, from this line on.
    Worker(WorkerId, usize),
}

/// The state of the screen.
#[derive(Clone, Debug)]
pub(super) struct Screen {
    pub(super) group: String,
    pub(super) colours: bool,
    pub(super) focus: Focus,
    /// The selected line among the workers.
    pub(super) selected: usize,
    /// What happened, oldest first.
    pub(super) log: VecDeque<String>,
    /// What is asked about: what it is, and what it would move.
    pub(super) question: Option<(String, String)>,
    told: Version,
}

impl Screen {
    pub(super) fn new(group: String, colours: bool) -> Self {
        Self {
            group,
            colours,
            focus: Focus::Group,
            selected: 0,
            log: VecDeque::new(),
            question: None,
            told: Version::ZERO,
        }
    }

    /// A key was pressed.
    pub(super) fn press(&mut self, key: Key, view: &View) -> Next {
        if self.question.take().is_some() {
            // Every other key is a no.
            return if key == Key::Yes {
                Next::CarryOut
            } else {
                Next::Draw
            };
        }
        let shown = workers(view);
        let last = shown.len().saturating_sub(1);
        match (key, &mut self.focus) {
            (Key::Quit, _) => return Next::Quit,
            (Key::Colours, _) => self.colours = !self.colours,
            (Key::Up, Focus::Group) => self.selected = self.selected.min(last).saturating_sub(1),
            (Key::Down, Focus::Group) => self.selected = (self.selected + 1).min(last),
            (Key::Enter, Focus::Group) => {
                if let Some(worker) = shown.get(self.selected.min(last)) {
                    self.focus = Focus::Worker(worker.worker.clone(), 0);
                }
            }
            (Key::Up, Focus::Worker(_, line)) => *line = line.saturating_sub(1),
            (Key::Down, Focus::Worker(_, line)) => *line += 1,
            (Key::Back, Focus::Worker(..)) => self.focus = Focus::Group,
            (Key::Verb(verb), focus) => {
                let selected = match focus {
                    Focus::Group => shown
                        .get(self.selected.min(last))
                        .map(|it| it.worker.clone()),
                    Focus::Worker(worker, _) => Some(worker.clone()),
                };
                let about_one = matches!(verb, Verb::Drain | Verb::Cordon);
                return Next::Prepare(verb, selected.filter(|_| about_one));
            }
            (Key::Back, Focus::Group) | (Key::Enter, Focus::Worker(..)) => {}
            (Key::Nothing | Key::Yes, _) => {}
        }
        Next::Draw
    }

    /// Something is to stand in the log.
    pub(super) fn say(&mut self, line: String) {
        self.log.push_back(line);
        while self.log.len() > KEPT {
            self.log.pop_front();
        }
    }

    /// Something changed. Owners are not told one by one: their generation tells of them.
    pub(super) fn tell(&mut self, change: &Change) {
        match change {
            Change::Leader { term, leader } => {
                let leader = leader.as_ref().map_or("nobody", |leader| leader.as_str());
                self.say(format!("{leader} leads, term {term}"));
            }
            Change::Worker { worker, living } => {
                let what = if *living { "is there" } else { "has gone" };
                self.say(format!("{worker} {what}"));
            }
            Change::Lost(loss) => self.say(format!("the history was lost: {loss}")),
            Change::Owner { .. } | _ => {}
        }
    }

    /// The last generations of the ring that have not been told.
    pub(super) fn generations(&mut self, view: &View) {
        self.generations_of(&view.generations);
    }

    pub(super) fn generations_of(&mut self, entries: &[AuditEntry]) {
        let before = self.told;
        for entry in entries.iter().filter(|entry| entry.version > before) {
            self.told = self.told.max(entry.version);
            self.say(entry.to_string());
        }
    }
}

/// The workers that are shown: who lives, and who still has something.
pub(super) fn workers(view: &View) -> Vec<&WorkerView> {
    let lives = |state| matches!(state, SessionState::Known(status) if status.is_living());
    let shown = view.workers.iter();
    shown
        .filter(|worker| lives(worker.state) || worker.granted > 0)
        .collect()
}

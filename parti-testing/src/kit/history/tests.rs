//! Histories that a correct store cannot produce are found, each by the rule about it; those that
//! it can produce are accepted.

use parti_core::Expect;

use super::*;

/// A history in short words; every call happens after the one before it.
#[derive(Default)]
struct Tale {
    history: History,
    tick: Tick,
}

const UNKNOWN: Result<Vec<Revision>, StoreErrorKind> = Err(StoreErrorKind::Unknown);

fn at(revisions: &[u64]) -> Result<Vec<Revision>, StoreErrorKind> {
    Ok(revisions.iter().copied().map(Revision::new).collect())
}

/// `key=nonce` or `key-` for a tombstone.
fn write(text: &str, expect: Expect) -> Write {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.as_bytes().to_vec())),
        None => (text.trim_end_matches('-'), None),
    };
    Write {
        key: key.to_owned(),
        value,
        expect,
    }
}

fn entry(text: &str, revision: u64) -> Entry {
    let Write { key, value, .. } = write(text, Expect::Any);
    Entry {
        at_ms: 0,
        key,
        revision: Revision::new(revision),
        value,
    }
}

fn expecting(revision: u64) -> Expect {
    Expect::Revision(Revision::new(revision))
}

fn shown(text: &str, revision: u64) -> WatchEvent {
    WatchEvent::Entry(entry(text, revision))
}

const fn mark(revision: u64) -> WatchEvent {
    WatchEvent::CaughtUp {
        revision: Revision::new(revision),
    }
}

fn lost() -> WatchEvent {
    let reason = "cut".to_owned();
    WatchEvent::Lost { reason }
}

impl Tale {
    fn next(&mut self) -> Tick {
        self.tick += 1;
        self.tick
    }

    fn commit(
        &mut self,
        writes: Vec<Write>,
        outcome: Result<Vec<Revision>, StoreErrorKind>,
    ) -> &mut Self {
        let (start, end) = (self.next(), self.next());
        self.history.commits.push(CommitRecord {
            start,
            end,
            writes,
            outcome,
        });
        self
    }

    fn put(&mut self, text: &str, expect: Expect, revision: u64) -> &mut Self {
        self.commit(vec![write(text, expect)], at(&[revision]))
    }

    fn read(&mut self, answer: Answer) -> &mut Self {
        let (start, end) = (self.next(), self.next());
        self.history.reads.push(ReadRecord { start, end, answer });
        self
    }

    fn get(&mut self, key: &str, entry: Option<Entry>) -> &mut Self {
        let key = key.to_owned();
        self.read(Answer::Entry { key, entry })
    }

    fn list(&mut self, entries: Vec<Entry>, revision: u64) -> &mut Self {
        self.read(Answer::Entries {
            prefix: String::new(),
            entries,
            last_revision: Revision::new(revision),
        })
    }

    fn watch(&mut self, events: Vec<WatchEvent>) -> &mut Self {
        let start = self.next();
        let events = events.into_iter().map(|event| (self.next(), event));
        let events = events.collect();
        self.history.watches.push(WatchRecord {
            start,
            scope: WatchScope::All,
            events,
        });
        self
    }

    /// All that a store can promise.
    fn strictly(&self) -> Vec<BrokenRule> {
        let (reads, batches) = (Reads::Fresh, Batches::Consecutive);
        check(&self.history, Promise { reads, batches })
    }

    fn rules(&self, promise: Promise) -> Vec<Rule> {
        let violations = check(&self.history, promise);
        violations.iter().map(|violation| violation.rule).collect()
    }
}

/// A checker that rejects good stores is switched off by the developers it annoys.
#[test]
fn what_a_correct_store_does_is_accepted() {
    let mut tale = Tale::default();
    tale.put("a=1", Expect::Absent, 1)
        .put("a=2", expecting(1), 2)
        .commit(
            vec![write("a=x", expecting(1))],
            Err(StoreErrorKind::Refused),
        )
        .commit(
            vec![write("a=y", expecting(2))],
            Err(StoreErrorKind::Refused),
        )
        .commit(
            vec![write("a-", expecting(2)), write("b=3", Expect::Absent)],
            at(&[3, 4]),
        )
        .get("a", Some(entry("a-", 3)))
        .get("a", None)
        .get("b", Some(entry("b=3", 4)))
        .list(vec![entry("b=3", 4)], 4)
        .watch(vec![shown("b=3", 4), mark(4)])
        .put("a=5", Expect::Absent, 5);
    assert_eq!(tale.strictly(), []);
}

/// Faults make outcomes unknown; each way in which they can end is allowed.
#[test]
fn every_end_of_an_unknown_commit_is_accepted() {
    let start = |tale: &mut Tale| {
        tale.put("a=1", Expect::Absent, 1);
        tale.commit(vec![write("a=2", expecting(1))], UNKNOWN);
        tale.commit(vec![write("b-", Expect::Any)], UNKNOWN);
    };
    let mut never = Tale::default();
    start(&mut never);
    never
        .put("a=3", expecting(1), 2)
        .list(vec![entry("a=3", 2)], 2);
    assert_eq!(never.strictly(), []);
    let mut late = Tale::default();
    start(&mut late);
    late.get("a", Some(entry("a=1", 1)))
        .watch(vec![
            shown("a=1", 1),
            mark(1),
            shown("a=2", 2),
            shown("b-", 3),
        ])
        .put("a=3", expecting(2), 4);
    assert_eq!(late.strictly(), []);
    // A deletion that nobody saw lets a second creation succeed.
    let mut hidden = Tale::default();
    hidden
        .put("a=1", Expect::Absent, 1)
        .commit(vec![write("a-", expecting(1))], UNKNOWN)
        .put("a=2", Expect::Absent, 3);
    assert_eq!(hidden.strictly(), []);
}

/// Deletions have no nonce: of several whose outcome is unknown, one that fits must be taken.
#[test]
fn a_deletion_is_taken_for_one_that_was_allowed_to_happen() {
    let start = |tale: &mut Tale| {
        tale.put("a=1", Expect::Absent, 1)
            .put("a=2", expecting(1), 2);
        tale.commit(vec![write("a-", expecting(1))], UNKNOWN);
    };
    let mut fitting = Tale::default();
    start(&mut fitting);
    fitting
        .commit(vec![write("a-", Expect::Any)], UNKNOWN)
        .commit(vec![write("a-", expecting(2))], UNKNOWN)
        .get("a", Some(entry("a-", 3)));
    assert_eq!(fitting.strictly(), []);
    let mut stale = Tale::default();
    start(&mut stale);
    stale.get("a", Some(entry("a-", 3)));
    assert_eq!(stale.rules(Promise::default()), [Rule::ExpectationBroken]);
}

/// Watches may skip what was replaced, repeat what was shown, and end.
#[test]
fn what_a_watch_may_do_is_accepted() {
    let mut tale = Tale::default();
    tale.put("a=1", Expect::Any, 1)
        .put("b=1", Expect::Any, 2)
        .put("a=2", Expect::Any, 3)
        .put("a=3", Expect::Any, 4)
        .watch(vec![
            shown("b=1", 2),
            shown("a=3", 4),
            mark(2),
            shown("a=3", 4),
        ])
        .watch(vec![
            mark(0),
            shown("b=1", 2),
            shown("a=3", 4),
            shown("b=1", 2),
        ])
        .watch(vec![shown("b=1", 2), lost(), lost()])
        .watch(vec![shown("a=3", 4), shown("b=1", 2), mark(4)]);
    assert_eq!(tale.strictly(), []);
}

/// A stale read is within the port, and outside of what a single server promises.
#[test]
fn a_stale_read_is_found_only_where_fresh_ones_are_promised() {
    let tales: [fn(&mut Tale); 4] = [
        |tale| {
            tale.get("a", Some(entry("a=1", 1)));
        },
        |tale| {
            tale.get("a", None);
        },
        |tale| {
            tale.list(vec![entry("a=1", 1)], 1);
        },
        |tale| {
            let last_revision = Revision::new(1);
            let created = 7;
            tale.read(Answer::Info {
                created,
                last_revision,
            });
        },
    ];
    for (number, read) in tales.into_iter().enumerate() {
        let mut tale = Tale::default();
        tale.put("a=1", Expect::Any, 1).put("a=2", Expect::Any, 2);
        read(&mut tale);
        assert_eq!(tale.rules(Promise::default()), [], "{number}");
        let reads = Reads::Fresh;
        let promise = Promise {
            reads,
            ..Promise::default()
        };
        assert_eq!(tale.rules(promise), [Rule::Stale], "{number}");
    }
}

/// A way in which a store can be wrong, the rule that must find it, and how it shows.
type Illegal = (&'static str, Rule, fn(&mut Tale));

const WRITES: &[Illegal] = &[
    ("a lost update", Rule::ExpectationBroken, |tale| {
        tale.put("a=1", Expect::Any, 1)
            .put("a=2", expecting(1), 2)
            .put("a=3", expecting(1), 3);
    }),
    ("a second creation", Rule::ExpectationBroken, |tale| {
        tale.put("a=1", Expect::Absent, 1)
            .put("a=2", Expect::Absent, 2);
    }),
    (
        "a stale success found by its nonce",
        Rule::ExpectationBroken,
        |tale| {
            tale.put("a=1", Expect::Any, 1)
                .put("a=2", Expect::Any, 2)
                .commit(vec![write("a=3", expecting(1))], UNKNOWN)
                .get("a", Some(entry("a=3", 3)));
        },
    ),
    ("revisions that fall", Rule::OutOfOrder, |tale| {
        tale.put("a=1", Expect::Any, 2).put("b=1", Expect::Any, 1);
    }),
    ("a revision given twice", Rule::RevisionTwice, |tale| {
        tale.put("a=1", Expect::Any, 1).put("b=1", Expect::Any, 1);
    }),
    ("a write applied twice", Rule::WriteTwice, |tale| {
        tale.put("a=1", Expect::Any, 1)
            .get("a", Some(entry("a=1", 2)));
    }),
    (
        "a refused write that is there",
        Rule::FailedButWritten,
        |tale| {
            let refused = Err(StoreErrorKind::Refused);
            tale.commit(vec![write("a=1", Expect::Any)], refused)
                .get("a", Some(entry("a=1", 1)));
        },
    ),
    (
        "a write that was not sent and is there",
        Rule::FailedButWritten,
        |tale| {
            let unavailable = Err(StoreErrorKind::Unavailable);
            tale.commit(vec![write("a=1", Expect::Any)], unavailable)
                .watch(vec![shown("a=1", 1), mark(1)]);
        },
    ),
    ("an invented value", Rule::NeverWritten, |tale| {
        tale.get("a", Some(entry("a=1", 1)));
    }),
    ("an invented deletion", Rule::NeverWritten, |tale| {
        tale.put("a=1", Expect::Any, 1)
            .get("a", Some(entry("a-", 2)));
    }),
    ("a value under another key", Rule::NeverWritten, |tale| {
        tale.put("a=1", Expect::Any, 1)
            .get("b", Some(entry("b=1", 1)));
    }),
    ("a value from the future", Rule::OutOfOrder, |tale| {
        tale.get("a", Some(entry("a=1", 1)))
            .put("a=1", Expect::Any, 1);
    }),
];

const READS: &[Illegal] = &[
    ("a commit with too few revisions", Rule::BadBatch, |tale| {
        let writes = vec![write("a=1", Expect::Any), write("b=1", Expect::Any)];
        tale.commit(writes, at(&[1]));
    }),
    ("a torn batch", Rule::ListIncomplete, |tale| {
        let writes = vec![write("a=1", Expect::Any), write("b=2", Expect::Any)];
        tale.commit(writes, UNKNOWN).list(vec![entry("a=1", 1)], 2);
    }),
    ("a list without an old key", Rule::ListIncomplete, |tale| {
        tale.put("a=1", Expect::Any, 1)
            .put("b=1", Expect::Any, 2)
            .list(vec![entry("b=1", 2)], 2);
    }),
    (
        "a list with a value that was replaced",
        Rule::ListIncomplete,
        |tale| {
            tale.put("a=1", Expect::Any, 1)
                .put("a=2", Expect::Any, 2)
                .list(vec![entry("a=1", 1)], 2);
        },
    ),
    (
        "a list with a key that was deleted",
        Rule::ListIncomplete,
        |tale| {
            tale.put("a=1", Expect::Any, 1)
                .put("a-", Expect::Any, 2)
                .list(vec![entry("a=1", 1)], 2);
        },
    ),
];

const WATCHES: &[Illegal] = &[
    (
        "a mark without a present key",
        Rule::MarkIncomplete,
        |tale| {
            tale.put("a=1", Expect::Any, 1).watch(vec![mark(1)]);
        },
    ),
    ("a gap without lost", Rule::WatchGap, |tale| {
        tale.put("a=1", Expect::Any, 1)
            .put("b=1", Expect::Any, 2)
            .watch(vec![mark(0), shown("b=1", 2)]);
    }),
    ("a deletion that is not shown", Rule::WatchGap, |tale| {
        tale.put("a=1", Expect::Any, 1)
            .put("a-", Expect::Any, 2)
            .put("b=1", Expect::Any, 3)
            .watch(vec![mark(0), shown("a=1", 1), shown("b=1", 3)]);
    }),
    ("changes in the wrong order", Rule::WatchOrder, |tale| {
        tale.put("a=1", Expect::Any, 1)
            .put("a=2", Expect::Any, 2)
            .watch(vec![mark(0), shown("a=2", 2), shown("a=1", 1)]);
    }),
    ("keys in the wrong order", Rule::WatchOrder, |tale| {
        tale.put("a=1", Expect::Any, 1)
            .put("b=1", Expect::Any, 2)
            .put("a=2", Expect::Any, 3)
            .watch(vec![mark(0), shown("b=1", 2), shown("a=1", 1)]);
    }),
    ("two marks", Rule::WatchForm, |tale| {
        tale.watch(vec![mark(0), mark(0)]);
    }),
    ("an event after the end", Rule::WatchForm, |tale| {
        tale.put("a=1", Expect::Any, 1)
            .watch(vec![mark(0), lost(), shown("a=1", 1)]);
    }),
    ("another history", Rule::AnotherHistory, |tale| {
        for created in [1, 2] {
            let last_revision = Revision::ZERO;
            tale.read(Answer::Info {
                created,
                last_revision,
            });
        }
    }),
];

/// A checker that cannot reject proves nothing: each kind of wrong store is found by its rule.
#[test]
fn each_illegal_history_is_rejected_by_the_rule_about_it() {
    let all = [WRITES, READS, WATCHES].concat();
    for (name, rule, tell) in all {
        let mut tale = Tale::default();
        tell(&mut tale);
        let found = tale.strictly();
        assert!(
            found.iter().any(|violation| violation.rule == rule),
            "{name}: {found:?}"
        );
    }
}

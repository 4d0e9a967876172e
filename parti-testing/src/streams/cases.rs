//! What a stream answers, question by question: held by the one in memory and by a real server.
//!
//! It is separate so that both are asked the very same. What always holds: each case begins with an empty
//! stream and no cursors; names and numbers in it are those that both give.

use parti_nats::consume::{Cursor, Found, Hold, Owner, Retention, Wrote};

use super::request::{Answer, Item, Request};
use super::server::Release;

/// Questions to one stream, each with its answer.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it shows.
    pub name: &'static str,
    /// How the stream keeps its messages.
    pub retention: Retention,
    /// The questions, in order.
    pub steps: Vec<(Request, Answer)>,
}

/// All cases.
#[must_use]
pub fn all(release: Release) -> Vec<Case> {
    vec![
        cursors(),
        readers(),
        queue_is_exclusive(),
        queue_returns_what_was_not_acknowledged(),
        interest_drops_what_nobody_wants(),
        interest_is_kept_by_the_newer(),
        interest_begins_behind(release),
        names_are_not_taken_twice(),
    ]
}

fn publish(partition: u32, number: u64, sequence: u64) -> (Request, Answer) {
    let publish = Request::Publish { partition, number };
    (publish, Answer::Published(sequence))
}

fn create(name: &str, partition: impl Into<Option<u32>>, after: u64) -> Request {
    Request::Create {
        name: name.to_owned(),
        partition: partition.into(),
        after,
    }
}

fn pull(name: &str, batch: usize) -> Request {
    let name = name.to_owned();
    Request::Pull { name, batch }
}

fn delete(name: &str) -> (Request, Answer) {
    (Request::Delete(vec![name.to_owned()]), Answer::Deleted)
}

fn acknowledge(name: &str, sequence: u64, number: u64) -> Request {
    Request::Acknowledge {
        name: name.to_owned(),
        sequence,
        number,
    }
}

const fn item(sequence: u64, partition: u32, number: u64) -> Item {
    Item {
        sequence,
        partition,
        number,
    }
}

fn delivered(items: impl IntoIterator<Item = (u64, Item)>) -> Answer {
    Answer::Delivered(items.into_iter().collect())
}

fn contents(items: impl IntoIterator<Item = Item>) -> (Request, Answer) {
    let items = items.into_iter().collect();
    (Request::Contents, Answer::Contents(items))
}

fn cursors() -> Case {
    let cursor = |token, position| Cursor {
        owner: Owner { token, nonce: 9 },
        hold: Hold::Held,
        position,
        stream_created: "monday".to_owned(),
    };
    let store = |cursor, expected| Request::Store {
        partition: 3,
        cursor,
        expected,
    };
    let load = || Request::Load { partition: 3 };
    let stored = |revision| Answer::Wrote(Wrote::Stored { revision });
    let found = |revision, cursor| Answer::Found(Found::Cursor { revision, cursor });
    Case {
        name: "a cursor is changed under its revision only",
        retention: Retention::Limits,
        steps: vec![
            (load(), Answer::Found(Found::Never)),
            (store(cursor(1, 5), 0), stored(1)),
            (store(cursor(2, 5), 0), Answer::Wrote(Wrote::Refused)),
            (store(cursor(2, 5), 1), stored(2)),
            (store(cursor(1, 6), 1), Answer::Wrote(Wrote::Refused)),
            (load(), found(2, cursor(2, 5))),
        ],
    }
}

fn readers() -> Case {
    Case {
        name: "a reader delivers what comes after its position, numbered from one, and removes nothing",
        retention: Retention::Limits,
        steps: vec![
            publish(0, 0, 1),
            publish(1, 0, 2),
            publish(0, 1, 3),
            (create("r1", None, 1), Answer::Created),
            (pull("r1", 1), delivered([(1, item(2, 1, 0))])),
            (pull("r1", 5), delivered([(2, item(3, 0, 1))])),
            (pull("r1", 5), delivered([])),
            (create("r2", 0, 0), Answer::Created),
            (
                pull("r2", 5),
                delivered([(1, item(1, 0, 0)), (2, item(3, 0, 1))]),
            ),
            delete("r1"),
            (pull("r1", 1), Answer::Gone),
            contents([item(1, 0, 0), item(2, 1, 0), item(3, 0, 1)]),
        ],
    }
}

fn queue_is_exclusive() -> Case {
    Case {
        name: "a work queue has one consumer for a partition",
        retention: Retention::WorkQueue,
        steps: vec![
            (create("a", 0, 0), Answer::Created),
            (create("b", 0, 0), Answer::NotUnique),
            (create("c", 1, 0), Answer::Created),
            (
                Request::List,
                Answer::Names(vec!["a".to_owned(), "c".to_owned()]),
            ),
            delete("a"),
            (create("b", 0, 0), Answer::Created),
        ],
    }
}

fn queue_returns_what_was_not_acknowledged() -> Case {
    Case {
        name: "a work queue gives the next consumer what was not acknowledged, in order and at once",
        retention: Retention::WorkQueue,
        steps: vec![
            publish(0, 0, 1),
            publish(0, 1, 2),
            publish(0, 2, 3),
            (create("a", 0, 0), Answer::Created),
            (
                pull("a", 5),
                delivered([(1, item(1, 0, 0)), (2, item(2, 0, 1)), (3, item(3, 0, 2))]),
            ),
            (acknowledge("a", 2, 2), Answer::Acknowledged),
            contents([item(1, 0, 0), item(3, 0, 2)]),
            delete("a"),
            (acknowledge("a", 1, 1), Answer::Gone),
            contents([item(1, 0, 0), item(3, 0, 2)]),
            publish(0, 3, 4),
            (create("b", 0, 0), Answer::Created),
            (
                pull("b", 5),
                delivered([(1, item(1, 0, 0)), (2, item(3, 0, 2)), (3, item(4, 0, 3))]),
            ),
        ],
    }
}

fn interest_drops_what_nobody_wants() -> Case {
    Case {
        name: "by interest, what no consumer wants is not kept, and its sequence is used",
        retention: Retention::Interest,
        steps: vec![
            publish(0, 0, 1),
            (create("a", 0, 1), Answer::Created),
            publish(0, 1, 2),
            publish(1, 0, 3),
            contents([item(2, 0, 1)]),
            (pull("a", 5), delivered([(1, item(2, 0, 1))])),
            delete("a"),
            contents([]),
        ],
    }
}

fn interest_is_kept_by_the_newer() -> Case {
    let floor = |name: &str, floor| {
        let floors = Request::Floor(vec![name.to_owned()]);
        (floors, Answer::Floor(floor))
    };
    Case {
        name: "by interest, a newer consumer keeps what the older one held and did not acknowledge",
        retention: Retention::Interest,
        steps: vec![
            (create("a", 0, 0), Answer::Created),
            publish(0, 0, 1),
            publish(0, 1, 2),
            publish(0, 2, 3),
            (
                pull("a", 2),
                delivered([(1, item(1, 0, 0)), (2, item(2, 0, 1))]),
            ),
            floor("a", Some(0)),
            (acknowledge("a", 1, 1), Answer::Acknowledged),
            contents([item(2, 0, 1), item(3, 0, 2)]),
            floor("a", Some(1)),
            (create("b", 0, 1), Answer::Created),
            floor("b", Some(1)),
            floor("gone", None),
            delete("a"),
            contents([item(2, 0, 1), item(3, 0, 2)]),
            (
                pull("b", 5),
                delivered([(1, item(2, 0, 1)), (2, item(3, 0, 2))]),
            ),
            (acknowledge("b", 3, 2), Answer::Acknowledged),
            contents([]),
        ],
    }
}

fn interest_begins_behind(release: Release) -> Case {
    let skipped = match release {
        Release::Before214 => vec![item(1, 0, 0)],
        Release::Since214 => vec![],
    };
    let left = skipped.into_iter().chain([item(2, 0, 1)]);
    Case {
        name: "by interest, a consumer that begins behind what another holds",
        retention: Retention::Interest,
        steps: vec![
            (create("a", 0, 0), Answer::Created),
            publish(0, 0, 1),
            publish(0, 1, 2),
            (create("b", 0, 1), Answer::Created),
            delete("a"),
            contents(left),
            (pull("b", 5), delivered([(1, item(2, 0, 1))])),
        ],
    }
}

fn names_are_not_taken_twice() -> Case {
    Case {
        name: "a name that is taken gives its old consumer, with what is in flight there",
        retention: Retention::WorkQueue,
        steps: vec![
            publish(0, 0, 1),
            publish(0, 1, 2),
            (create("a", 0, 0), Answer::Created),
            (pull("a", 1), delivered([(1, item(1, 0, 0))])),
            (create("a", 0, 0), Answer::Created),
            (pull("a", 5), delivered([(2, item(2, 0, 1))])),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::FakeStream;

    /// A stream in memory that is kinder than the real one hides what production meets.
    #[test]
    fn the_stream_in_memory_answers_every_case() {
        for release in [Release::Before214, Release::Since214] {
            for case in all(release) {
                let mut stream = FakeStream::new(case.retention, release);
                for (index, (request, wanted)) in case.steps.into_iter().enumerate() {
                    let answer = stream.serve(request.clone());
                    assert_eq!(answer, wanted, "{}, step {index}: {request:?}", case.name);
                }
            }
        }
    }
}

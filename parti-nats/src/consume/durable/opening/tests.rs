//! Openings, question by question.

use super::*;
use crate::consume::cursor::{Cursor, Hold, Owner};

fn me() -> DurableName {
    DurableName {
        group: "g".to_owned(),
        partition: 1,
        owner: Owner { token: 5, nonce: 9 },
        count: 0,
    }
}

fn older_name() -> String {
    let owner = Owner { token: 4, nonce: 8 };
    DurableName { owner, ..me() }.encode()
}

fn cursor_of(token: u64, nonce: u64) -> Told {
    let cursor = Cursor {
        owner: Owner { token, nonce },
        hold: Hold::Held,
        position: 7,
        stream_created: String::new(),
    };
    Told::Cursor(Found::Cursor {
        revision: 3,
        cursor,
    })
}

fn ours() -> Told {
    cursor_of(5, 9)
}

fn names() -> Told {
    Told::Names(vec![older_name()])
}

/// Tells the answers one after another; the last step.
fn run(retention: Retention, answers: impl IntoIterator<Item = Told>) -> Vec<Step> {
    let mut opening = Opening::new(retention, &me(), 7);
    assert_eq!(opening.ask(), Ask::List);
    answers.into_iter().map(|told| opening.told(told)).collect()
}

fn create(count: u64, after: u64) -> Step {
    let name = DurableName { count, ..me() };
    Step::Ask(Ask::Create { name, after })
}

/// By interest, what nobody is interested in is dropped at once: a moment without a durable loses it.
#[test]
fn by_interest_the_older_durable_goes_last_and_its_floor_is_where_the_newer_begins() {
    let answers = [
        names(),
        Told::Floor(Some(3)),
        Told::Created,
        ours(),
        Told::Deleted,
    ];
    let older = vec![older_name()];
    let (after, is_first) = (3, false);
    let wanted = [
        Step::Ask(Ask::Floor(older.clone())),
        create(1, 3),
        Step::Ask(Ask::Cursor),
        Step::Ask(Ask::Delete(older)),
        Step::Opened { after, is_first },
    ];
    assert_eq!(run(Retention::Interest, answers), wanted);
}

/// A floor beyond the position would leave out what was acknowledged and is not known to be handled.
#[test]
fn a_newer_durable_never_begins_after_the_position() {
    for floor in [Some(9), None] {
        let steps = run(Retention::Interest, [names(), Told::Floor(floor)]);
        assert_eq!(steps.last(), Some(&create(1, 7)), "{floor:?}");
    }
}

/// A work queue refuses a second consumer for a subject.
#[test]
fn a_queues_older_durable_goes_first_once_the_cursor_is_known_to_be_ours() {
    let answers = [names(), ours(), Told::Deleted, Told::Created, ours()];
    let (after, is_first) = (7, false);
    let wanted = [
        Step::Ask(Ask::Cursor),
        Step::Ask(Ask::Delete(vec![older_name()])),
        create(1, 7),
        Step::Ask(Ask::Cursor),
        Step::Opened { after, is_first },
    ];
    assert_eq!(run(Retention::WorkQueue, answers), wanted);
}

/// An owner that was stopped and goes on must delete nothing of its successor, and leave nothing behind.
#[test]
fn an_owner_whose_cursor_is_taken_deletes_what_it_created_and_nothing_else() {
    let fenced = Condition::Fenced { ours: 5, found: 6 };
    let early = run(Retention::WorkQueue, [names(), cursor_of(6, 1)]);
    assert_eq!(early.last(), Some(&Step::Stop(fenced.clone())));
    for retention in [Retention::WorkQueue, Retention::Interest] {
        let to_creation = match retention {
            Retention::WorkQueue => vec![names(), ours(), Told::Deleted],
            Retention::Limits | Retention::Interest => vec![names(), Told::Floor(None)],
        };
        let late = [Told::Created, cursor_of(6, 1), Told::Deleted];
        let steps = run(retention, to_creation.into_iter().chain(late));
        let own = DurableName { count: 1, ..me() }.encode();
        let wanted = [
            Step::Ask(Ask::Delete(vec![own])),
            Step::Stop(fenced.clone()),
        ];
        assert_eq!(steps[steps.len() - 2..], wanted, "{retention:?}");
    }
    // The same token and another nonce: a later reader of the same worker.
    let sibling = run(Retention::WorkQueue, [names(), cursor_of(5, 8)]);
    let fenced = Condition::Fenced { ours: 5, found: 5 };
    assert_eq!(sibling.last(), Some(&Step::Stop(fenced)));
}

/// Acknowledgements carry only the consumer's name: one that was refused is not used again.
#[test]
fn a_name_that_was_refused_is_not_used_again_and_trying_ends() {
    let round = || [names(), ours(), Told::Deleted, Told::NotUnique];
    let steps = run(Retention::WorkQueue, (0..TRIES).flat_map(|_| round()));
    let count = u64::from(TRIES);
    assert!(steps.contains(&create(1, 7)) && steps.contains(&create(count, 7)));
    assert_eq!(steps.last(), Some(&Step::GiveUp));
    // An answer to another question changes nothing.
    let steps = run(Retention::WorkQueue, [Told::Created, names()]);
    assert_eq!(steps, [Step::Ask(Ask::List), Step::Ask(Ask::Cursor)]);
}

//! Tables of a caller's decisions: what it sees and hears, and what it does next.

use super::*;

const MS: Duration = Duration::from_millis(1);

fn key() -> PartitionKey {
    PartitionKey::new(["p"]).expect("valid")
}

fn endpoint(name: &str) -> Endpoint {
    Endpoint::new(name).expect("valid")
}

fn owner(name: &str, token: u64) -> Seen {
    Seen::Owner {
        worker: WorkerId::numbered("w", 1).expect("valid"),
        endpoint: Some(endpoint(name)),
        token: Token::new(token),
    }
}

fn candidate(name: &str, token: u64) -> Candidate {
    Candidate {
        endpoint: endpoint(name),
        token: Token::new(token),
    }
}

fn limits() -> Limits {
    Limits::default()
        .within(1000 * MS)
        .attempt(400 * MS)
        .tries(3)
}

fn course(limits: Limits) -> Course {
    Course::new(key(), limits)
}

fn over(token: u64, owner: Option<Candidate>) -> Result<Reply, NotAnswered> {
    let owner = owner.map(|owner| parti_nats::route::KnownOwner {
        endpoint: owner.endpoint,
        token: owner.token,
    });
    let token = Token::new(token);
    Ok(Reply::Refused(Refusal::Over { token, owner }))
}

fn silence() -> Result<Reply, NotAnswered> {
    Err(NotAnswered::Silence("no answer".to_owned()))
}

fn interrupted() -> Result<Reply, NotAnswered> {
    let token = Token::new(5);
    Ok(Reply::Interrupted { token })
}

/// Whom the course asks, if anyone.
fn asks(course: &Course, elapsed: Duration, seen: &Seen) -> Option<(String, u64)> {
    match course.next(elapsed, seen) {
        Next::Ask { candidate, .. } => {
            Some((candidate.endpoint.to_string(), candidate.token.get()))
        }
        Next::Wait(_) | Next::GiveUp(_) => None,
    }
}

fn again(pause: Duration) -> Then {
    Then::GoOn { pause }
}

/// A caller that asks any owner it happens to know goes to the old owner for as long as its view is behind.
#[test]
fn the_owner_with_the_largest_token_that_is_not_over_is_asked() {
    type Case = (
        &'static str,
        Seen,
        Option<(u64, Option<Candidate>)>,
        Option<(&'static str, u64)>,
    );
    let cases: [Case; 8] = [
        ("known", owner("a", 5), None, Some(("a", 5))),
        ("nobody", Seen::Nobody, None, None),
        ("unread", Seen::Unread, None, None),
        (
            "over and nothing newer",
            owner("a", 5),
            Some((5, None)),
            None,
        ),
        (
            "over and the view went on",
            owner("b", 9),
            Some((5, None)),
            Some(("b", 9)),
        ),
        (
            "named",
            owner("a", 5),
            Some((5, Some(candidate("b", 9)))),
            Some(("b", 9)),
        ),
        (
            "the view is newer than the name",
            owner("c", 12),
            Some((5, Some(candidate("b", 9)))),
            Some(("c", 12)),
        ),
        (
            "a name that is over",
            owner("a", 5),
            Some((9, Some(candidate("b", 9)))),
            None,
        ),
    ];
    for (name, seen, refusal, expected) in cases {
        let mut course = course(limits());
        if let Some((token, named)) = refusal {
            let then = course.heard(&candidate("a", 5), over(token, named));
            assert_eq!(then, again(Duration::ZERO), "{name}");
        }
        let expected = expected.map(|(name, token)| (name.to_owned(), token));
        assert_eq!(asks(&course, MS, &seen), expected, "{name}");
    }
}

/// A worker that lost its lease for a moment goes on with its token: nobody would ask it again.
#[test]
fn what_was_over_is_asked_again_after_a_while_if_nothing_newer_comes() {
    let mut course = course(limits());
    course.heard(&candidate("a", 5), over(5, None));
    assert_eq!(course.next(MS, &owner("a", 5)), Next::Wait(250 * MS));
    assert_eq!(course.next(900 * MS, &owner("a", 5)), Next::Wait(100 * MS));
    course.waited();
    assert_eq!(
        asks(&course, 251 * MS, &owner("a", 5)),
        Some(("a".to_owned(), 5))
    );
    course.heard(&candidate("a", 5), over(5, None));
    assert_eq!(course.next(MS, &owner("a", 5)), Next::Wait(500 * MS));
}

/// Calls that never end pile up until the caller falls over; no answer may be waited for longer.
#[test]
fn time_and_tries_bound_a_call() {
    let mut course = course(limits());
    let ask = |course: &Course, elapsed| match course.next(elapsed, &owner("a", 5)) {
        Next::Ask { within, hold, .. } => Some((within, hold)),
        Next::Wait(_) | Next::GiveUp(_) => None,
    };
    assert_eq!(ask(&course, Duration::ZERO), Some((400 * MS, 200 * MS)));
    assert_eq!(ask(&course, 900 * MS), Some((100 * MS, 50 * MS)));
    assert_eq!(course.next(400 * MS, &Seen::Nobody), Next::Wait(600 * MS));
    let (partition, within) = (key(), 1000 * MS);
    let given_up = |error| Next::GiveUp(error);
    assert_eq!(
        course.next(within, &Seen::Nobody),
        given_up(RouteError::NoOwner {
            partition: partition.clone(),
            within
        })
    );
    assert_eq!(
        course.next(within, &Seen::Unread),
        given_up(RouteError::Unread {
            partition: partition.clone(),
            within
        })
    );
    for pause in [5 * MS, 10 * MS, 20 * MS] {
        let busy = Ok(Reply::Refused(Refusal::Busy));
        assert_eq!(course.heard(&candidate("a", 5), busy), again(pause));
    }
    let (tries, last) = (3, Untaken::Busy);
    let error = RouteError::NotTaken {
        partition,
        tries,
        last,
    };
    assert_eq!(course.next(MS, &owner("a", 5)), given_up(error));
}

/// A request that is sent again although it may have been handled charges somebody twice.
#[test]
fn what_may_have_been_handled_is_sent_again_only_if_that_is_allowed() {
    for heard in [silence, interrupted] {
        let mut careful = course(limits());
        let then = careful.heard(&candidate("a", 5), heard());
        let Then::Fail(error) = then else {
            panic!("{then:?}")
        };
        assert!(matches!(error, RouteError::Unknown { .. }) && error.may_be_handled());
        let mut repeating = course(limits().repeat(Repeat::Allowed));
        let then = repeating.heard(&candidate("a", 5), heard());
        assert_eq!(then, again(Duration::ZERO));
        // Refusals that follow say nothing about the first one.
        for _ in 0..2 {
            repeating.heard(&candidate("b", 9), Ok(Reply::Refused(Refusal::NotYet)));
        }
        let next = repeating.next(MS, &owner("b", 9));
        assert!(
            matches!(&next, Next::GiveUp(error) if error.may_be_handled()),
            "{next:?}"
        );
    }
}

/// An error that is not told apart is tried again for ever, or not at all.
#[test]
fn each_answer_leads_to_one_thing() {
    let (partition, token) = (key(), Token::new(5));
    let failed = |error| Then::Fail(error);
    let reason = || "why".to_owned();
    let cases: [(Result<Reply, NotAnswered>, Then); 9] = [
        (
            Ok(Reply::Done {
                token,
                payload: Bytes::from_static(b"x"),
            }),
            Then::Done {
                token,
                payload: Bytes::from_static(b"x"),
            },
        ),
        (
            Ok(Reply::Failed {
                token,
                reason: reason(),
            }),
            failed(RouteError::Failed {
                partition: partition.clone(),
                token,
                reason: reason(),
            }),
        ),
        (over(5, None), again(Duration::ZERO)),
        (Ok(Reply::Refused(Refusal::NotYet)), again(5 * MS)),
        (Ok(Reply::Refused(Refusal::Busy)), again(5 * MS)),
        (
            Ok(Reply::Refused(Refusal::Unreadable)),
            failed(RouteError::NotTaken {
                partition: partition.clone(),
                tries: 1,
                last: Untaken::Unreadable,
            }),
        ),
        (Err(NotAnswered::Nobody), again(5 * MS)),
        (Err(NotAnswered::NotSent(reason())), again(5 * MS)),
        (
            Err(NotAnswered::TooLarge(reason())),
            failed(RouteError::TooLarge {
                partition,
                reason: reason(),
            }),
        ),
    ];
    for (heard, expected) in cases {
        let mut course = course(limits());
        assert_eq!(
            course.heard(&candidate("a", 5), heard.clone()),
            expected,
            "{heard:?}"
        );
    }
}

/// A worker without an address would be waited for until the time is over, and nobody would learn why.
#[test]
fn an_owner_without_an_address_is_named_at_once() {
    let worker = WorkerId::numbered("w", 1).expect("valid");
    let seen = Seen::Owner {
        worker: worker.clone(),
        endpoint: None,
        token: Token::new(5),
    };
    let partition = key();
    let error = RouteError::NoEndpoint { partition, worker };
    assert!(error.to_string().contains("advertise"));
    assert_eq!(course(limits()).next(MS, &seen), Next::GiveUp(error));
}

//! What operators read, word for word.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::model::id::{Nonce, Term, Token, Version, WorkerId, WriteId};
use crate::model::partition::PartitionKey;
use crate::model::state::Cause;
use crate::records::history::Leaving;
use crate::records::record::WorkerChange;

fn worker(number: u32) -> WorkerId {
    WorkerId::numbered("worker", number).expect("valid")
}

fn generation(version: u64, triggers: &[&str]) -> Generation {
    Generation {
        version: Version::new(version),
        term: Term::new(2),
        leader: worker(0),
        cause: Cause::Manual,
        triggers: triggers.iter().map(ToString::to_string).collect(),
        at_ms: 0,
        moved: 3,
        lower_bound: 2,
    }
}

/// A date that is a day off sends people to the wrong logs; leap days are where that happens.
#[test]
fn dates_are_right_over_leap_days_and_turns_of_the_century() {
    let cases = [
        (0, "1970-01-01T00:00:00Z"),
        (951_868_800_000, "2000-03-01T00:00:00Z"),
        (1_704_067_199_999, "2023-12-31T23:59:59Z"),
        (1_704_067_200_000, "2024-01-01T00:00:00Z"),
        (1_709_251_199_000, "2024-02-29T23:59:59Z"),
        (4_107_499_200_000, "2100-02-28T12:00:00Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        (13_574_563_200_000, "2400-02-29T00:00:00Z"),
    ];
    for (millis, date) in cases {
        assert_eq!(Date(millis).to_string(), date, "{millis}");
    }
}

/// An owner whose session is over must not read like one that works.
#[test]
fn an_owner_says_what_became_of_its_session() {
    let says = |session| {
        let (worker, token) = (worker(1), Token::new(7));
        let since_ms = None;
        Owner {
            worker,
            token,
            since_ms,
            session,
        }
        .to_string()
    };
    let hold = Duration::ZERO;
    let present = OwnerSession::Present;
    let cases = [
        (present(SessionStatus::Active), ""),
        (present(SessionStatus::Draining), ", which is leaving"),
        (
            present(SessionStatus::Released { hold }),
            ", whose session has been released",
        ),
        (
            present(SessionStatus::Evicted { silent: true }),
            ", whose session has been evicted",
        ),
        (
            OwnerSession::Replaced,
            ", whose slot another session has taken",
        ),
        (OwnerSession::Missing, ", which has no readable session"),
    ];
    for (session, said) in cases {
        assert_eq!(says(session), alloc::format!("worker-1 with token 7{said}"));
    }
}

/// A move is read from left to right: who had it, who has it, why, and when each happened.
#[test]
fn a_move_names_both_ends_the_reason_and_its_versions() {
    let step = |from: Option<u32>, to: Option<u32>| Move {
        from: from.map(worker),
        to: to.map(worker),
        taken: None,
        granted: None,
        decided: None,
    };
    let unknown = ", for a reason the audit ring no longer holds";
    let cases = [
        (step(Some(1), Some(1)), "granted again to worker-1"),
        (step(Some(1), Some(2)), "from worker-1 to worker-2"),
        (step(None, Some(2)), "first granted to worker-2"),
        (step(Some(1), None), "taken from worker-1"),
        (step(None, None), "nothing"),
    ];
    for (step, said) in cases {
        assert_eq!(step.to_string(), alloc::format!("{said}{unknown}"));
    }
    let whole = Move {
        taken: Some(generation(11, &[])),
        granted: Some(generation(12, &[])),
        decided: Some(generation(10, &["joined worker-2", "trigger by ops"])),
        ..step(Some(1), Some(2))
    };
    assert_eq!(
        whole.to_string(),
        "from worker-1 to worker-2 because of manual (joined worker-2, trigger by ops) decided by \
         worker-0 at version 10, moving 3 (lower bound 2); taken at version 11; granted at version \
         12, 1970-01-01T00:00:00Z"
    );
    let plain = generation(10, &[]).to_string();
    assert_eq!(
        plain,
        "manual decided by worker-0 at version 10, moving 3 (lower bound 2)"
    );
}

/// A gap that is not told turns "perhaps" into "certainly".
#[test]
fn each_gap_names_the_versions_in_doubt() {
    let version = Version::new(7);
    let (after, before) = (Version::new(5), Version::new(9));
    let cases: [(Gap, &[&str]); 4] = [
        (
            Gap::BeyondTheRing { version },
            &["no longer holds version 7"],
        ),
        (Gap::BeforeTheFirst { version }, &["before version 7"]),
        (
            Gap::Overwritten { after, before },
            &["between versions 5 and 9", "overwritten"],
        ),
        (
            Gap::Truncated { version },
            &["version 7 changed more", "perhaps this one"],
        ),
    ];
    for (gap, parts) in cases {
        let said = gap.to_string();
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    }
}

/// The first line is what is read at night: owned, on its way, or nobody's.
#[test]
fn an_explanation_begins_with_whose_it_is_and_lists_moves_and_gaps() {
    let explanation = |owner: Option<Owner>, leaving: Vec<Leaving>| Explanation {
        partition: PartitionKey::new(["orders", "7"]).expect("valid"),
        owner,
        parked: None,
        leaving,
        moves: Vec::new(),
        gaps: Vec::new(),
    };
    let nobody = explanation(None, Vec::new());
    assert_eq!(nobody.to_string(), "orders/7: owned by nobody");
    let (worker_3, since) = (worker(3), Version::new(8));
    let leaving = Vec::from([Leaving {
        worker: worker_3,
        since,
    }]);
    let on_its_way = explanation(None, leaving);
    let said = "orders/7: on its way; worker-3 has to let go of it since version 8";
    assert_eq!(on_its_way.to_string(), said);
    let owner = Owner {
        worker: worker(1),
        token: Token::new(7),
        since_ms: Some(0),
        session: OwnerSession::Missing,
    };
    let version = Version::new(7);
    let owned = Explanation {
        gaps: Vec::from([Gap::BeforeTheFirst { version }]),
        ..explanation(Some(owner), Vec::new())
    };
    assert_eq!(
        owned.to_string(),
        "orders/7: owned by worker-1 with token 7 since 1970-01-01T00:00:00Z, which has no readable \
         session\n  what was before version 7 is not in the audit ring"
    );
}

/// One line a generation, or the list of them cannot be scanned.
#[test]
fn an_entry_is_one_line_that_says_when_it_does_not_name_everything() {
    let change = WorkerChange {
        worker: worker(1),
        gained: Vec::from([(PartitionKey::new(["a"]).expect("valid"), None)]),
        lost: Vec::new(),
    };
    let nonce = Nonce::new(1);
    let entry = AuditEntry {
        write: WriteId { nonce, seq: 1 },
        version: Version::new(9),
        term: Term::new(2),
        leader: worker(0),
        cause: Cause::Emergency,
        triggers: Vec::from([String::from("lost worker-2")]),
        at_ms: 0,
        moved: 1,
        lower_bound: 1,
        changes: Vec::from([change]),
        parked: Vec::new(),
        truncated: true,
    };
    assert_eq!(
        entry.to_string(),
        "version 9 of term 2, 1970-01-01T00:00:00Z: emergency; lost worker-2; worker-1 +1 -0; and more"
    );
}

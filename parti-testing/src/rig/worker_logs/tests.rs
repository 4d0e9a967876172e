//! Each rule against a history that was made by hand to break it, and one that does not.

use super::*;

/// A life with one line for each `(at, event, fields)`, all of one session.
fn life(session: &str, lines: &[(u64, &str, &str)]) -> Life {
    let text = |(at, event, fields): &(u64, &str, &str)| {
        format!(
            r#"{{"at_ms":{at},"worker":"w-{session}","session":"{session}","event":"{event}"{fields}}}"#
        )
    };
    let text: Vec<String> = lines.iter().map(text).collect();
    Life::read(text.iter().map(String::as_str))
}

fn killed(mut life: Life, at_ms: u64) -> Life {
    life.killed_at_ms = Some(at_ms);
    life
}

const P1: &str = r#","partition":"p","token":1"#;
const P2: &str = r#","partition":"p","token":2"#;

/// A judge of histories that sees no second owner lets every scenario pass for nothing.
#[test]
fn two_owners_at_once_are_found_and_two_after_each_other_are_not() {
    let used = |until: u64| format!(r#","partition":"p","cause":"lease_lost","used_ms":{until}"#);
    let first = |until: u64| life("a", &[(10, "assigned", P1), (900, "revoked", &used(until))]);
    let second = life("b", &[(100, "assigned", P2)]);
    assert_eq!(judge(&[first(99), second.clone()]), []);
    assert_eq!(judge(&[first(100), second.clone()]), []);
    let found = judge(&[first(101), second.clone()]);
    assert!(matches!(&found[..], [Finding::Overlap { .. }]), "{found:?}");
    let open = life("a", &[(10, "assigned", P1)]);
    let found = judge(&[open.clone(), second.clone()]);
    assert!(matches!(&found[..], [Finding::Overlap { .. }]), "{found:?}");
    assert_eq!(judge(&[killed(open.clone(), 99), second.clone()]), []);
    let found = judge(&[killed(open, 101), second]);
    assert!(matches!(&found[..], [Finding::Overlap { .. }]), "{found:?}");
}

/// A process that goes on after a pause and still trusts its guard is the classic of all
/// two-owner accidents; that it was paused excuses only what it did not do.
#[test]
fn a_paused_process_is_judged_by_what_it_believes_when_it_goes_on() {
    let second = life("b", &[(100, "assigned", P2)]);
    let mut paused = life("a", &[(10, "assigned", P1)]);
    paused.paused_at_ms = Some(50);
    assert_eq!(judge(&[paused.clone(), second.clone()]), []);
    let fields = r#","partition":"p","used_ms":49"#;
    let line = life("a", &[(500, "revoked", fields)]).lines.remove(0);
    let mut woken = paused.clone();
    woken.push(line);
    assert_eq!(judge(&[woken, second.clone()]), []);
    let fields = r#","partition":"p","used_ms":499"#;
    let line = life("a", &[(500, "revoked", fields)]).lines.remove(0);
    let mut trusting = paused.clone();
    trusting.push(line);
    let found = judge(&[trusting, second.clone()]);
    assert!(matches!(&found[..], [Finding::Overlap { .. }]), "{found:?}");
    paused.push(life("a", &[(500, "state", "")]).lines.remove(0));
    let found = judge(&[paused, second]);
    assert!(matches!(&found[..], [Finding::Overlap { .. }]), "{found:?}");
}

/// A fencing token that does not rise fences nothing off.
#[test]
fn tokens_have_to_rise_from_session_to_session_and_may_stay_within_one() {
    let ended = r#","partition":"p","used_ms":20"#;
    let first = life("a", &[(10, "assigned", P2), (20, "revoked", ended)]);
    let found = judge(&[first.clone(), life("b", &[(30, "assigned", P2)])]);
    assert!(
        matches!(&found[..], [Finding::StaleToken { .. }]),
        "{found:?}"
    );
    let mut resumed = first;
    resumed.push(life("a", &[(30, "assigned", P2)]).lines.remove(0));
    assert_eq!(judge(&[resumed.clone()]), []);
    resumed.push(life("a", &[(40, "assigned", P2)]).lines.remove(0));
    let found = judge(&[resumed]);
    assert!(
        matches!(&found[..], [Finding::AssignedTwice { .. }]),
        "{found:?}"
    );
    let found = judge(&[life("a", &[(20, "revoked", ended)])]);
    assert!(
        matches!(&found[..], [Finding::RevokedInVain { .. }]),
        "{found:?}"
    );
}

/// Two leaders that both write generations are what the whole protocol prevents.
#[test]
fn generations_have_to_be_those_of_one_leader_after_another() {
    let commit = |version: u64, term: u64| {
        let fields = format!(r#","version":{version},"term":{term}"#);
        (version, "committed", fields)
    };
    let of = |session: &str, commits: &[(u64, &str, String)]| {
        let lines = commits
            .iter()
            .map(|(at, event, f)| (*at, *event, f.as_str()));
        life(session, &lines.collect::<Vec<_>>())
    };
    let well = [
        of("a", &[commit(1, 1), commit(2, 1)]),
        of("b", &[commit(3, 2)]),
    ];
    assert_eq!(judge(&well), []);
    let bad = [
        // The same version twice, the same term twice, an older term after a newer one.
        [of("a", &[commit(1, 1)]), of("b", &[commit(1, 2)])],
        [of("a", &[commit(1, 1)]), of("b", &[commit(2, 1)])],
        [
            of("a", &[commit(1, 1), commit(3, 1)]),
            of("b", &[commit(2, 2)]),
        ],
    ];
    for lives in bad {
        let found = judge(&lives);
        assert!(
            matches!(&found[..], [Finding::TwoChains { .. }, ..]),
            "{found:?}"
        );
    }
}

/// Each lost history begins with a first term; but one loss that every process tells of is one, and
/// two leaders after it are two.
#[test]
fn terms_begin_again_once_for_each_history_that_was_lost() {
    let first = r#","version":1,"term":1"#;
    let (second, third) = (r#","version":4,"term":1"#, r#","version":7,"term":1"#);
    let a = [
        (1, "committed", first),
        (2, "history_lost", ""),
        (5, "history_lost", ""),
    ];
    let b = [
        (3, "history_lost", ""),
        (4, "committed", second),
        (6, "history_lost", ""),
    ];
    let c = [(7, "committed", third)];
    assert_eq!(judge(&[life("a", &a), life("b", &b), life("c", &c)]), []);
    let once = [(3, "history_lost", ""), (4, "committed", second)];
    let found = judge(&[life("a", &a[..2]), life("b", &once), life("c", &c)]);
    assert!(
        matches!(&found[..], [Finding::TwoChains { .. }]),
        "{found:?}"
    );
}

/// A take-over that is measured wrongly makes a bound hold that does not.
#[test]
fn a_takeover_is_measured_from_the_death_to_the_last_partition() {
    let q = r#","partition":"q","token":1"#;
    let dead = killed(life("a", &[(10, "assigned", P1), (11, "assigned", q)]), 50);
    let half = life("b", &[(80, "assigned", P2)]);
    assert_eq!(
        takeover_ms(&[dead.clone(), half.clone()], 0),
        None,
        "q is free"
    );
    let rest = life("c", &[(95, "assigned", r#","partition":"q","token":3"#)]);
    assert_eq!(takeover_ms(&[dead, half, rest], 0), Some(45));
}

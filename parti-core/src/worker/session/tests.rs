//! What an answer to a renewal is worth, by when it was sent.

use alloc::string::String;
use alloc::vec::Vec;

use super::*;
use crate::config::Config;
use crate::io::effect::Effect;
use crate::link::cx::Env;
use crate::ports::store::StoreInfo;

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

/// A session claimed at 1 s and renewed at 3 s; the clock jumps at that time, if it does. The
/// deadline after the answer, which comes at 4 s.
fn deadline(jumps_at: Option<u64>) -> Instant {
    let mut env = Env::for_tests(
        at(1_000),
        1,
        Config::builder("g").build().expect("coherent"),
    );
    let info = StoreInfo {
        created: 1,
        age: Duration::MAX,
        last_revision: Revision::ZERO,
        version: String::new(),
        max_batch: 1,
        max_value: 1,
        faults: alloc::vec::Vec::new(),
    };
    let claimed = Claimed {
        worker: WorkerId::new("w").expect("valid"),
        nonce: Nonce::new(1),
        revision: Revision::new(5),
        first_sent: at(1_000),
        trusted_from: Instant::ORIGIN,
        info,
        predecessors: Vec::new(),
    };
    let mut session = Session::new(&env.cx(at(1_000)), &claimed);
    session.handle_timeout(&mut env.cx(at(3_000)), &Holdings::default());
    let request = env.out.drain(..).find_map(|effect| {
        let Effect::Store { op, .. } = effect else {
            return None;
        };
        Some(op)
    });
    let op = request.expect("it renews after an interval");
    jumps_at
        .into_iter()
        .for_each(|ms| session.distrust(at(ms), None));
    let revisions = Vec::from([Revision::new(6)]);
    let result = Ok(StoreReply::Committed { revisions });
    let news = session.on_reply(&mut env.cx(at(4_000)), op, &result);
    assert_eq!(news, SessionNews::Renewed(SessionStatus::Active));
    session.deadline
}

/// A machine that was suspended right after sending shows the same time before and after: an answer
/// may be as old as the suspension was long.
#[test]
fn only_what_was_sent_after_the_last_jump_of_the_clock_gives_validity() {
    let hold = Config::builder("g").build().expect("coherent").hold();
    assert_eq!(
        deadline(None),
        at(3_000) + hold,
        "from its sending, not from its answer"
    );
    assert_eq!(deadline(Some(2_999)), at(3_000) + hold);
    assert_eq!(deadline(Some(3_000)), at(3_000), "sent at the very moment");
    assert_eq!(deadline(Some(3_500)), at(3_500));
}

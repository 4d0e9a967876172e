//! A leader that plans with another strategy than the one before it.

use core::time::Duration;

use crate::core::tests::solo::{Solo, entry, head, said};
use crate::io::notice::Notice;
use crate::ports::strategy::StrategyId;
use crate::records::record::{Head, Record};

/// Two strategies in one group move partitions to and fro: it must be seen, not guessed.
#[test]
fn a_leader_with_another_strategy_says_so() {
    let changed = |strategy: &str| {
        let mut solo = Solo::member();
        let Record::Head(before) = head("worker-1", 2, 10) else {
            panic!("a head")
        };
        let before = Record::Head(Head {
            leader: None,
            strategy: StrategyId::new(strategy),
            ..before
        });
        solo.show(entry("head", 3, &before));
        solo.caught_up(3);
        solo.pass(Duration::from_millis(500));
        let (op, _) = solo.commit("head");
        solo.won(op, 4);
        said(&solo.notices, |n| {
            matches!(n, Notice::StrategyChanged { .. })
        })
    };
    assert_eq!(
        changed("other/2"),
        ["StrategyChanged { from: other/2, to: deal/1 }"]
    );
    assert!(changed("deal/1").is_empty() && changed("").is_empty());
}

//! What a commit refuses before sending, and how it reads the server's acknowledgement.

use parti_core::StoreErrorKind;

use super::*;

fn write(key: &str, bytes: usize) -> Write {
    Write {
        key: key.to_owned(),
        value: Some(vec![0; bytes]),
        expect: Expect::Any,
    }
}

/// A request that can never succeed must say so, or it is retried for ever.
#[test]
fn impossible_commits_are_named_before_anything_is_sent() {
    let many: Vec<_> = (0..1001).map(|n| write(&format!("k.{n}"), 0)).collect();
    let cases = [
        (vec![], "0 writes"),
        (many.clone(), "1001 writes"),
        (
            vec![write("a", 0), write("b", 0), write("a", 0)],
            "\"a\" twice",
        ),
        (vec![write("a", 0), write("a b", 0)], "\"a b\""),
        (vec![write("a", 101)], "101 bytes for a; at most 100"),
    ];
    for (writes, part) in cases {
        let fault = fault(&writes, 100).expect(part);
        assert!(fault.contains(part), "{fault}");
    }
    assert_eq!(fault(&many[..1000], 100), None);
    assert_eq!(fault(&[write("a", 100)], 100), None);
}

/// A revision that is off by one makes every later condition of the writer fail.
#[test]
fn the_revisions_of_a_batch_end_at_the_acknowledged_sequence() {
    let numbers = |ack: &str, count| {
        revisions(ack.as_bytes(), "KV_b", count)
            .map(|list| list.into_iter().map(Revision::get).collect::<Vec<_>>())
    };
    let single = r#"{"stream":"KV_b","seq":7}"#;
    let batch = r#"{"stream":"KV_b","seq":6,"batch":"i1","count":3}"#;
    assert_eq!(numbers(single, 1), Ok(vec![7]));
    assert_eq!(numbers(batch, 3), Ok(vec![4, 5, 6]));
}

/// An acknowledgement of something else proves nothing about this commit.
#[test]
fn an_acknowledgement_that_does_not_fit_leaves_the_outcome_unknown() {
    let cases = [
        (r#"{"stream":"other","seq":7}"#, 1),
        (r#"{"stream":"KV_b","seq":6,"count":2}"#, 3),
        (r#"{"stream":"KV_b","seq":1,"count":3}"#, 3),
        (r#"{"seq":6}"#, 1),
        ("", 1),
    ];
    for (ack, count) in cases {
        let failure = revisions(ack.as_bytes(), "KV_b", count).expect_err(ack);
        assert_eq!(failure.kind(), StoreErrorKind::Unknown, "{ack}");
    }
}

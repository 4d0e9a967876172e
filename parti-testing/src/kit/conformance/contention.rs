//! Cases of many writers at once, of limits, and of requests that are given up.

use core::time::Duration;

use futures_util::future::join_all;
use parti_core::{Expect, Revision, Store, StoreErrorKind, Write};

use super::support::{
    commit, commit_one, expect_eq, fails, get, info, keys, list_from, put, tombstone, try_commit,
    value,
};
use super::{Case, Verdict, timer};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "of many concurrent claims over a tombstone exactly one succeeds",
        why: "two processes would take over the ID of one collected session",
        run: |store| Box::pin(claims_over_tombstone(store)),
    },
    Case {
        name: "of many concurrent batches from one revision exactly one succeeds, whole",
        why: "a generation would be a mixture of two leaders' plans",
        run: |store| Box::pin(concurrent_batches(store)),
    },
    Case {
        name: "concurrent commits of different keys all succeed",
        why: "workers that renew their sessions would push each other out",
        run: |store| Box::pin(different_keys(store)),
    },
    Case {
        name: "a value of exactly the announced limit is stored, alone and in a batch",
        why: "a record that just fits would be retried for ever",
        run: |store| Box::pin(largest_value(store)),
    },
    Case {
        name: "a batch of exactly the announced limit is one commit",
        why: "the largest generation that is planned could not be written",
        run: |store| Box::pin(largest_batch(store)),
    },
    Case {
        name: "revision zero is expected of a key that was never written",
        why: "a first write could not say what it knows",
        run: |store| Box::pin(revision_zero(store)),
    },
    Case {
        name: "values and deletions are one batch",
        why: "a leader could not collect a session and reassign its partitions at once",
        run: |store| Box::pin(mixed_batch(store)),
    },
    Case {
        name: "a deletion of a key that was never written is a write",
        why: "a leader that collects twice would be told that it lost its leadership",
        run: |store| Box::pin(delete_nothing(store)),
    },
    Case {
        name: "a commit that is given up is done whole or not at all",
        why: "a process that stops would leave half a generation behind",
        run: |store| Box::pin(given_up(store)),
    },
];

fn names(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("writer-{number}"))
        .collect()
}

/// The one attempt that succeeded; every other must have been refused.
async fn winner(
    store: &dyn Store,
    attempts: Vec<Vec<Write>>,
) -> Result<(usize, Vec<Revision>), String> {
    let attempts = attempts.into_iter().map(|writes| try_commit(store, writes));
    let mut winners = Vec::new();
    for (number, result) in join_all(attempts).await.into_iter().enumerate() {
        match result {
            Ok(revisions) => winners.push((number, revisions)),
            Err(error) if error.kind == StoreErrorKind::Refused => {}
            Err(error) => return Err(format!("writer {number} was answered: {error}")),
        }
    }
    if winners.len() > 1 {
        return Err(format!("the winners are {winners:?}"));
    }
    winners.pop().ok_or_else(|| "nobody won".to_owned())
}

async fn claims_over_tombstone(store: &dyn Store) -> Verdict {
    commit_one(store, put("a", "1", Expect::Absent)).await?;
    let gone = commit_one(store, tombstone("a", Expect::Any)).await?;
    let names = names(64);
    let attempts = names
        .iter()
        .map(|name| vec![put("a", name, Expect::Absent)]);
    let (winner, revisions) = winner(store, attempts.collect()).await?;
    if revisions[0] <= gone {
        return Err(format!("won at {revisions:?}, not after {gone}"));
    }
    expect_eq(
        "a",
        &value(store, "a").await?.as_ref(),
        &Some(&names[winner]),
    )
}

async fn concurrent_batches(store: &dyn Store) -> Verdict {
    let head = commit_one(store, put("head", "0", Expect::Absent)).await?;
    let names = names(32);
    let batch = |name: &String| {
        vec![
            put("head", name, Expect::Revision(head)),
            put("a.x", name, Expect::Any),
            put("a.y", name, Expect::Any),
        ]
    };
    let (winner, revisions) = winner(store, names.iter().map(batch).collect()).await?;
    for (key, revision) in ["head", "a.x", "a.y"].into_iter().zip(revisions) {
        let entry = get(store, key).await?.ok_or("a part is missing")?;
        expect_eq(key, &entry.revision, &revision)?;
        let name = names[winner].clone().into_bytes();
        expect_eq(key, &entry.value, &Some(name))?;
    }
    Ok(())
}

async fn different_keys(store: &dyn Store) -> Verdict {
    let names = names(64);
    for expect in [Expect::Absent, Expect::Any] {
        let writes = names
            .iter()
            .map(|name| commit_one(store, put(name, "1", expect)));
        let mut revisions = Vec::new();
        for revision in join_all(writes).await {
            revisions.push(revision?);
        }
        revisions.sort_unstable();
        revisions.dedup();
        expect_eq("different revisions", &revisions.len(), &names.len())?;
    }
    Ok(())
}

async fn largest_value(store: &dyn Store) -> Verdict {
    let most = info(store).await?.max_value;
    let large = "x".repeat(most);
    commit_one(store, put("a", &large, Expect::Absent)).await?;
    let batch = vec![put("b", &large, Expect::Any), put("c", &large, Expect::Any)];
    commit(store, batch).await?;
    for key in ["a", "b", "c"] {
        let bytes = value(store, key).await?.map(|value| value.len());
        expect_eq(key, &bytes, &Some(most))?;
    }
    Ok(())
}

async fn largest_batch(store: &dyn Store) -> Verdict {
    let most = info(store).await?.max_batch;
    let key = |number| format!("k{number}");
    let writes = (0..most).map(|number| put(&key(number), "1", Expect::Absent));
    let revisions = commit(store, writes.collect()).await?;
    if !revisions.windows(2).all(|pair| pair[0] < pair[1]) {
        return Err("the revisions do not rise".to_owned());
    }
    let last = get(store, &key(most.saturating_sub(1))).await?;
    let last = last.map(|entry| entry.revision);
    expect_eq("last", &last.as_ref(), &revisions.last())
}

async fn revision_zero(store: &dyn Store) -> Verdict {
    let never = Expect::Revision(Revision::ZERO);
    commit_one(store, put("a", "1", never)).await?;
    fails(store, vec![put("a", "2", never)], StoreErrorKind::Refused).await?;
    commit_one(store, tombstone("a", Expect::Any)).await?;
    // A tombstone has a revision: the key was written.
    fails(store, vec![put("a", "2", never)], StoreErrorKind::Refused).await
}

async fn mixed_batch(store: &dyn Store) -> Verdict {
    let first = commit_one(store, put("a", "1", Expect::Absent)).await?;
    let writes = vec![
        put("head", "2", Expect::Absent),
        tombstone("a", Expect::Revision(first)),
        put("b", "2", Expect::Absent),
    ];
    let revisions = commit(store, writes).await?;
    let (entries, _) = list_from(store, "", revisions[2]).await?;
    expect_eq("keys", &keys(&entries), &vec!["b", "head"])?;
    // Again, now that it is gone.
    let again = vec![
        put("head", "3", Expect::Revision(revisions[0])),
        tombstone("a", Expect::Revision(first)),
    ];
    fails(store, again, StoreErrorKind::Refused).await?;
    expect_eq("head", &value(store, "head").await?, &Some("2".to_owned()))
}

async fn delete_nothing(store: &dyn Store) -> Verdict {
    let first = commit_one(store, put("b", "1", Expect::Absent)).await?;
    let gone = commit_one(store, tombstone("a", Expect::Absent)).await?;
    if gone <= first {
        return Err(format!("deleted at {gone} after {first}"));
    }
    expect_eq("a", &value(store, "a").await?, &None)?;
    commit_one(store, put("a", "1", Expect::Revision(gone)))
        .await
        .map(|_| ())
}

async fn given_up(store: &dyn Store) -> Verdict {
    for round in 0..10 {
        let text = round.to_string();
        let writes = ["a", "b", "c"].map(|key| put(key, &text, Expect::Any));
        let patience = Duration::from_micros(50 * round);
        drop(timer::within(patience, try_commit(store, writes.to_vec())).await);
        // Later on the same connection, so what was sent before has been decided by then.
        let last = commit_one(store, put("last", &text, Expect::Any)).await?;
        let (entries, _) = list_from(store, "", last).await?;
        let values = entries.iter().filter(|entry| entry.key != "last");
        let mut values: Vec<_> = values.map(|entry| entry.value.clone()).collect();
        let count = values.len();
        values.dedup();
        if values.len() > 1 || (count != 0 && count != 3) {
            return Err(format!("half of a commit is there: {entries:?}"));
        }
    }
    Ok(())
}

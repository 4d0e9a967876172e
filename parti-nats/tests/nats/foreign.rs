//! Deletions by other hands: a person with a tool, another client, the server itself.

use async_nats::HeaderMap;
use parti_core::{Expect, Store, StoreErrorKind, WatchScope};

use crate::support::{World, commit, get, list, next, put, write};

/// What can stand in the headers of a message that means "this key is gone".
const DELETIONS: [(&str, &[(&str, &str)]); 5] = [
    ("deleted by a client", &[("KV-Operation", "DEL")]),
    (
        "purged by a client",
        &[("KV-Operation", "PURGE"), ("Nats-Rollup", "sub")],
    ),
    ("expired", &[("Nats-Marker-Reason", "MaxAge")]),
    ("purged by the server", &[("Nats-Marker-Reason", "Purge")]),
    ("removed by the server", &[("Nats-Marker-Reason", "Remove")]),
];

/// An operator who deletes a key with the usual tool must not make an ID unusable, nor may a
/// deletion be taken for an empty value.
#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_deletion_counts_as_absent_and_has_a_revision() {
    let world = World::new().await;
    let store = &world.store;
    let mut watch = store.watch(WatchScope::All).await.expect("watches");
    assert_eq!(next(&mut watch).await, "caught up@0");
    for (kind, headers) in DELETIONS {
        let born = write(store, put("a", "1", Expect::Absent)).await;
        assert_eq!(next(&mut watch).await, format!("a=1@{born}"), "{kind}");
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, *value);
        }
        let client = store.client();
        let subject = "$KV.parti_orders.a";
        let stored = client.request_with_headers(subject, map, "".into()).await;
        let stored = stored.expect("the server answers").payload;
        let stored: serde_json::Value = serde_json::from_slice(&stored).expect("JSON");
        assert!(stored["error"].is_null(), "{kind}: {stored}");
        let gone = next(&mut watch).await;
        assert!(gone.starts_with("a-@"), "{kind}: {gone}");
        let entry = get(store, "a").await.expect("it has a revision");
        assert_eq!(entry.value, None, "{kind}");
        assert_eq!(gone, format!("a-@{}", entry.revision), "{kind}");
        assert!(list(store, "").await.0.is_empty(), "{kind}");
        let stale = commit(store, vec![put("a", "2", Expect::Revision(born))]).await;
        assert_eq!(stale.expect_err(kind).kind, StoreErrorKind::Refused);
        let alone = write(store, put("a", "2", Expect::Revision(entry.revision))).await;
        assert_eq!(next(&mut watch).await, format!("a=2@{alone}"), "{kind}");
        let gone = write(store, crate::support::delete("a", Expect::Any)).await;
        assert_eq!(next(&mut watch).await, format!("a-@{gone}"), "{kind}");
    }
}

//! What watches and lists leave behind on the server: nothing.

use std::time::Duration;

use parti_core::{Expect, Store, WatchScope};

use crate::support::{World, consumers, eventually, list, next, put, write};

/// Each forgotten consumer costs the server memory and, in a cluster, a slot in its meta layer;
/// 50 an hour bring it down within days.
#[tokio::test(flavor = "multi_thread")]
async fn no_consumer_is_left_after_many_watches_and_lists() {
    let world = World::new().await;
    let store = &world.store;
    write(store, put("a", "1", Expect::Absent)).await;
    let mut most = 0;
    for _ in 0..50 {
        let mut watch = store.watch(WatchScope::All).await.expect("watches");
        assert_eq!(next(&mut watch).await, "a=1@1");
        assert_eq!(list(store, "").await.0, ["a"]);
        assert!(list(store, "none.").await.0.is_empty());
        drop(watch);
        // A watch that is given up while it is set up.
        drop(tokio::time::timeout(Duration::ZERO, store.watch(WatchScope::All)).await);
        most = most.max(consumers(store).await);
    }
    // The server's own idle limit is five seconds, so this shows that they are deleted.
    eventually("no consumer is left", Duration::from_secs(2), async || {
        consumers(store).await == 0
    })
    .await;
    println!("consumers: at most {most} during 50 watches and 100 lists, 0 after");
}

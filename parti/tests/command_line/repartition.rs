//! Another number of partitions for a stream, by command.

use parti::jetstream::Partitioned;
use parti::nats::async_nats;
use serde_json::json;

use super::*;

/// An operator must see what a re-partition does before it is done, and how far the groups are afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_re_partition_is_shown_first_and_followed() {
    let server = server("");
    let url = server.url();
    let client = async_nats::connect(&url).await.expect("a connection");
    let context = async_nats::jetstream::new(client);
    let config = json!({ "name": "ORDERS", "subjects": ["orders.>"], "metadata": {} });
    let made = context.request("STREAM.CREATE.ORDERS", &config).await;
    let _: Value = made.expect("it is made");
    let builder = Partitioned::builder(context.clone(), "ORDERS").group("billing");
    let builder = builder.partitions(4).transform("orders.*");
    let orders = builder.on_message(|_| async { Ok(()) });
    let orders = orders.build().await.expect("it is built");
    let looked = parti(&url, &["repartition", "ORDERS", "--to", "8", "--dry-run"]);
    let shown = text(&looked.stdout);
    assert!(looked.status.success(), "{looked:?}");
    assert!(
        shown.contains("4 partitions become 8, for billing")
            && shown.contains("orders.g2.{{partition(8,1)}}")
            && shown.contains("nothing was done"),
        "{shown}"
    );
    fails(&url, &["repartition", "ORDERS", "--to", "8"], 2, &["--yes"]);
    fails(
        &url,
        &["repartition", "ORDERS", "--to", "0", "-y"],
        2,
        &["zero"],
    );
    fails(
        &url,
        &["repartition", "NOTHING", "--to", "8", "-y"],
        3,
        &["NOTHING"],
    );
    let done = super::json(&url, &["repartition", "ORDERS", "--to", "8", "--yes"]);
    assert_eq!(
        (&done["from"], &done["done"]),
        (&json!(4), &json!(true)),
        "{done}"
    );
    let again = super::json(&url, &["repartition", "ORDERS", "--to", "8", "--yes"]);
    assert_eq!(again["done"], json!(false), "{again}");
    let waiting = text(&parti(&url, &["repartition", "ORDERS"]).stdout);
    assert!(waiting.contains("billing: not begun"), "{waiting}");
    let manager = Manager::builder(super::config("billing", 1), orders.source(), orders.clone());
    let manager = manager.nats(&url).start().await.expect("it starts");
    let says = async |words: &str| {
        let limit = std::time::Instant::now() + PATIENCE;
        loop {
            let said = text(&parti(&url, &["repartition", "ORDERS"]).stdout);
            if said.contains(words) {
                return;
            }
            assert!(std::time::Instant::now() < limit, "{words}: {said}");
        }
    };
    says("billing: waits for a message in the new partitions").await;
    let sent = context.publish("orders.a", "x".into()).await.expect("sent");
    sent.await.expect("stored");
    says("billing: done").await;
    let shown = super::json(&url, &["repartition", "ORDERS"]);
    assert_eq!(shown["groups"][0]["partitions"], json!(8), "{shown}");
    manager.stop(StopMode::Handoff).await.expect("it stops");
}

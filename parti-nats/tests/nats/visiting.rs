//! Opening a store without taking part: nothing is created, a reader writes nothing, groups are listed.

use parti_core::{Expect, Store, StoreErrorKind, StoreOp};
use parti_nats::async_nats::ConnectOptions;
use parti_nats::{NatsConnection, NatsOptions, NatsStore, OpenError};
use parti_testing::rig::nats_server::ServerOptions;

use crate::support::{World, api, commit, connect, get, group, info, options, put, start, write};

/// A dashboard with a typing error in its group's name created an empty group, which alarms then found.
#[tokio::test(flavor = "multi_thread")]
async fn who_takes_no_part_creates_no_bucket() {
    let server = start(ServerOptions::default());
    for visitor in [options().existing_only(), options().read_only()] {
        let opened = NatsStore::connect(&server.url(), &group(), visitor).await;
        let error = opened.map(drop).expect_err("there is none");
        let bucket = "parti_orders".to_owned();
        assert_eq!(error, OpenError::NoBucket { bucket });
    }
    let member = connect(&server, options()).await;
    let visitor = connect(&server, options().existing_only()).await;
    write(&visitor, put("a", "1", Expect::Absent)).await;
    let deleted = api(&member, "STREAM.DELETE.KV_parti_orders", "").await;
    assert_eq!(deleted["success"], true, "{deleted}");
    let created = visitor.execute(StoreOp::Create).await;
    let kind = created.map(drop).expect_err("it is not to").kind;
    assert_eq!(kind, StoreErrorKind::Rejected);
    let found = member.execute(StoreOp::Info).await;
    assert_eq!(found.expect_err("still none").kind, StoreErrorKind::Missing);
}

/// A tool that shows a group at night must not change it, also by mistake; and a setting that somebody
/// changed must not keep it from showing.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_writes_nothing_and_reads_also_an_unfit_bucket() {
    let world = World::new().await;
    write(&world.store, put("a", "1", Expect::Absent)).await;
    let unfit = r#"{"name":"KV_parti_orders","subjects":["$KV.parti_orders.>"],"discard":"new",
        "max_msgs_per_subject":1,"allow_direct":true,"allow_atomic":true,"deny_delete":true,
        "allow_rollup_hdrs":true,"storage":"file","max_age":3600000000000}"#;
    let changed = api(&world.store, "STREAM.UPDATE.KV_parti_orders", unfit).await;
    assert!(changed["error"].is_null(), "{changed}");
    let reader = connect(&world.server, options().read_only()).await;
    assert_eq!(
        get(&reader, "a").await.and_then(|it| it.value),
        Some(b"1".to_vec())
    );
    let faults = info(&reader).await.faults;
    assert!(
        faults.iter().any(|it| it.setting == "max_age"),
        "{faults:?}"
    );
    let refused = commit(&reader, vec![put("b", "1", Expect::Absent)]).await;
    assert_eq!(
        refused.expect_err("it reads").kind,
        StoreErrorKind::Rejected
    );
    assert_eq!(get(&world.store, "b").await, None);
}

/// Which groups there are is the first question of who has none of the names.
#[tokio::test(flavor = "multi_thread")]
async fn the_groups_of_a_server_are_those_of_its_prefix() {
    let server = start(ServerOptions::default());
    let open = |options: NatsOptions| {
        let url = server.url();
        async move { NatsConnection::open(ConnectOptions::new(), &url, options).await }
    };
    let connection = open(options().read_only()).await.expect("connects");
    assert_eq!(connection.groups().await, Ok(Vec::new()));
    let member = connect(&server, options()).await;
    connect(&server, options().bucket_prefix("parti_eu_")).await;
    // More streams than one answer has, and a bucket that is no group.
    for number in 0..260 {
        let (stream, body) = (
            format!("KV_b{number}"),
            format!(r#"{{"name":"KV_b{number}","storage":"memory"}}"#),
        );
        let made = api(&member, &format!("STREAM.CREATE.{stream}"), &body).await;
        assert!(made["error"].is_null(), "{made}");
    }
    assert_eq!(connection.groups().await, Ok(vec![group()]));
    let europe = open(options().bucket_prefix("parti_eu_")).await;
    assert_eq!(europe.expect("connects").groups().await, Ok(vec![group()]));
}

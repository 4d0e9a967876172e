//! Records that are purged from the stream without a marker, of every kind and at several moments.

use futures_util::future::join_all;
use parti::nats::async_nats;
use parti::nats::{NatsOptions, NatsStore};
use parti::sources::KvSource;
use parti::strategy::{Eligibility, Sticky};
use parti::{GroupName, Manager, Partition};
use parti_testing::rig::nats_server::NatsServer;

use crate::recorder::{Recorder, until};
use crate::{PATIENCE, config, held, never_twice, server};

/// How many partitions somebody may own; there is one more.
const OWNED: usize = 30;

/// What happens at the time of the purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Quiet,
    LeaderDies,
    WorkerJoins,
    RequestWaits,
}

struct Group {
    server: NatsServer,
    handler: Recorder,
    workers: Vec<Manager>,
    operator: KvSource,
    plain: async_nats::Client,
}

impl Group {
    async fn new() -> Self {
        let server = server("");
        let name = GroupName::new("test").expect("valid");
        let store = NatsStore::connect(&server.url(), &name, NatsOptions::default()).await;
        let operator = KvSource::new(store.expect("opens"));
        let list = (0..OWNED).map(|number| ["main".to_owned(), number.to_string()]);
        // Nobody may own this one: so that there is a record of what is parked.
        let list = list.chain([["gpu".to_owned(), "0".to_owned()]]);
        let list = list.map(|key| Partition::new(key).expect("valid"));
        operator.create(list.collect()).await.expect("stored");
        let plain = async_nats::connect(server.url()).await.expect("connects");
        let mut group = Self {
            server,
            handler: Recorder::new("all"),
            workers: Vec::new(),
            operator,
            plain,
        };
        for _ in 0..3 {
            group.join().await;
        }
        until("all are owned", PATIENCE, || {
            held(&group.handler).len() == OWNED
        })
        .await;
        until("one is parked", PATIENCE, || group.parked(1)).await;
        group
    }

    async fn join(&mut self) {
        let rules = Eligibility::new().require(["gpu"], "pool", ["gpu"]);
        let builder = Manager::builder(config(3), self.operator.clone(), self.handler.clone())
            .strategy(Sticky::new().with_eligibility(rules))
            .nats(&self.server.url());
        self.workers.push(builder.start().await.expect("starts"));
    }

    fn parked(&self, count: u32) -> bool {
        self.workers
            .iter()
            .all(|worker| worker.status().group.parked.count == count)
    }

    async fn purge(&self, keys: &str) {
        let filter = format!(r#"{{"filter":"$KV.parti_test.{keys}"}}"#);
        let subject = "$JS.API.STREAM.PURGE.KV_parti_test";
        let answer = self
            .plain
            .request(subject, filter.into())
            .await
            .expect("an answer");
        let text = String::from_utf8_lossy(&answer.payload).into_owned();
        assert!(text.contains("\"success\":true"), "{text}");
    }
}

/// One kind of record vanishes at one moment, and is gone for good whatever else happens then.
async fn row(keys: &str, moment: Moment) {
    let what = format!("{keys}, {moment:?}");
    let mut group = Group::new().await;
    let before = held(&group.handler);
    match moment {
        Moment::Quiet => group.purge(keys).await,
        Moment::LeaderDies => {
            group.purge(keys).await;
            let leads = group.workers.iter().position(Manager::is_leader);
            if let Some(leader) = leads {
                drop(group.workers.remove(leader));
            }
        }
        Moment::WorkerJoins => {
            group.join().await;
            group.purge(keys).await;
        }
        Moment::RequestWaits => {
            let asks = group.workers.iter().find(|worker| !worker.is_leader());
            let request = asks.expect("somebody follows").trigger_rebalance();
            let asked = tokio::time::timeout(PATIENCE, request);
            let (answer, ()) = tokio::join!(asked, group.purge(keys));
            assert!(answer.is_ok_and(|done| done.is_ok()), "{what}");
        }
    }
    until(&format!("all are owned: {what}"), PATIENCE, || {
        let owned: usize = group
            .workers
            .iter()
            .map(|worker| worker.assignment().len())
            .sum();
        owned == OWNED && held(&group.handler).len() == OWNED && group.parked(1)
    })
    .await;
    // Sessions are each owner's own proof of what it holds; nothing else costs anybody a partition.
    let stays = matches!(moment, Moment::Quiet | Moment::RequestWaits) && keys != "w.>";
    if stays {
        assert_eq!(held(&group.handler), before, "{what}");
    }
    // The list can be stored again, and generations go on.
    let mut list = group.operator.partitions().await.unwrap_or_default();
    assert_eq!(list.is_empty(), keys == "src", "{what}");
    list.extend((0..=OWNED).map(|number| {
        let number = number.to_string();
        Partition::new(["main", &number]).expect("valid")
    }));
    list.sort_by(|one, other| one.key.cmp(&other.key));
    list.dedup_by(|one, other| one.key == other.key);
    group.operator.replace(list).await.expect("stored");
    until(&format!("the new one is owned: {what}"), PATIENCE, || {
        held(&group.handler).len() == OWNED + 1
    })
    .await;
    if stays {
        let after = held(&group.handler);
        let kept = before
            .iter()
            .all(|(key, token)| after.get(key) == Some(token));
        assert!(kept, "{what}");
    }
    never_twice(&group.handler);
}

/// An operator's purge of one subject, or an age limit that was set for some seconds: a group without `head`
/// had no leader ever again.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_record_is_purged_everything_is_owned_again_and_nobody_loses_what_it_has() {
    let kinds = ["head", "w.>", "a.>", "h.>", "ctl.>", "parked", "src"];
    let moments = [
        Moment::Quiet,
        Moment::LeaderDies,
        Moment::WorkerJoins,
        Moment::RequestWaits,
    ];
    let rows: Vec<_> = kinds
        .iter()
        .flat_map(|keys| moments.map(|moment| (*keys, moment)))
        .collect();
    for some in rows.chunks(4) {
        join_all(some.iter().map(|(keys, moment)| row(keys, *moment))).await;
    }
}

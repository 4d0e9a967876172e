//! Opening a store: every way it can be impossible, told in words that help.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use parti_core::GroupName;
use parti_nats::{NatsStore, OpenError, Storage};
use parti_testing::rig::nats_server::ServerOptions;

use crate::support::{World, api, connect, group, info, options, start};

async fn refusal(url: &str) -> OpenError {
    let opened = NatsStore::connect(url, &group(), options()).await;
    opened.map(drop).expect_err("it cannot be opened")
}

/// Two processes that start together must end up in one bucket.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_created_once_and_opened_again_with_other_options() {
    let world = World::new().await;
    let created = info(&world.store).await.created;
    let again = connect(&world.server, options().storage(Storage::Memory)).await;
    assert_eq!(info(&again).await.created, created);
    assert_eq!(again.bucket(), "parti_orders");
    let other = connect(&world.server, options().bucket_prefix("test-")).await;
    assert_eq!(other.bucket(), "test-orders");
    let given = world.store.client().clone();
    let given = NatsStore::with_client(given, &group(), options()).await;
    assert_eq!(info(&given.expect("opens")).await.created, created);
    let debug = format!("{again:?}");
    assert!(debug.contains("parti_orders"), "{debug}");
}

/// The start of a whole group: all see no bucket and all create it.
#[tokio::test(flavor = "multi_thread")]
async fn many_processes_can_create_the_bucket_at_the_same_time() {
    let server = start(ServerOptions::default());
    let opening = (0..16).map(|n| {
        let url = server.url();
        let storage = if n % 2 == 0 {
            Storage::File
        } else {
            Storage::Memory
        };
        tokio::spawn(
            async move { NatsStore::connect(&url, &group(), options().storage(storage)).await },
        )
    });
    for opened in opening.collect::<Vec<_>>() {
        opened.await.expect("no panic").expect("opens");
    }
}

/// A bucket that expires keys by a clock ends living sessions.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_with_wrong_settings_is_refused_and_the_setting_named() {
    let world = World::new().await;
    let good = r#""subjects":["$KV.parti_orders.>"],"discard":"new","storage":"memory",
        "allow_direct":true,"allow_atomic":true"#;
    let cases = [
        (
            r#""max_msgs_per_subject":1,"max_age":60000000000"#,
            "max_age",
            "60s",
        ),
        (r#""max_msgs_per_subject":5"#, "max_msgs_per_subject", "5"),
        (
            r#""max_msgs_per_subject":1,"allow_atomic":false"#,
            "allow_atomic",
            "false",
        ),
        (
            r#""max_msgs_per_subject":1,"allow_direct":false"#,
            "allow_direct",
            "false",
        ),
    ];
    for (settings, named, value) in cases {
        api(&world.store, "STREAM.DELETE.KV_parti_orders", "").await;
        let config = format!(r#"{{"name":"KV_parti_orders",{good},{settings}}}"#);
        let made = api(&world.store, "STREAM.CREATE.KV_parti_orders", &config).await;
        assert!(made["error"].is_null(), "{made}");
        let error = refusal(&world.server.url()).await;
        let OpenError::BucketMismatch { setting, found, .. } = error else {
            panic!("{error}")
        };
        assert_eq!((setting, found.as_str()), (named, value));
    }
}

/// Greets as a server of another version and answers what a client asks before it is connected.
fn greeter(version: &str) -> std::net::SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let info = format!(
        r#"INFO {{"server_id":"x","version":"{version}","max_payload":1048576,"headers":true}}"#
    );
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        stream
            .write_all(format!("{info}\r\n").as_bytes())
            .expect("greets");
        let lines = BufReader::new(stream.try_clone().expect("a clone")).lines();
        for line in lines.map_while(Result::ok) {
            if line.starts_with("PING") && stream.write_all(b"PONG\r\n").is_err() {
                return;
            }
        }
    });
    address
}

/// Greets and answers one question after another with an error of this number, or not at all.
fn scripted(answers: &'static [Option<u64>]) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let info = r#"{"server_id":"x","version":"2.12.8","max_payload":1048576,"headers":true}"#;
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let hello = format!("INFO {info}\r\n");
        stream.write_all(hello.as_bytes()).expect("greets");
        let (mut answers, mut listens) = (answers.iter(), String::new());
        let lines = BufReader::new(stream.try_clone().expect("a clone")).lines();
        for line in lines.map_while(Result::ok) {
            let words: Vec<&str> = line.split(' ').collect();
            let answer = match words[..] {
                ["PING"] => Some("PONG\r\n".to_owned()),
                ["SUB", _, number] => {
                    number.clone_into(&mut listens);
                    None
                }
                ["PUB", _, inbox, _] => answers.next().copied().flatten().map(|number| {
                    let error = format!(r#"{{"error":{{"err_code":{number},"code":503}}}}"#);
                    format!("MSG {inbox} {listens} {}\r\n{error}\r\n", error.len())
                }),
                _ => None,
            };
            if answer.is_some_and(|answer| stream.write_all(answer.as_bytes()).is_err()) {
                return;
            }
        }
    });
    format!("nats://{address}")
}

/// A stream that is just electing its leader answers no question, also not later; and one whose name
/// is taken is not found until it is made. A worker that asks only once fails to start in a cluster where
/// another one creates the bucket at this moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_being_created_is_asked_for_again() {
    const MISSING: Option<u64> = Some(10059);
    const TAKEN: Option<u64> = Some(10058);
    // Here the end of the questions, and nothing else is told as such.
    const OFF: Option<u64> = Some(10076);
    let scripts: [&[Option<u64>]; 3] = [
        &[None, OFF],
        &[MISSING, TAKEN, MISSING, MISSING, OFF],
        &[MISSING, TAKEN, None, OFF],
    ];
    for script in scripts {
        let patient = options().request_timeout(Duration::from_millis(200));
        let opened = NatsStore::connect(&scripted(script), &group(), patient).await;
        let error = opened.map(drop).expect_err("refused at last");
        assert!(
            matches!(error, OpenError::JetStreamOff { .. }),
            "{script:?}: {error:?}"
        );
    }
}

/// In 2.12.0 the conditions of a batch are not checked, so nothing would be exclusive.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_server_is_refused_with_both_versions() {
    for version in ["2.10.26", "2.11.11", "2.12.0"] {
        let error = refusal(&format!("nats://{}", greeter(version))).await;
        assert!(matches!(error, OpenError::ServerTooOld { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(version) && text.contains("2.12.1"), "{text}");
    }
}

/// A dead address must be named within the time given, not after minutes.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_named() {
    let mut server = start(ServerOptions::default());
    let (url, address) = (server.url(), server.address().to_string());
    server.kill().expect("dies");
    let begin = Instant::now();
    let error = refusal(&url).await;
    assert!(begin.elapsed() < Duration::from_secs(6));
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&address), "{error}");
}

/// A paused server accepts connections and says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_greet_is_given_up() {
    let server = start(ServerOptions::default());
    server.pause().expect("pauses");
    let patient = options().connect_timeout(Duration::from_millis(500));
    let opened = NatsStore::connect(&server.url(), &group(), patient).await;
    server.resume().expect("goes on");
    let error = opened.map(drop).expect_err("no greeting");
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
}

/// "Time-out" for a switched-off JetStream sends people after the network.
#[tokio::test(flavor = "multi_thread")]
async fn jetstream_off_is_told() {
    let server = start(ServerOptions::default().without_jetstream());
    let error = refusal(&server.url()).await;
    assert!(matches!(error, OpenError::JetStreamOff { .. }), "{error:?}");
}

/// Credentials that do not fit must be told, and never repeated.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_told_and_not_repeated() {
    let server = start(ServerOptions::default().token("right-token"));
    let address = server.address();
    let error = refusal(&format!("nats://wrong-token@{address}")).await;
    assert!(matches!(error, OpenError::Unauthorized { .. }), "{error:?}");
    let text = format!("{error} {error:?}");
    assert!(!text.contains("wrong-token"), "{text}");
    assert!(text.contains(&address.to_string()), "{text}");
    let url = format!("nats://right-token@{address}");
    let store = NatsStore::connect(&url, &group(), options())
        .await
        .expect("opens");
    assert!(!format!("{store:?}").contains("right-token"));
}

/// A missing right shows as silence; it must be told with the subject.
#[tokio::test(flavor = "multi_thread")]
async fn missing_permissions_are_told_with_the_subject() {
    let cases = [
        (
            vec!["$JS.API.STREAM.CREATE.>"],
            vec![],
            "STREAM.CREATE.KV_parti_orders",
        ),
        (
            vec!["$JS.API.STREAM.INFO.>"],
            vec![],
            "STREAM.INFO.KV_parti_orders",
        ),
        (vec![], vec!["_INBOX.>"], "_INBOX."),
    ];
    for (no_publish, no_subscribe, part) in cases {
        let server = ServerOptions::default().user("u", "secret", &no_publish, &no_subscribe);
        let server = start(server);
        let url = format!("nats://u:secret@{}", server.address());
        let hasty = options().connect_timeout(Duration::from_secs(1));
        let opened = NatsStore::connect(&url, &group(), hasty).await;
        let text = opened.map(drop).expect_err(part).to_string();
        assert!(
            text.contains(part) && text.contains("permissions"),
            "{text}"
        );
        assert!(!text.contains("secret"), "{text}");
    }
}

/// `parti_` and `eu_orders` make the same name as `parti_eu_` and `orders`: two groups would share a
/// bucket, and each would get the other's partitions.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_of_another_prefix_and_group_is_refused_with_both() {
    let server = start(ServerOptions::default());
    let name = |name: &str| GroupName::new(name).expect("valid");
    let url = server.url();
    let eu_orders = NatsStore::connect(&url, &name("eu_orders"), options()).await;
    assert_eq!(eu_orders.expect("opens").bucket(), "parti_eu_orders");
    let prefixed = options().bucket_prefix("parti_eu_");
    let refused = NatsStore::connect(&url, &name("orders"), prefixed).await;
    let refused = refused.map(drop).expect_err("it is another group's");
    let text = refused.to_string();
    for both in [
        "\"parti_\" and group \"eu_orders\"",
        "\"parti_eu_\" and group \"orders\"",
    ] {
        assert!(text.contains(both), "{text}");
    }
    let again = NatsStore::connect(&url, &name("eu_orders"), options()).await;
    again.expect("opens again");
}

//! Logging in: every way a server can ask for it, and that no secret is ever repeated.

use std::time::{SystemTime, UNIX_EPOCH};

use async_nats::ConnectOptions;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use parti_core::{Expect, StoreErrorKind};
use parti_nats::{NatsStore, OpenError, async_nats};
use parti_testing::rig::nats_server::{NatsServer, ServerOptions};
use serde_json::{Value, json};

use crate::support::{Log, commit, eventually, get, group, options, put, start, write};

/// A way to log in: what the server knows, and what a client gives that fits or does not.
struct Way {
    name: &'static str,
    server: ServerOptions,
    right: ConnectOptions,
    wrong: ConnectOptions,
    secrets: Vec<String>,
}

fn seed(pair: &KeyPair) -> String {
    pair.seed().expect("it was made here")
}

fn token() -> Way {
    let options = |token: &str| ConnectOptions::with_token(token.to_owned());
    Way {
        name: "token",
        server: ServerOptions::default().token("right-token"),
        right: options("right-token"),
        wrong: options("wrong-token"),
        secrets: vec!["right-token".into(), "wrong-token".into()],
    }
}

fn password() -> Way {
    let options = |password: &str| {
        ConnectOptions::with_user_and_password("worker".to_owned(), password.to_owned())
    };
    Way {
        name: "password",
        server: ServerOptions::default().user("worker", "right-secret", &[], &[]),
        right: options("right-secret"),
        wrong: options("wrong-secret"),
        secrets: vec!["right-secret".into(), "wrong-secret".into()],
    }
}

fn nkey() -> Way {
    let (known, unknown) = (KeyPair::new_user(), KeyPair::new_user());
    let public = known.public_key();
    Way {
        name: "nkey",
        server: ServerOptions::default().config(&format!(
            "authorization {{ users: [ {{ nkey: {public} }} ] }}"
        )),
        right: ConnectOptions::with_nkey(seed(&known)),
        wrong: ConnectOptions::with_nkey(seed(&unknown)),
        secrets: vec![seed(&known), seed(&unknown)],
    }
}

/// A token as operators issue them, signed with their key.
fn jwt(issuer: &KeyPair, subject: &str, name: &str, nats: Value) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let claims = json!({
        "jti": format!("{name}-{now}"), "iat": now, "iss": issuer.public_key(),
        "name": name, "sub": subject, "nats": nats,
    });
    let header = json!({"typ": "JWT", "alg": "ed25519-nkey"});
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let signature = issuer.sign(signed.as_bytes()).expect("it has its seed");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn credentials(jwt: &str, user: &KeyPair) -> String {
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        seed(user)
    )
}

/// A server in operator mode, and credentials of a user it knows and of one it does not.
async fn operator() -> Way {
    let (operator, account) = (KeyPair::new_operator(), KeyPair::new_account());
    let system = KeyPair::new_account();
    let (user, stranger) = (KeyPair::new_user(), KeyPair::new_account());
    let own = json!({"type": "operator", "version": 2});
    let operator_jwt = jwt(&operator, &operator.public_key(), "operator", own);
    // The account of the server itself may have no JetStream.
    let signed = |account: &KeyPair, store: i64| {
        let limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
            "wildcards": true, "conn": -1, "leaf": -1, "mem_storage": store,
            "disk_storage": store, "streams": store, "consumer": store,
        });
        let claims = json!({"type": "account", "version": 2, "limits": limits});
        jwt(&operator, &account.public_key(), "account", claims)
    };
    let (account_jwt, system_jwt) = (signed(&account, -1), signed(&system, 0));
    let claims = json!({
        "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1,
    });
    let user_jwt = jwt(&account, &user.public_key(), "user", claims.clone());
    let strange_jwt = jwt(&stranger, &user.public_key(), "user", claims);
    let file = std::env::temp_dir().join(format!("parti-{}.creds", std::process::id()));
    std::fs::write(&file, credentials(&user_jwt, &user)).expect("written");
    let right = ConnectOptions::with_credentials_file(&file).await;
    std::fs::remove_file(&file).expect("removed");
    let wrong = ConnectOptions::with_credentials(&credentials(&strange_jwt, &user));
    Way {
        name: "credentials",
        server: ServerOptions::default().config(&format!(
            "operator: {operator_jwt}\nsystem_account: {0}\nresolver: MEMORY\n\
             resolver_preload: {{ {0}: {system_jwt}, {1}: {account_jwt} }}",
            system.public_key(),
            account.public_key()
        )),
        right: right.expect("credentials"),
        wrong: wrong.expect("credentials"),
        secrets: vec![seed(&user), user_jwt, strange_jwt],
    }
}

/// A login that works in a test tool and not in a worker is an incident; a secret in a log is one
/// for good.
#[tokio::test]
async fn every_way_to_log_in_works_and_no_secret_is_ever_repeated() {
    for Way {
        name,
        server,
        right,
        wrong,
        secrets,
    } in [token(), password(), nkey(), operator().await]
    {
        let (log, _guard) = Log::begin();
        let mut server = start(server);
        let url = server.url();
        let mut said = format!("{right:?} {wrong:?}");
        let refused = NatsStore::connect_with(wrong, &url, &group(), options()).await;
        let error = refused.map(drop).expect_err(name);
        assert!(
            matches!(error, OpenError::Unauthorized { .. }),
            "{name}: {error:?}"
        );
        said += &chain(&error);
        let store = NatsStore::connect_with(right, &url, &group(), options()).await;
        let store = store.unwrap_or_else(|error| panic!("{name}: {error}"));
        write(&store, put("a", "1", Expect::Absent)).await;
        // The same login again, by the client itself.
        server.restart().expect("comes back");
        eventually("it logs in again", crate::support::PATIENCE, async || {
            commit(&store, vec![put("a", "2", Expect::Any)])
                .await
                .is_ok()
        })
        .await;
        assert_eq!(
            get(&store, "a").await.expect("there").value.as_deref(),
            Some(&b"2"[..])
        );
        server.kill().expect("dies");
        eventually("it notices", crate::support::PATIENCE, async || {
            let written = commit(&store, vec![put("a", "3", Expect::Any)]).await;
            let error = written.expect_err("no server");
            said += &chain(&error);
            error.kind == StoreErrorKind::Unavailable
        })
        .await;
        said += &format!("{store:?} {:?}", options());
        let logged = log.text();
        assert!(
            logged.contains("CONNECT"),
            "{name}: the log reaches down: {logged}"
        );
        for secret in secrets {
            assert!(!said.contains(&secret), "{name}: {said}");
            assert!(!logged.contains(&secret), "{name}: a secret in the log");
        }
    }
}

/// The error, what caused it, and both as developers print them.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(" {error} {error:?}");
        source = error.source();
    }
    text
}

/// A password rotated while workers run must not end their clients for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_refused_for_a_while_is_tried_again() {
    let with = |password: &str| ServerOptions::default().user("worker", password, &[], &[]);
    let mut server: NatsServer = start(with("first"));
    let url = format!("nats://worker:first@{}", server.address());
    let store = NatsStore::connect(&url, &group(), options())
        .await
        .expect("opens");
    server.reload(&with("second")).expect("reloads");
    eventually("it is out", crate::support::PATIENCE, async || {
        let written = commit(&store, vec![put("a", "1", Expect::Any)]).await;
        written.is_err_and(|error| error.kind == StoreErrorKind::Unavailable)
    })
    .await;
    eventually(
        "it was tried for long",
        crate::support::PATIENCE,
        async || {
            let log = std::fs::read_to_string(server.log_path()).unwrap_or_default();
            log.matches("authentication error").count() >= 20
        },
    )
    .await;
    server.reload(&with("first")).expect("reloads");
    eventually("it is in again", crate::support::PATIENCE, async || {
        commit(&store, vec![put("a", "2", Expect::Any)])
            .await
            .is_ok()
    })
    .await;
}

//! The program `parti` beside groups on a real server: what it prints, what it ends with, and that it
//! writes nothing.

mod file;
mod pins;
#[path = "../support/recorder.rs"]
mod recorder;
mod recordings;
mod repartition;
mod terminal;
mod verbs;

use std::process::{Command, Output};
use std::time::Duration;

use parti::nats::{NatsOptions, NatsStore};
use parti::sources::StaticSource;
use parti::store::{Store, StoreOp, StoreReply};
use parti::{Config, GroupName, Manager, PartitionKey, StopMode};
use parti_testing::rig::nats_server::{NatsServer, ServerOptions};
use recorder::{Behaviour, Recorder, until};
use serde_json::Value;

/// How long anything may take that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

fn server(lines: &str) -> NatsServer {
    let options = ServerOptions::default().config(lines);
    NatsServer::start(options).unwrap_or_else(|error| panic!("{error}"))
}

fn config(group: &str, expected: u32) -> Config {
    let config = Config::builder(group).expected_workers(expected);
    let config = config.lease(Duration::from_secs(3));
    let config = config.heartbeat_interval(Duration::from_millis(500));
    config.build().expect("coherent")
}

/// A group of two workers with six partitions each.
async fn group(url: &str, name: &str) -> [Manager; 2] {
    let handler = Recorder::new("all");
    let start = |endpoint: &'static str| {
        let source = StaticSource::numbered("p", 12).expect("valid");
        let builder = Manager::builder(config(name, 2), source, handler.clone());
        builder.nats(url).advertise(endpoint).start()
    };
    let first = start("http://a").await.expect("starts");
    let second = start("http://b").await.expect("starts");
    until("they share", PATIENCE, || {
        (first.assignment().len(), second.assignment().len()) == (6, 6)
    })
    .await;
    [first, second]
}

/// Runs the program without anything of this machine's own settings.
fn parti(url: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parti"));
    for name in ["NATS_URL", "NATS_CONTEXT", "NATS_CREDS", "PARTI_GROUP"] {
        command.env_remove(name);
    }
    command.env("XDG_CONFIG_HOME", "/nowhere");
    if !url.is_empty() {
        command.args(["--server", url]);
    }
    command.args(arguments).output().expect("runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(url: &str, arguments: &[&str]) -> Value {
    let output = parti(url, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[track_caller]
fn fails(url: &str, arguments: &[&str], code: i32, named: &[&str]) {
    let output = parti(url, arguments);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{arguments:?}: {output:?}"
    );
    let said = text(&output.stderr);
    for word in named {
        assert!(said.contains(word), "{word:?} is not in {said:?}");
    }
}

/// The group `orders`, to read and write beside the program.
async fn orders_of(url: &str) -> NatsStore {
    let name = GroupName::new("orders").expect("valid");
    let store = NatsStore::connect(url, &name, NatsOptions::default()).await;
    store.expect("opens")
}

async fn revision(store: &NatsStore) -> u64 {
    match store.execute(StoreOp::Info).await {
        Ok(StoreReply::Info(info)) => info.last_revision.get(),
        other => panic!("{other:?}"),
    }
}

/// At night nobody reads a manual: each command answers what its name asks.
#[tokio::test(flavor = "multi_thread")]
async fn each_command_tells_what_the_group_is_and_what_a_change_would_move() {
    let server = server("");
    let url = server.url();
    let workers = group(&url, "orders").await;
    let groups = json(&url, &["groups"]);
    assert_eq!(groups[0]["group"], "orders", "{groups}");
    assert_eq!(groups[0]["partitions"], 12, "{groups}");

    // The only group there is need not be named.
    let status = json(&url, &["status"]);
    assert_eq!(status["partitions"]["owned"], 12, "{status}");
    assert_eq!(status["workers"].as_array().map(Vec::len), Some(2));
    let leader = status["leading"]["leader"]
        .as_str()
        .expect("somebody leads");
    let shown = text(&parti(&url, &["status", "orders"]).stdout);
    assert!(
        shown.contains(leader) && shown.contains("12 owned"),
        "{shown}"
    );

    let of = json(&url, &["partitions", "--of", leader]);
    assert_eq!(of.as_array().map(Vec::len), Some(6), "{of}");
    let all = json(&url, &["partitions"]);
    assert_eq!(all.as_array().map(Vec::len), Some(12), "{all}");
    for none in ["--unowned", "--moving"] {
        let found = json(&url, &["partitions", none]);
        assert_eq!(found.as_array().map(Vec::len), Some(0), "{found}");
    }
    let key = PartitionKey::new(["p", "3"]).expect("valid");
    let owner = json(&url, &["owner", "p/3"]);
    let has = |worker: &&Manager| {
        let mut guards = worker.assignment().into_iter();
        guards.any(|guard| *guard.partition() == key)
    };
    let holder = workers.iter().find(has);
    let holder = holder.expect("somebody has it").status().worker;
    assert_eq!(
        owner["owner"]["worker"].as_str(),
        holder.as_ref().map(|it| it.as_str())
    );
    assert!(
        owner["owner"]["endpoint"]
            .as_str()
            .is_some_and(|it| it.starts_with("http://"))
    );
    let explained = json(&url, &["explain", "p/3"]);
    assert_eq!(explained["owner"]["worker"], owner["owner"]["worker"]);
    assert!(!explained["moves"].as_array().expect("a list").is_empty());
    let history = json(&url, &["history", "-n", "1"]);
    assert_eq!(history.as_array().map(Vec::len), Some(1));
    let workers_told = json(&url, &["workers"]);
    assert_eq!(workers_told[0]["state"], "active", "{workers_told}");

    let plan = json(&url, &["plan", "--add", "1"]);
    assert_eq!(
        (&plan["moved"], &plan["lower_bound"]),
        (&4.into(), &4.into()),
        "{plan}"
    );
    assert_eq!(plan["notes"].as_array().map(Vec::len), Some(0), "{plan}");
    let plan = json(&url, &["plan", "--drain", leader]);
    assert_eq!(plan["moved"], 6, "{plan}");
    let advice = json(&url, &["plan", "--advise", "1..4"]);
    let most: Vec<_> = (0..4).map(|n| advice[n]["max_load"].as_u64()).collect();
    assert_eq!(most, [Some(12), Some(6), Some(4), Some(3)], "{advice}");
    for worker in workers {
        worker.stop(StopMode::Now).await.expect("stops");
    }
}

/// A tool that writes changes what it is to show; one that creates a bucket makes a second group.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_and_no_bucket_is_created() {
    let server = server("");
    let url = server.url();
    fails(&url, &["status"], 3, &["no group"]);
    fails(&url, &["status", "orders"], 3, &["no group orders"]);
    let groups = json(&url, &["groups"]);
    assert_eq!(groups.as_array().map(Vec::len), Some(0), "{groups}");
    // A bucket that nobody uses, so that every revision is the program's.
    let store = orders_of(&url).await;
    let before = revision(&store).await;
    for command in [
        "status",
        "workers",
        "partitions",
        "history",
        "events",
        "groups",
    ] {
        let output = parti(&url, &[command]);
        assert!(output.status.success(), "{command}: {output:?}");
    }
    let doctor = parti(&url, &["doctor"]);
    assert_eq!(doctor.status.code(), Some(7), "{doctor:?}");
    fails(&url, &["plan"], 3, &["no partitions"]);
    assert_eq!(revision(&store).await, before);
}

/// A wrong name is answered with the right one, a missing permission with its subject.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_wrongly_is_named_and_has_an_exit_code_of_its_own() {
    let server = server("");
    let url = server.url();
    let workers = group(&url, "orders").await;
    let name = GroupName::new("payments").expect("valid");
    let other = NatsStore::connect(&url, &name, NatsOptions::default()).await;
    drop(other.expect("opens"));
    fails(&url, &["status"], 2, &["--group", "orders", "payments"]);
    fails(
        &url,
        &["status", "odrers"],
        3,
        &["no group odrers", "orders, payments"],
    );
    fails(&url, &["--group", "a b", "status"], 2, &["\"a b\""]);
    let orders = ["--group", "orders"];
    let with = |arguments: &[&'static str]| [&orders[..], arguments].concat();
    fails(&url, &with(&["owner", "p/33"]), 3, &["\"p/33\"", "p/3"]);
    fails(
        &url,
        &with(&["partitions", "--of", "wroker-0"]),
        3,
        &["worker-0"],
    );
    fails(
        &url,
        &with(&["plan", "--remove", "worker-7"]),
        3,
        &["\"worker-7\"", "worker-0"],
    );
    fails(&url, &with(&["plan", "--advise", "4..2"]), 2, &["4..2"]);
    fails(
        &url,
        &with(&["plan", "--weights", "/nowhere"]),
        2,
        &["/nowhere"],
    );
    fails(&url, &["--timeout", "0s", "groups"], 2, &["0s"]);
    fails(&url, &["--context", "prod", "groups"], 2, &["\"prod\""]);
    fails(&url, &["--tlscert", "/nowhere", "groups"], 2, &["--tlskey"]);
    fails("nats://127.0.0.1:1", &["groups"], 5, &["127.0.0.1:1"]);
    fails("nats://host:port", &["groups"], 2, &["nats://host:port"]);
    // JSON on the way out, also of errors.
    let output = parti(&url, &["--json", "owner", "p/33", "-g", "orders"]);
    let said: Value = serde_json::from_slice(&output.stderr).expect("JSON");
    assert_eq!(said["exit"], 3, "{said}");
    for worker in workers {
        worker.stop(StopMode::Now).await.expect("stops");
    }
}

/// Whose credentials are too small must read which subject is missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_without_a_permission_reads_which() {
    let lines = r#"
        accounts { A { jetstream: enabled, users: [
            { user: all, password: p }
            { user: few, password: p, permissions: { publish: { deny: ["$JS.API.STREAM.LIST"] } } }
            { user: less, password: p, permissions: { publish: { deny: ["$JS.API.STREAM.INFO.>"] } } }
        ] } }"#;
    let server = server(lines);
    let at = |user: &str| format!("nats://{user}:p@{}", server.address());
    let name = GroupName::new("orders").expect("valid");
    let store = NatsStore::connect(&at("all"), &name, NatsOptions::default()).await;
    drop(store.expect("opens"));
    fails(&at("few"), &["groups"], 4, &["$JS.API.STREAM.LIST"]);
    assert!(parti(&at("few"), &["status", "orders"]).status.success());
    fails(
        &at("less"),
        &["status", "orders"],
        4,
        &["$JS.API.STREAM.INFO.KV_parti_orders"],
    );
    fails(&at("nobody"), &["groups"], 4, &["credentials"]);
    let doctor = parti(&at("less"), &["doctor", "--group", "orders"]);
    assert_eq!(doctor.status.code(), Some(4), "{doctor:?}");
    assert!(text(&doctor.stdout).contains("not-allowed"), "{doctor:?}");
}

/// What is granted from the page must be enough.
#[tokio::test(flavor = "multi_thread")]
async fn the_documented_permissions_are_enough_for_every_command() {
    let docs = include_str!("../../../docs/CLI.md");
    let begin = docs.find("permissions: {").expect("they are shown");
    let shown = docs[begin..].split("```").next().unwrap_or_default();
    let server = server(&format!(
        "accounts {{ A {{ jetstream: enabled, users: [
            {{ user: all, password: p }}
            {{ user: reader, password: p\n{shown}\n}} ] }} }}"
    ));
    let at = |user: &str| format!("nats://{user}:p@{}", server.address());
    let workers = group(&at("all"), "orders").await;
    for arguments in [
        &["groups"][..],
        &["status"],
        &["owner", "p/1"],
        &["plan", "--add", "1"],
        &["doctor"],
    ] {
        let inbox = &["--inbox-prefix", "_INBOX_reader"][..];
        let output = parti(&at("reader"), &[inbox, arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        assert!(!text(&output.stdout).is_empty());
    }
    for worker in workers {
        worker.stop(StopMode::Now).await.expect("stops");
    }
}

/// A context of `nats` is all that people give who use it every day.
#[tokio::test(flavor = "multi_thread")]
async fn contexts_of_nats_are_used_by_name_and_when_selected() {
    let server = server("authorization { user: u, password: secret }");
    let home = std::env::temp_dir().join(format!("parti-contexts-{}", std::process::id()));
    let contexts = home.join("nats/context");
    std::fs::create_dir_all(&contexts).expect("made");
    let address = server.address();
    let context = format!(r#"{{"url":"nats://{address}","user":"u","password":"secret"}}"#);
    std::fs::write(contexts.join("prod.json"), context).expect("written");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_parti"));
        command.env_remove("NATS_URL").env_remove("NATS_CONTEXT");
        command.env("XDG_CONFIG_HOME", &home).args(arguments);
        command.output().expect("runs")
    };
    let named = run(&["--context", "prod", "groups"]);
    assert!(named.status.success(), "{named:?}");
    let wrong = run(&["--context", "prdo", "groups"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("prod"), "{wrong:?}");
    std::fs::write(home.join("nats/context.txt"), "prod\n").expect("written");
    let selected = run(&["groups"]);
    assert!(selected.status.success(), "{selected:?}");
    // A server named by hand does not get the password of the selected context.
    let other = run(&["--server", &format!("nats://{address}"), "groups"]);
    assert_eq!(other.status.code(), Some(4), "{other:?}");
    std::fs::remove_dir_all(&home).expect("removed");
}

/// A doctor that cries on a group that is well is not heard when it is not.
#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_nothing_on_a_group_that_is_well_and_names_who_holds_up_a_handoff() {
    let server = server("");
    let url = server.url();
    let workers = group(&url, "orders").await;
    let found = json(&url, &["doctor", "--group", "orders"]);
    assert_eq!(found.as_array().map(Vec::len), Some(0), "{found}");
    for worker in workers {
        worker.stop(StopMode::Now).await.expect("stops");
    }
    // Another group, whose only worker does not let go.
    let slow = Recorder::new("slow").behaving(Behaviour::HangOnRevoked);
    let start = |handler: Recorder| {
        let source = StaticSource::numbered("p", 4).expect("valid");
        let builder = Manager::builder(config("slow", 1), source, handler);
        builder.nats(&url).start()
    };
    let first = start(slow).await.expect("starts");
    until("it owns", PATIENCE, || first.assignment().len() == 4).await;
    let second = start(Recorder::new("b")).await.expect("starts");
    let holder = first.status().worker.expect("claimed").to_string();
    let deadline = std::time::Instant::now() + PATIENCE;
    let status = loop {
        let status = json(&url, &["status", "slow"]);
        if status["partitions"]["moving"] == 2 {
            break status;
        }
        assert!(std::time::Instant::now() < deadline, "{status}");
    };
    assert_eq!(status["handoffs"][0]["held_up_by"], holder, "{status}");
    let key = status["handoffs"][0]["partition"].as_str().expect("a key");
    let owner = parti(&url, &["--group", "slow", "owner", key]);
    assert_eq!(owner.status.code(), Some(7), "{owner:?}");
    assert!(text(&owner.stdout).contains(&holder), "{owner:?}");
    drop((first, second));
}

/// Completions and man pages are made from the same words as the help.
#[test]
fn completions_and_man_pages_are_made() {
    let shell = parti("", &["completions", "bash"]);
    assert!(text(&shell.stdout).contains("--context"), "{shell:?}");
    let directory = std::env::temp_dir().join(format!("parti-man-{}", std::process::id()));
    let made = parti("", &["man", directory.to_str().expect("text")]);
    assert!(made.status.success(), "{made:?}");
    let page = std::fs::read_to_string(directory.join("parti-status.1")).expect("a page");
    assert!(page.contains("One screen"), "{page}");
    std::fs::remove_dir_all(&directory).expect("removed");
}

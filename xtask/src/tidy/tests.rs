//! Each rule is shown to fail on a bad snippet and to keep quiet on a good one.

use super::*;

mod words;

fn world_with(paths: &[&str]) -> World {
    World {
        paths: paths.iter().map(ToString::to_string).collect(),
        commands: ["test", "ci"].map(String::from).into(),
    }
}

/// The rules broken by one file, as text.
fn broken(path: &str, text: &str) -> Vec<String> {
    let world = world_with(&["README.md", "docs/STYLE.md", "parti/examples/quickstart.rs"]);
    let (path, text) = (path.to_string(), text.to_string());
    let offences = check(&[File { path, text }], &world);
    offences.iter().map(Offence::to_string).collect()
}

/// One offence, and it is this one.
fn only(path: &str, text: &str, expected: &str) {
    let found = broken(path, text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains(expected), "{found:?}");
}

/// The workspace itself is tidy.
#[test]
fn the_workspace_is_tidy() {
    let files = files().expect("git lists the files");
    assert!(files.len() > 20, "only {} files were found", files.len());
    let offences = check(&files, &world(&files));
    let lines: Vec<String> = offences.iter().map(Offence::to_string).collect();
    assert!(lines.is_empty(), "\n{}", lines.join("\n"));
}

/// A tidy file must not be complained about, or people switch the check off.
#[test]
fn good_files_pass() {
    let good = "//! What it is.\n\nuse alloc::collections::BTreeMap;\n";
    assert!(broken("parti-core/src/good.rs", good).is_empty());
    assert!(
        broken(
            "parti-core/src/lib.rs",
            "#![doc = include_str!(\"../R.md\")]\n"
        )
        .is_empty()
    );
    assert!(
        broken(
            "parti/src/system/clock.rs",
            "//! A clock.\nlet now = Instant::now();\n"
        )
        .is_empty()
    );
    let wire = "//! Bytes.\nuse serde::Serialize;\n";
    assert!(broken("parti-core/src/records/wire.rs", wire).is_empty());
    assert!(broken("parti-core/src/records/wire/convert.rs", wire).is_empty());
    assert!(broken("parti-core/src/x.rs", "//! No HashMap, no serde here.\n").is_empty());
}

/// A file that does not say what it is for grows a second purpose.
#[test]
fn a_file_must_open_with_its_purpose() {
    only(
        "parti/src/a.rs",
        "use std::fmt;\n",
        "a.rs:1: must open with `//!`",
    );
    only("parti/src/a.rs", "", "must open with `//!`");
}

/// Every state machine ends as one file of thousands of lines unless something stops it.
#[test]
fn long_files_and_long_lines_are_found() {
    let lines = |count: usize| format!("//! Doc.\n{}", "\n".repeat(count - 1));
    assert!(broken("parti/src/a.rs", &lines(rust::MAX_LINES)).is_empty());
    only("parti/src/a.rs", &lines(rust::MAX_LINES + 1), "501 lines");
    let wide = format!("//! Doc.\n// {}\n", "x".repeat(rust::MAX_WIDTH));
    only("parti/src/a.rs", &wide, "a.rs:2: 113 columns");
}

/// Two spellings of a module's place make every search miss one.
#[test]
fn a_mod_rs_is_found() {
    only("parti/src/a/mod.rs", "//! Doc.\n", "no mod.rs");
}

/// Notes to oneself become permanent.
#[test]
fn leftovers_are_found() {
    let words = [
        "TO+DO",
        "FIX+ME",
        "dbg+!(x)",
        "todo+!()",
        "unimplemented+!()",
    ];
    for word in words.map(|word| word.replace('+', "")) {
        only(
            "parti/src/a.rs",
            &format!("//! Doc.\n// {word}\n"),
            "left behind",
        );
    }
}

/// With an ambient clock or an unordered map a failing seed cannot be repeated.
#[test]
fn ambient_time_chance_and_order_are_found_in_pure_crates() {
    for word in [
        "Instant::now()",
        "SystemTime::UNIX_EPOCH",
        "HashMap::new()",
        "thread_rng()",
    ] {
        for crate_name in ["parti-core", "parti-strategy"] {
            let path = format!("{crate_name}/src/a.rs");
            only(&path, &format!("//! Doc.\nlet x = {word};\n"), "pure crate");
        }
    }
}

/// Derives on domain types freeze the wire format by accident.
#[test]
fn serde_outside_the_wire_is_found() {
    only(
        "parti-core/src/records/record.rs",
        "//! Doc.\nuse serde::Serialize;\n",
        "wire types",
    );
    only(
        "parti-core/src/wired.rs",
        "//! Doc.\nuse serde::Serialize;\n",
        "wire types",
    );
}

/// A path of the author's machine helps nobody and says too much.
#[test]
fn machine_paths_and_private_hosts_are_found_in_any_file() {
    for folder in ["/tm+p/x", "/hom+e/me", "/roo+t/x", "/wor+k/x", "/User+s/me"] {
        let line = format!("cd {}\n", folder.replace('+', ""));
        only(".ci/run", &line, "folder of one machine");
    }
    let host = "https:+//index.mirror.internal/simple".replace('+', "");
    only("docs/a.md", &host, "index.mirror.internal");
    let fine = "https:+//github.com/x/hom+e/y and parti/wor+k/z".replace('+', "");
    assert!(broken("docs/a.md", &fine).is_empty());
}

/// The first command a newcomer copies must not fail.
#[test]
fn commands_examples_and_links_must_exist() {
    only("README.md", "cargo xtask tset\n", "no `cargo xtask tset`");
    only(
        "README.md",
        "cargo run --example slowstart\n",
        "no example `slowstart`",
    );
    only("docs/a.md", "see [style](STILE.md)\n", "leads nowhere");
    only(
        "README.md",
        "see [style](docs/STILE.md#files)\n",
        "leads nowhere",
    );
    let good = "`cargo xtask test`, --example quickstart, [s](docs/STYLE.md#x), [c](#below)\n";
    assert!(broken("README.md", good).is_empty());
    assert!(broken("docs/a.md", "[up](../README.md) and [docs](../docs/)\n").is_empty());
}

/// A caller that bounds a wait must know what is left behind when the time is over.
#[test]
fn public_futures_must_say_what_dropping_them_does_and_what_bounds_them() {
    let file = |docs: &str, declaration: &str| {
        let docs: String = docs.lines().map(|line| format!("/// {line}\n")).collect();
        format!("//! Doc.\n\n{docs}{declaration}\n")
    };
    let none = "Waits.";
    let unbounded = "Waits.\n\n# Cancellation safety\nDropping it changes nothing.";
    let bounded = "Waits.\n\n# Cancellation safety\nNothing is left. Bounded by `lease`.";
    let declarations = [
        "pub async fn wait(&self) {}",
        "#[must_use]\npub async fn wait<T>(\n    &self,\n) -> T {}",
        "pub fn wait(&self) -> impl Future<Output = ()> {}",
        "pub fn wait(\n    &self,\n) -> BoxFuture<'_, ()>\nwhere\n    Self: Sized,\n{}",
        "pub fn wait() -> Pin<Box<dyn Stream<Item = u8>>> {}",
    ];
    for declaration in declarations {
        let path = "parti-nats/src/a.rs";
        only(path, &file(none, declaration), "`wait` must say under");
        only(path, &file(unbounded, declaration), "`no deadline`");
        assert_eq!(broken(path, &file(bounded, declaration)), [""; 0]);
    }
    let empty = "Waits.\n\n# Cancellation safety\n\n# Errors\nBounded by nothing.";
    only(
        "parti/src/a.rs",
        &file(empty, declarations[0]),
        "must say under",
    );
    let refers = "Waits.\n\n# Cancellation safety\nAs [`Other::wait`].";
    let endless = "Waits.\n\n# Cancellation safety\nNothing is left. There is no deadline.";
    for fine in [refers, endless] {
        let text = file(fine, declarations[0]);
        assert_eq!(broken("parti/src/a.rs", &text), [""; 0]);
    }
    let elsewhere = file(none, declarations[0]);
    for path in ["parti/tests/a.rs", "xtask/src/a.rs", "parti/src/a/tests.rs"] {
        assert_eq!(broken(path, &elsewhere), [""; 0]);
    }
    for private in [
        "pub(crate) async fn wait() {}",
        "async fn wait() {}",
        "pub fn wait() -> u8 {}",
        "pub fn wait(f: impl Future<Output = ()>) -> u8 {}",
    ] {
        let text = file(none, private);
        assert_eq!(broken("parti/src/a.rs", &text), [""; 0]);
    }
}

/// An implementer of a trait learns from it when its futures are dropped.
#[test]
fn methods_of_public_traits_are_judged_by_their_own_words_or_by_those_of_the_trait() {
    let public = "    async fn wait(&self);\n}\n";
    let section = "/// # Cancellation safety\n/// Dropped with the worker. There is no deadline.\n";
    let bare = format!("//! Doc.\n\npub trait Work {{\n{public}");
    only("parti/src/a.rs", &bare, "a.rs:4: `wait` must say under");
    let of_trait = format!("//! Doc.\n\n{section}pub trait Work {{\n{public}");
    let own = section.replace("///", "    ///");
    let own = format!("//! Doc.\n\npub trait Work {{\n{own}{public}");
    let inner = "//! Doc.\n\ntrait Work {\n    async fn wait(&self);\n}\n".to_owned();
    let after = format!("{of_trait}\nimpl Work for X {{\n    async fn wait(&self) {{}}\n}}\n");
    for fine in [of_trait, own, inner, after] {
        assert_eq!(broken("parti/src/a.rs", &fine), [""; 0], "{fine}");
    }
}

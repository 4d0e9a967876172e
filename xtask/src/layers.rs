//! Which crate may import which, read from cargo and compared with one table.
//!
//! Layering decays one convenient import at a time, and no compiler objects. What always holds:
//! the table below is the architecture; a new edge in the graph is first written here.

pub(crate) mod minimal;
pub(crate) mod package;
mod rooms;

use serde_json::Value;

use crate::proc::{Failure, cargo, output};

/// What a crate may depend on. Dev-dependencies are free.
struct Row {
    name: &'static str,
    /// Crates of ours.
    ours: &'static [&'static str],
    /// Crates, ours or not, that may be there only behind a feature.
    optional: &'static [&'static str],
    /// All that may come from outside; `None` is no restriction.
    outside: Option<&'static [&'static str]>,
}

const TABLE: [Row; 6] = [
    Row {
        name: "parti-core",
        ours: &[],
        optional: &[],
        outside: Some(&[
            "async-trait",
            "bincode",
            "futures-core",
            "serde",
            "thiserror",
            "xxhash-rust",
        ]),
    },
    Row {
        name: "parti-strategy",
        ours: &["parti-core"],
        optional: &[],
        outside: Some(&["thiserror", "xxhash-rust"]),
    },
    Row {
        name: "parti-nats",
        ours: &["parti-core"],
        optional: &[],
        outside: None,
    },
    Row {
        name: "parti-testing",
        ours: &["parti-core", "parti-strategy"],
        optional: &["clap", "parti-rs", "parti-nats", "tokio"],
        outside: None,
    },
    Row {
        name: "parti-rs",
        ours: &["parti-core", "parti-strategy"],
        optional: &["parti-nats"],
        outside: None,
    },
    Row {
        name: "xtask",
        ours: &[],
        optional: &[],
        outside: None,
    },
];

/// The bare core stays below this many crates, its own not counted.
const CORE_CRATES: usize = 12;

/// The feature that plants bugs, in every crate that has it.
const PLANTED: &str = "planted";

/// One dependency of a crate as cargo tells it.
#[derive(Clone, Debug)]
struct Edge {
    from: String,
    to: String,
    optional: bool,
}

/// Checks the layers and the oldest compiler.
pub(crate) fn run() -> Result<(), Failure> {
    let offences = offences()?;
    if offences.is_empty() {
        return Ok(());
    }
    let remedy = "move the code to the layer it belongs to (docs/ARCHITECTURE.md); the table is in \
                  xtask/src/layers.rs";
    Err(Failure::new(offences.join("\n       "), remedy))
}

fn offences() -> Result<Vec<String>, Failure> {
    let metadata = metadata()?;
    let mut offences = graph(&edges(&metadata));
    offences.extend(compilers(&metadata));
    offences.extend(plants(&metadata));
    let core = tree(&["--package", "parti-core", "--no-default-features"])?;
    offences.extend(small(&core));
    let facade = tree(&["--package", "parti-rs", "--no-default-features"])?;
    offences.extend(without_nats(&facade));
    offences.extend(rooms::offences()?);
    Ok(offences)
}

fn metadata() -> Result<Value, Failure> {
    let remedy = "run `cargo metadata` by hand; is Cargo.lock up to date?";
    let text = output(cargo().args(["metadata", "--format-version=1"]), remedy)?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::new(format!("cargo metadata is not JSON: {error}"), remedy))
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_string()
}

fn is_ours(package: &Value) -> bool {
    package["source"].is_null()
}

/// The dependencies of our crates, without dev-dependencies.
fn edges(metadata: &Value) -> Vec<Edge> {
    let ours = list(metadata, "packages")
        .iter()
        .filter(|package| is_ours(package));
    ours.flat_map(|package| {
        let used = list(package, "dependencies")
            .iter()
            .filter(|edge| edge["kind"] != "dev");
        used.map(|edge| Edge {
            from: text(package, "name"),
            to: text(edge, "name"),
            optional: edge["optional"].as_bool().unwrap_or_default(),
        })
    })
    .collect()
}

fn graph(edges: &[Edge]) -> Vec<String> {
    edges.iter().filter_map(offence).collect()
}

fn offence(edge: &Edge) -> Option<String> {
    let Edge { from, to, optional } = edge;
    let Some(row) = TABLE.iter().find(|row| row.name == from) else {
        return Some(format!("{from} has no row in the table"));
    };
    let to = to.as_str();
    if row.optional.contains(&to) {
        return (!optional).then(|| format!("{from} may use {to} only behind a feature"));
    }
    let allowed = if TABLE.iter().any(|row| row.name == to) {
        row.ours.contains(&to)
    } else {
        row.outside.is_none_or(|outside| outside.contains(&to))
    };
    (!allowed).then(|| format!("{from} must not import {to}"))
}

/// Planted bugs are behind a feature that nothing but a feature of the same name may switch on.
fn plants(metadata: &Value) -> Vec<String> {
    let packages = list(metadata, "packages").iter();
    let ours = packages.filter(|package| is_ours(package));
    ours.flat_map(|package| {
        let name = text(package, "name");
        let wanted = list(package, "dependencies")
            .iter()
            .filter(|edge| list(edge, "features").iter().any(|word| word == PLANTED))
            .map(|edge| format!("{name} depends on {} with its bugs", text(edge, "name")));
        let features = package["features"].as_object().into_iter().flatten();
        let leaking = features
            .filter(|(feature, parts)| {
                let parts = parts.as_array().map_or(&[][..], Vec::as_slice);
                *feature != PLANTED && parts.iter().any(names_plants)
            })
            .map(|(feature, _)| format!("the feature {feature} of {name} plants bugs"));
        wanted.chain(leaking).collect::<Vec<_>>()
    })
    .collect()
}

fn names_plants(part: &Value) -> bool {
    let last = part.as_str().and_then(|part| part.rsplit('/').next());
    last == Some(PLANTED)
}

/// Every feature of the workspace, as `--features` wants it, but those that plant bugs.
pub(crate) fn sound_features() -> Result<String, Failure> {
    Ok(sound(&metadata()?).join(","))
}

fn sound(metadata: &Value) -> Vec<String> {
    let packages = list(metadata, "packages").iter();
    let ours = packages.filter(|package| is_ours(package));
    ours.flat_map(|package| {
        let features = package["features"].as_object().into_iter().flatten();
        let kept = features.filter(|(feature, _)| *feature != PLANTED);
        let name = text(package, "name");
        kept.map(|(feature, _)| format!("{name}/{feature}"))
            .collect::<Vec<_>>()
    })
    .collect()
}

/// Every crate must say that it compiles with our oldest compiler; one toolchain suffices for that.
fn compilers(metadata: &Value) -> Vec<String> {
    let packages = list(metadata, "packages");
    let ours: Vec<_> = packages.iter().filter(|package| is_ours(package)).collect();
    let oldest = ours.iter().map(|package| release(package)).max().flatten();
    let undeclared = ours.iter().filter(|package| release(package).is_none());
    let mut offences: Vec<String> = undeclared
        .map(|package| format!("{} declares no rust-version", text(package, "name")))
        .collect();
    let newer = packages.iter().filter(|package| release(package) > oldest);
    offences.extend(newer.map(|package| {
        let (name, version) = (text(package, "name"), text(package, "version"));
        let needed = text(package, "rust_version");
        format!("{name} {version} needs Rust {needed}, newer than our rust-version")
    }));
    offences
}

fn release(package: &Value) -> Option<(u32, u32)> {
    let version = package["rust_version"].as_str()?;
    let mut parts = version.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

/// The names of the crates that a package really pulls in.
fn tree(package: &[&str]) -> Result<Vec<String>, Failure> {
    let mut command = cargo();
    command.args(["tree", "--edges=normal", "--prefix=none", "--format={p}"]);
    let text = output(command.args(package), "run `cargo tree` by hand")?;
    let mut names: Vec<String> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_string)
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}

fn small(names: &[String]) -> Option<String> {
    let count = names.iter().filter(|name| *name != "parti-core").count();
    (count >= CORE_CRATES).then(|| {
        format!("the bare parti-core pulls in {count} crates, fewer than {CORE_CRATES} are allowed")
    })
}

fn without_nats(names: &[String]) -> Option<String> {
    let found = names
        .iter()
        .find(|name| ["async-nats", "parti-nats"].contains(&name.as_str()))?;
    Some(format!(
        "parti without its feature `nats` still pulls in {found}"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn edge(from: &str, to: &str, optional: bool) -> Option<String> {
        let (from, to) = (from.to_string(), to.to_string());
        offence(&Edge { from, to, optional })
    }

    /// The workspace itself obeys the table.
    #[test]
    fn the_workspace_obeys_the_layers() {
        assert_eq!(offences(), Ok(Vec::new()));
    }

    /// A check that cannot fail protects nothing.
    #[test]
    fn each_kind_of_wrong_import_is_found() {
        for (from, to, optional) in [
            ("parti-core", "tokio", false),
            ("parti-core", "tokio", true),
            ("parti-core", "parti-strategy", false),
            ("parti-strategy", "parti-nats", false),
            ("parti-strategy", "rand", false),
            ("parti-nats", "parti-strategy", false),
            ("parti-testing", "parti-nats", false),
            ("parti-testing", "tokio", false),
            ("parti-rs", "parti-nats", false),
            ("parti-rs", "parti-testing", false),
            ("newcomer", "parti-core", false),
        ] {
            assert!(edge(from, to, optional).is_some(), "{from} -> {to}");
        }
        assert_eq!(edge("parti-rs", "parti-nats", true), None);
        assert_eq!(edge("parti-core", "serde", false), None);
    }

    /// A test tool may use anything; only what users compile is layered.
    #[test]
    fn dev_dependencies_are_free() {
        let dependency = json!({"name": "tokio", "kind": "dev", "optional": false});
        let package = json!({"name": "parti-core", "source": null, "dependencies": [dependency]});
        assert!(edges(&json!({"packages": [package]})).is_empty());
    }

    /// A dependency that needs a newer compiler breaks users, not us.
    #[test]
    fn a_crate_that_needs_a_newer_compiler_is_found() {
        let ours = json!({"name": "ours", "source": null, "rust_version": "1.89"});
        let bare = json!({"name": "bare", "source": null, "rust_version": null});
        let newer =
            json!({"name": "n", "version": "1.0.0", "source": "r", "rust_version": "1.90.0"});
        let older = json!({"name": "o", "version": "1.0.0", "source": "r", "rust_version": "1.56"});
        assert!(compilers(&json!({"packages": [ours, older]})).is_empty());
        let found = compilers(&json!({"packages": [ours, bare, newer]}));
        assert_eq!(found.len(), 2, "{found:?}");
    }

    /// A bug that a production build can be made to have is worse than one that is not tested for.
    #[test]
    fn a_planted_bug_that_leaks_is_found() {
        let package = |features, dependencies| {
            let package = json!({
                "name": "p", "source": null, "features": features, "dependencies": dependencies
            });
            json!({"packages": [package]})
        };
        let sound = package(
            json!({"planted": ["q/planted"], "default": ["nats"]}),
            json!([]),
        );
        assert!(plants(&sound).is_empty());
        assert_eq!(super::sound(&sound), ["p/default"]);
        for features in [
            json!({"default": ["planted"]}),
            json!({"sim": ["dep:q", "q/planted"]}),
        ] {
            assert_eq!(plants(&package(features, json!([]))).len(), 1);
        }
        let dependency = json!({"name": "q", "kind": "dev", "features": ["planted"]});
        assert_eq!(plants(&package(json!({}), json!([dependency]))).len(), 1);
    }

    /// The tests must judge the core that users get.
    #[test]
    fn the_tests_run_with_every_feature_but_the_planted_bugs() {
        let features = sound_features().expect("cargo metadata works");
        assert!(features.contains("parti-testing/cli") && features.contains("parti-rs/nats"));
        assert!(!features.contains(PLANTED), "{features}");
    }

    /// The core is sold as small.
    #[test]
    fn a_grown_core_and_a_leaking_client_are_found() {
        let names = |count: usize| (0..count).map(|n| format!("crate-{n}")).collect::<Vec<_>>();
        assert_eq!(small(&names(CORE_CRATES - 1)), None);
        assert!(small(&names(CORE_CRATES)).is_some());
        assert!(without_nats(&["async-nats".to_string()]).is_some());
        assert_eq!(without_nats(&["parti-core".to_string()]), None);
    }
}

//! Whether every package could be published as it stands: its facts, its files, and a build of it.
//!
//! A mistake here shows on the day of the release, when half of the packages are out and cannot be taken
//! back. What always holds: nothing is uploaded, and no token is needed.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;

use super::{list, metadata, text};
use crate::proc::{Failure, cargo, root, step};

/// What a page of a package shows, and therefore must be there.
const FACTS: [&str; 4] = ["description", "license", "readme", "rust_version"];

/// What every package brings along.
const FILES: [&str; 3] = ["README.md", "LICENSE-APACHE", "LICENSE-MIT"];

/// The registry takes no more of either.
const MOST_WORDS: usize = 5;

/// Checks the packages, then makes and builds them without uploading.
pub(crate) fn run() -> Result<(), Failure> {
    let metadata = metadata()?;
    let found = offences(&metadata);
    if !found.is_empty() {
        let remedy =
            "complete the Cargo.toml or the folder; docs/CONTRIBUTING.md says what a package has";
        return Err(Failure::new(found.join("\n       "), remedy));
    }
    forget_earlier(&metadata);
    let mut publish = cargo();
    publish.args(["publish", "--workspace", "--dry-run", "--allow-dirty"]);
    // As the workspace has it, so that what comes from outside with the same features is built once.
    for setting in ["opt-level=1", "debug=false"] {
        publish.args(["--config", &format!("profile.dev.package.\"*\".{setting}")]);
    }
    publish.envs([("CARGO_INCREMENTAL", "0"), ("CARGO_PROFILE_DEV_DEBUG", "0")]);
    step(
        "packages, made and built as they would be published",
        &mut publish,
        "a package lacks a file, or depends on what is not published; it needs the registry's index",
    )
}

/// Removes what an earlier run unpacked of these packages: cargo takes that again for the same version,
/// whatever has changed since.
fn forget_earlier(metadata: &Value) {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let registry = home.unwrap_or_default().join("registry");
    let packages = list(metadata, "packages").iter();
    let ours = packages.filter(|package| package["source"].is_null());
    let ours: Vec<String> = ours
        .map(|package| format!("{}-{}", text(package, "name"), text(package, "version")))
        .collect();
    for kind in ["src", "cache"] {
        let registries = std::fs::read_dir(registry.join(kind));
        for folder in registries.into_iter().flatten().flatten() {
            // Those without a host are the registries that `cargo publish` makes for a moment.
            if !folder.file_name().to_string_lossy().starts_with('-') {
                continue;
            }
            for name in &ours {
                // What is not there need not be removed.
                drop(std::fs::remove_dir_all(folder.path().join(name)));
                let packed = folder.path().join(format!("{name}.crate"));
                drop(std::fs::remove_file(packed));
            }
        }
    }
}

fn offences(metadata: &Value) -> Vec<String> {
    let packages = list(metadata, "packages").iter();
    let ours: Vec<_> = packages
        .filter(|package| package["source"].is_null())
        .collect();
    let published = |package: &&&Value| package["publish"].is_null();
    let names: BTreeSet<_> = ours.iter().map(|package| text(package, "name")).collect();
    let mut offences = Vec::new();
    for package in ours.iter().filter(published) {
        let name = text(package, "name");
        let wrong = facts(package).into_iter().chain(edges(package, &names));
        offences.extend(
            wrong
                .chain(files(package))
                .map(|what| format!("{name} {what}")),
        );
    }
    offences
}

fn facts(package: &Value) -> Vec<String> {
    let missing = FACTS.iter().filter(|fact| text(package, fact).is_empty());
    let mut found: Vec<String> = missing.map(|fact| format!("has no {fact}")).collect();
    for words in ["keywords", "categories"] {
        let count = list(package, words).len();
        if !(1..=MOST_WORDS).contains(&count) {
            found.push(format!("has {count} {words}, not 1 to {MOST_WORDS}"));
        }
    }
    if package["metadata"]["docs"]["rs"]["all-features"] != true {
        found.push("does not document all features on docs.rs".to_owned());
    }
    found
}

/// A version of ours is needed where users compile it, and closes a circle where only tests do.
fn edges(package: &Value, ours: &BTreeSet<String>) -> Vec<String> {
    let edges = list(package, "dependencies").iter();
    let edges = edges.filter(|edge| ours.contains(&text(edge, "name")));
    edges
        .filter_map(|edge| {
            let (name, any) = (text(edge, "name"), edge["req"] == "*");
            match (edge["kind"] == "dev", any) {
                (true, false) => Some(format!("tests with {name} by version, not by path alone")),
                (false, true) => Some(format!("depends on {name} without a version")),
                (true, true) | (false, false) => None,
            }
        })
        .collect()
}

fn files(package: &Value) -> Vec<String> {
    let manifest = root().join(text(package, "manifest_path"));
    let missing = FILES
        .iter()
        .filter(|file| !manifest.with_file_name(file).is_file());
    missing.map(|file| format!("has no {file}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A package that is refused on the day of the release stops it half way.
    #[test]
    fn every_package_could_be_published() {
        assert_eq!(
            offences(&metadata().expect("cargo metadata works")),
            [""; 0]
        );
    }

    /// A check that cannot fail protects nothing.
    #[test]
    fn each_kind_of_unfit_package_is_found() {
        let edge = |kind, req| json!({"name": "q", "kind": kind, "req": req});
        let nowhere = json!({
            "name": "p", "manifest_path": "nowhere/Cargo.toml", "keywords": ["1", "2", "3", "4", "5", "6"],
            "dependencies": [edge(json!("dev"), "^1"), edge(json!(null), "*"), edge(json!("dev"), "*")],
        });
        let kept = json!({"name": "q", "publish": []});
        let found = offences(&json!({"packages": [nowhere, kept]})).join(", ");
        for what in [
            "no description",
            "no readme",
            "6 keywords",
            "0 categories",
            "docs.rs",
            "tests with q by version",
            "depends on q without a version",
            "no LICENSE-MIT",
        ] {
            assert!(found.contains(what), "{what}: {found}");
        }
        assert!(
            !found.contains("q has"),
            "what is not published needs nothing: {found}"
        );
    }
}

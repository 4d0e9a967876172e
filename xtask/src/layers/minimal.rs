//! Whether the oldest versions that our manifests allow are enough.
//!
//! A program that holds a dependency back gets exactly these, and nobody else ever builds with them. What
//! always holds: it happens in a copy under the target folder, so that the lock file stays as it is.

use std::fs;

use crate::proc::{Failure, cargo, output, root, step, target_dir};

/// Chooses the oldest versions, and checks every crate with all features.
pub(crate) fn run() -> Result<(), Failure> {
    let place = target_dir().join("minimal");
    let copy = place.join("sources");
    let written = |error: std::io::Error| {
        Failure::new(format!("{}: {error}", copy.display()), "is the disk full?")
    };
    let mut list = std::process::Command::new("git");
    list.current_dir(root()).args(["ls-files", "-z"]);
    let listed = output(&mut list, "run it inside a git work tree")?;
    if copy.exists() {
        fs::remove_dir_all(&copy).map_err(written)?;
    }
    for name in listed
        .split('\0')
        .filter(|name| !name.is_empty() && *name != "Cargo.lock")
    {
        let (from, to) = (root().join(name), copy.join(name));
        // What is deleted and still tracked is not there to be copied.
        if !from.is_file() {
            continue;
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(written)?;
        }
        fs::copy(&from, &to).map_err(written)?;
    }
    let mut update = cargo();
    // The option is for nightly compilers, and this lets any of them take it.
    update.current_dir(&copy).env("RUSTC_BOOTSTRAP", "1");
    update.args(["update", "-Z", "direct-minimal-versions"]);
    step(
        "oldest versions: chosen",
        &mut update,
        "raise the lower bound in Cargo.toml that the message names",
    )?;
    let mut check = cargo();
    check
        .current_dir(&copy)
        .args(["check", "--workspace", "--all-features", "--locked"]);
    check.env("CARGO_TARGET_DIR", place.join("built"));
    step(
        "oldest versions: checked",
        &mut check,
        "raise the lower bound of what lacks something, or does not build with this compiler",
    )
}

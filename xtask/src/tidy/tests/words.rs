//! The words we do not use, each seen to be found; the table that people read is the one that is checked.

use super::super::words::WORDS;
use super::{broken, only};

/// A row of the table in docs/STYLE.md.
fn row((phrase, instead): &(&str, &str)) -> String {
    let phrase = phrase.replace(" -", "-").replace('*', "");
    format!("| {phrase} | {instead} |")
}

/// Two words for one thing make every search miss one, and a reader guess.
#[test]
fn each_word_is_found_in_comments_strings_names_and_prose() {
    for (phrase, _) in WORDS {
        let plain = phrase.replace(" -", "-").replace('*', "");
        let rule = format!("`{phrase}` is not a word of ours");
        only("docs/a.md", &format!("Some {plain}, said.\n"), &rule);
        let comment = format!("//! Doc.\n/// Of {}.\n", plain.to_uppercase());
        only("xtask/src/a.rs", &comment, &format!("a.rs:2: {rule}"));
        let name = plain.replace([' ', '-'], "_");
        only(
            "xtask/src/a.rs",
            &format!("//! Doc.\nfn a_{name}_b() {{}}\n"),
            &rule,
        );
    }
    only("xtask/src/a.rs", "//! Doc.\nstruct HeldSeats;\n", "`seat*`");
    only(
        "docs/a.md",
        "It waits for the\nown lease.\n",
        "a.md:1: `the own`",
    );
    only(
        "xtask/src/a.rs",
        "//! Doc.\n/// For the\n/// own lease.\n",
        "`the own`",
    );
}

/// A check that finds words within words is switched off.
#[test]
fn other_words_pass() {
    for fine in [
        "The owner recommends what is official.",
        "Hand over the list, and set it to 0.",
        "A benchmark, on a desktop, astride a stride.",
        "the hand is over; sit down, get out",
    ] {
        assert_eq!(broken("docs/a.md", fine), [""; 0], "{fine}");
    }
}

/// A list that only a checker knows teaches nobody.
#[test]
fn the_table_of_the_style_guide_is_the_one_that_is_checked() {
    let page = include_str!("../../../../docs/STYLE.md");
    let table: Vec<&str> = page
        .lines()
        .skip_while(|line| !line.starts_with("| not |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    let checked: Vec<String> = WORDS.iter().map(row).collect();
    assert_eq!(table, checked);
}

//! The pictures of docs/CLI.md: a recorded incident as `top` shows it, cell by cell.
//!
//! What always holds: they are what the present program draws. When that has changed on purpose, write
//! them again: `PARTI_PICTURES=write cargo test -p parti-rs --features cli --bin parti picture`.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use parti_core::Instant;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use super::{Screen, drawn};
use crate::look::Look;
use crate::look::recording::Recording;

/// The size of one letter.
const LETTER: (usize, usize) = (8, 17);
const EDGE: usize = 10;
const PAPER: &str = "#1b1d23";
const INK: &str = "#d7dae0";

fn file(name: &str) -> PathBuf {
    let pictures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/pictures");
    pictures.join(name)
}

/// A picture in the documentation that the program no longer draws misleads those who look for help in it.
#[tokio::test]
async fn the_pictures_of_top_are_what_it_draws() {
    let text = fs::read_to_string(file("incident.recording")).expect("the recording");
    for (name, seconds) in [("top.svg", 19)] {
        let (at, begin) = (Duration::from_secs(seconds), Duration::ZERO);
        let mut recording = Recording::read(&text).expect("a recording");
        recording.events.retain(|(when, _)| *when <= at);
        let mut look = Look::recorded(recording, begin, 1000).expect("is shown");
        let mut screen = Screen::new("orders".to_owned(), true);
        screen.generations(&look.view());
        while !look.has_ended() {
            let changes = look.next().await.expect("a recording goes on");
            changes.iter().for_each(|change| screen.tell(change));
            screen.generations_of(&look.directory.history().entries);
        }
        let now = Instant::from_millis(seconds * 1000);
        let picture = svg(&drawn(&look.directory.view(now), &screen, (80, 24)));
        if std::env::var_os("PARTI_PICTURES").is_some() {
            fs::write(file(name), &picture).expect("writes");
        }
        let kept = fs::read_to_string(file(name)).unwrap_or_default();
        assert!(
            kept == picture,
            "{name} is another picture now; see the head of this file"
        );
    }
}

/// A terminal as a picture: a rectangle for each run of one background, a text for each of one style.
fn svg(buffer: &Buffer) -> String {
    let (width, height) = (
        usize::from(buffer.area.width),
        usize::from(buffer.area.height),
    );
    let (wide, high) = (width * LETTER.0 + 2 * EDGE, height * LETTER.1 + 2 * EDGE);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {wide} {high}\" width=\"{wide}\" \
         height=\"{high}\" font-family=\"monospace\" font-size=\"13\">\n\
         <title>parti top</title>\n\
         <rect width=\"{wide}\" height=\"{high}\" rx=\"6\" fill=\"{PAPER}\"/>\n"
    );
    for (row, cells) in buffer.content.chunks(width.max(1)).enumerate() {
        let mut from = 0;
        for run in cells.chunk_by(|a, b| look(a) == look(b)) {
            write_run(&mut out, (from, row), run);
            from += run.len();
        }
    }
    out.push_str("</svg>\n");
    out
}

fn write_run(out: &mut String, (column, row): (usize, usize), run: &[Cell]) {
    let Some((ink, paper, bold, dim)) = run.first().map(look) else {
        return;
    };
    let (x, y) = (EDGE + column * LETTER.0, EDGE + row * LETTER.1);
    let wide = run.len() * LETTER.0;
    if paper != PAPER {
        let high = LETTER.1;
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{high}\" fill=\"{paper}\"/>"
        );
    }
    let text: String = run.iter().map(Cell::symbol).collect();
    let end = text.trim_end();
    if end.is_empty() {
        return;
    }
    // What begins with blanks begins where they end: they are not kept everywhere.
    let begin = end.trim_start();
    let skipped = end.chars().count() - begin.chars().count();
    let (x, y) = (x + skipped * LETTER.0, y + 13);
    let wide = begin.chars().count() * LETTER.0;
    let escaped = begin.replace('&', "&amp;").replace('<', "&lt;");
    let weight = if bold { " font-weight=\"bold\"" } else { "" };
    let faint = if dim { " opacity=\"0.6\"" } else { "" };
    let _ = writeln!(
        out,
        "<text x=\"{x}\" y=\"{y}\" textLength=\"{wide}\" lengthAdjust=\"spacingAndGlyphs\" \
         xml:space=\"preserve\" fill=\"{ink}\"{weight}{faint}>{escaped}</text>"
    );
}

/// Colours of letter and background, bold, dim.
fn look(cell: &Cell) -> (&'static str, &'static str, bool, bool) {
    let (ink, paper) = (colour(cell.fg, INK), colour(cell.bg, PAPER));
    let has = |modifier| cell.modifier.contains(modifier);
    let (ink, paper) = match has(Modifier::REVERSED) {
        true => (paper, ink),
        false => (ink, paper),
    };
    (ink, paper, has(Modifier::BOLD), has(Modifier::DIM))
}

fn colour(colour: Color, otherwise: &'static str) -> &'static str {
    let known = [
        (Color::Green, "#8cc265"),
        (Color::Blue, "#5aa3f0"),
        (Color::Cyan, "#42b3c2"),
        (Color::Magenta, "#c678dd"),
        (Color::LightGreen, "#b5e890"),
        (Color::LightBlue, "#9cc8ff"),
        (Color::Yellow, "#e5c07b"),
        (Color::Red, "#e05561"),
        (Color::White, "#ffffff"),
    ];
    let found = known.iter().find(|(known, _)| *known == colour);
    found.map_or(otherwise, |(_, shown)| shown)
}

//! The drawing: a row for each partition, time from left to right, a colour for each owner.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Look, Scene};

const WIDTH: f64 = 860.0;
/// Room for words that begin at its right end.
const MARGIN: f64 = 140.0;
const LEFT: f64 = 50.0;
const TOP: f64 = 112.0;
const ROW: f64 = 30.0;
const COLOURS: [&str; 4] = ["#4477aa", "#ee7733", "#228833", "#aa3377"];

/// The picture of a scene.
pub(crate) fn svg(scene: &Scene) -> String {
    let rows = scene.looks.first().map_or(0, |look| look.owners.len());
    let bottom = TOP + ROW * rows as f64;
    let end = scene.looks.last().map_or(Duration::ZERO, |look| look.at);
    let x = |at: Duration| LEFT + (WIDTH - LEFT - 20.0) * at.as_secs_f64() / end.as_secs_f64();
    let (whole, height) = (WIDTH + MARGIN, bottom + 36.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {whole} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{whole}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    text(
        &mut svg,
        (20.0, 26.0),
        "font-size=\"14\" font-weight=\"bold\"",
        &scene.title,
    );
    legend(&mut svg, scene);
    for row in 0..rows {
        let y = TOP + ROW * row as f64;
        text(&mut svg, (20.0, y + 18.0), "", &format!("p/{row}"));
        for (from, to, (worker, token)) in runs(&scene.looks, |look| look.owners[row]) {
            let (left, colour) = (x(from), COLOURS[worker % COLOURS.len()]);
            let width = x(to) - left;
            line(
                &mut svg,
                format_args!(
                    "<rect x=\"{left:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"22\" \
                     fill=\"{colour}\"/>"
                ),
            );
            let style = "fill=\"white\" font-size=\"11\"";
            text(
                &mut svg,
                (left + 5.0, y + 15.0),
                style,
                &format!("token {token}"),
            );
        }
    }
    for (from, _, (term, version)) in runs(&scene.looks, |look| Some(look.generation)) {
        let style = "fill=\"#555555\" font-size=\"11\"";
        let what = format!("term {term}, generation {version}");
        text(&mut svg, (x(from), TOP - 10.0), style, &what);
    }
    for (index, (at, what)) in scene.marks.iter().enumerate() {
        // Marks that are close to each other are not written over each other.
        let (x, y) = (x(*at), TOP - 26.0 - 14.0 * (index % 2) as f64);
        line(
            &mut svg,
            format_args!(
                "<path d=\"M{x:.1} {:.1}V{bottom:.1}\" stroke=\"black\" stroke-dasharray=\"4 3\"/>",
                y - 10.0
            ),
        );
        text(&mut svg, (x + 4.0, y), "font-weight=\"bold\"", what);
    }
    for second in 0..=end.as_secs() {
        let x = x(Duration::from_secs(second));
        line(
            &mut svg,
            format_args!("<path d=\"M{x:.1} {bottom:.1}v5\" stroke=\"black\"/>"),
        );
        let style = "font-size=\"10\" text-anchor=\"middle\"";
        text(&mut svg, (x, bottom + 17.0), style, &format!("{second} s"));
    }
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String, scene: &Scene) {
    let owners = scene.looks.iter().flat_map(|look| &look.owners).flatten();
    let last = owners.map(|(worker, _)| *worker).max().unwrap_or_default();
    let words = (0..=last).map(|worker| format!("worker {worker}"));
    let colours = COLOURS.iter().copied().chain(["#ffffff"]);
    let words = words.chain(["nobody".to_owned()]);
    let all = colours.take(last + 1).chain(["#ffffff"]).zip(words);
    for (index, (colour, word)) in all.enumerate() {
        let x = 20.0 + 110.0 * index as f64;
        line(
            svg,
            format_args!(
                "<rect x=\"{x}\" y=\"38\" width=\"14\" height=\"14\" fill=\"{colour}\" stroke=\"#999999\"/>"
            ),
        );
        text(svg, (x + 20.0, 50.0), "", &word);
    }
}

/// From when to when something was the same.
fn runs<T: PartialEq + Copy>(
    looks: &[Look],
    what: impl Fn(&Look) -> Option<T>,
) -> Vec<(Duration, Duration, T)> {
    let mut runs: Vec<(Duration, Duration, T)> = Vec::new();
    let mut before = None;
    for look in looks {
        let now = what(look);
        match (runs.last_mut(), now) {
            (Some(run), Some(_)) if before == now => run.1 = look.at,
            (_, Some(now)) => runs.push((look.at, look.at, now)),
            (_, None) => {}
        }
        before = now;
    }
    runs
}

fn text(svg: &mut String, (x, y): (f64, f64), style: &str, what: &str) {
    line(
        svg,
        format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{what}</text>"),
    );
}

fn line(svg: &mut String, what: std::fmt::Arguments<'_>) {
    writeln!(svg, "{what}").expect("memory");
}

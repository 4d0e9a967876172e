//! Drawing: from a view and a screen to the cells of a terminal.
//!
//! It is separate because it only reads. What always holds: it fits any size, and says the same with letters
//! as with colours.

use parti::directory::{PartitionState, SessionState, View};
use parti_core::{SessionStatus, WorkerId};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph};

use super::map::{self, Cell};
use super::screen::{Focus, Screen, workers};
use crate::show::fields;
use crate::show::status::{counts, told};

/// How many letters the bar of a worker has.
const BAR: usize = 12;
/// The colours of owners, in the order of the workers.
const OWNERS: [Color; 6] = [
    Color::Green,
    Color::Blue,
    Color::Cyan,
    Color::Magenta,
    Color::LightGreen,
    Color::LightBlue,
];

/// Draws the whole screen.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View, screen: &Screen) {
    let [head, middle, log, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Min(4),
        Constraint::Length(8),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(header(view, screen)), head);
    match &screen.focus {
        Focus::Group => {
            let [left, right] =
                Layout::horizontal([Constraint::Length(44), Constraint::Min(16)]).areas(middle);
            draw_workers(frame, left, view, screen);
            draw_map(frame, right, view, screen);
        }
        Focus::Worker(worker, line) => draw_worker(frame, middle, view, (worker, *line)),
    }
    match &screen.question {
        Some(question) => draw_question(frame, log, question),
        None => draw_log(frame, log, view, screen),
    }
    let keys = match screen.focus {
        Focus::Group => {
            "q quit  up/down  enter look into  c colours  d drain  o cordon  f freeze  r plan"
        }
        Focus::Worker(..) => "q quit  up/down scroll  esc back  c colours  d drain  o cordon",
    };
    frame.render_widget(Paragraph::new(Line::from(keys).style(dim())), foot);
}

fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

fn header(view: &View, screen: &Screen) -> Vec<Line<'static>> {
    let leading = view.leading.as_ref();
    let leader = leading.and_then(|it| it.leader.as_ref());
    let leader = leader.map_or_else(|| "nobody".to_owned(), ToString::to_string);
    let (term, version) = leading.map_or((0, 0), |it| (it.term.get(), it.version.get()));
    let [owned, moving, unowned, parked] = counts(view);
    let all = owned + moving + unowned + parked;
    let bad = match (unowned + parked, screen.colours) {
        (0, _) => Style::new(),
        (_, true) => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
        (_, false) => Style::new().add_modifier(Modifier::REVERSED),
    };
    let stale = if view.complete {
        ""
    } else {
        "   (not complete yet)"
    };
    let group = &screen.group;
    vec![
        Line::from(format!(
            "{group}   leader {leader}, term {term}, version {version}{stale}"
        )),
        Line::from(vec![
            Span::raw(format!(
                "partitions {all}: {owned} owned, {moving} moving, "
            )),
            Span::styled(format!("{unowned} without owner, {parked} parked"), bad),
        ]),
    ]
}

fn owner_style(place: usize, colours: bool) -> Style {
    if colours {
        Style::new().fg(OWNERS[place % OWNERS.len()])
    } else {
        Style::new()
    }
}

fn draw_workers(frame: &mut Frame<'_>, area: Rect, view: &View, screen: &Screen) {
    let shown = workers(view);
    let most = shown.iter().map(|worker| worker.granted).max().unwrap_or(0);
    let room = usize::from(area.height).saturating_sub(2);
    let selected = screen.selected.min(shown.len().saturating_sub(1));
    // The selected one stays on the screen.
    let first = (selected + 1).saturating_sub(room);
    let lines = shown.iter().enumerate().skip(first).take(room);
    let lines: Vec<Line<'_>> = lines
        .map(|(place, worker)| {
            let full = (worker.granted * BAR).checked_div(most).unwrap_or(0);
            let full = if worker.granted > 0 { full.max(1) } else { 0 };
            let bar: String = (0..BAR)
                .map(|at| if at < full { '#' } else { '.' })
                .collect();
            let is_active = worker.state == SessionState::Known(SessionStatus::Active);
            let state = (!is_active).then(|| format!(" {}", fields::session_state(worker.state)));
            let state = state.unwrap_or_default();
            let behind = if worker.behind.is_some() {
                " behind"
            } else {
                ""
            };
            let silent = worker.silent.filter(|silent| silent.as_secs() >= 5);
            let silent = silent.map_or_else(String::new, |it| format!(" silent {}s", it.as_secs()));
            let style = if place == selected {
                Style::new().add_modifier(Modifier::REVERSED)
            } else {
                Style::new()
            };
            let letter = Cell::Owned(place).letter();
            Line::from(vec![
                Span::styled(format!("{letter} "), owner_style(place, screen.colours)),
                Span::raw(format!("{:<14.14} ", worker.worker.as_str())),
                Span::styled(bar, owner_style(place, screen.colours)),
                Span::raw(format!(" {}{state}{behind}{silent}", worker.granted)),
            ])
            .style(style)
        })
        .collect();
    let title = format!("workers {}", shown.len());
    let block = Block::new().borders(Borders::TOP).title(title);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn draw_map(frame: &mut Frame<'_>, area: Rect, view: &View, screen: &Screen) {
    let shown = workers(view);
    let ids: Vec<&WorkerId> = shown.iter().map(|worker| &worker.worker).collect();
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    let room = width * height.saturating_sub(1);
    let (cells, each) = map::cells(&view.partitions, &ids, room);
    let title = match each {
        1 => "partitions".to_owned(),
        more => format!("partitions, {more} a letter"),
    };
    let lines = cells.chunks(width.max(1)).map(|row| {
        let spans = row.iter().map(|&cell| {
            let style = match (cell, screen.colours) {
                (Cell::Owned(place), colours) => owner_style(place, colours),
                (Cell::Elsewhere | Cell::Parked | Cell::Moving, true) => {
                    Style::new().fg(Color::Yellow)
                }
                (Cell::Unowned, true) => Style::new().fg(Color::White).bg(Color::Red),
                (Cell::Unowned, false) => Style::new().add_modifier(Modifier::REVERSED),
                (Cell::Elsewhere | Cell::Parked | Cell::Moving, false) => Style::new(),
            };
            Span::styled(cell.letter().to_string(), style)
        });
        Line::from(spans.collect::<Vec<_>>())
    });
    let block = Block::new().borders(Borders::TOP).title(title);
    let lines: Vec<Line<'_>> = lines.collect();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// One worker: what its session says, and its partitions.
fn draw_worker(frame: &mut Frame<'_>, area: Rect, view: &View, at: (&WorkerId, usize)) {
    let (id, first) = at;
    let worker = view.workers.iter().find(|worker| worker.worker == *id);
    let mut lines = Vec::new();
    if let Some(session) = worker.and_then(|worker| worker.session.as_ref()) {
        let endpoint = session.endpoint.as_ref();
        let endpoint = endpoint.map_or_else(|| "none".to_owned(), ToString::to_string);
        lines.push(Line::from(format!(
            "capacity {}   endpoint {endpoint}   software {}   lease {:?}   applied {}",
            session.capacity, session.software, session.lease, session.applied
        )));
        let labels = session.labels.iter();
        let labels: Vec<String> = labels
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !labels.is_empty() {
            lines.push(Line::from(format!("labels {}", labels.join(" "))));
        }
    }
    let waits = view.handoffs.iter().filter(|handoff| handoff.from == *id);
    lines.extend(waits.map(|handoff| {
        let why = fields::hold_up(handoff.hold_up);
        Line::from(format!("{} is held up: {why}", handoff.partition))
    }));
    let partitions = view.partitions.iter().filter_map(|it| {
        let PartitionState::Owned { worker, token, .. } = &it.state else {
            return None;
        };
        (worker == id).then(|| Line::from(format!("{}   token {token}", it.partition)))
    });
    lines.extend(partitions);
    let room = usize::from(area.height).saturating_sub(1);
    let first = first.min(lines.len().saturating_sub(room));
    let granted = worker.map_or(0, |worker| worker.granted);
    let title = format!("{id}, {granted} partitions");
    let block = Block::new().borders(Borders::TOP).title(title);
    let lines: Vec<Line<'_>> = lines.into_iter().skip(first).collect();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// What is wrong first, then what happened, the newest last.
fn draw_log(frame: &mut Frame<'_>, area: Rect, view: &View, screen: &Screen) {
    let room = usize::from(area.height).saturating_sub(1);
    let wrong = told(view).iter().map(|it| {
        let text = format!("{} ({}): {}", it.kind.as_str(), it.count, it.detail);
        Line::from(text).style(Style::new().add_modifier(Modifier::BOLD))
    });
    let mut lines: Vec<Line<'_>> = wrong.take(room / 2).collect();
    let rest = room.saturating_sub(lines.len());
    let skipped = screen.log.len().saturating_sub(rest);
    lines.extend(
        screen
            .log
            .iter()
            .skip(skipped)
            .map(|line| Line::from(line.as_str())),
    );
    let block = Block::new().borders(Borders::TOP).title("events");
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// What is asked about, and what it would move.
fn draw_question(frame: &mut Frame<'_>, area: Rect, (what, preview): &(String, String)) {
    let title = format!("{what}?  y: do it, any other key: no");
    let style = Style::new().add_modifier(Modifier::BOLD);
    let block = Block::new()
        .borders(Borders::TOP)
        .title(title)
        .title_style(style);
    let lines: Vec<Line<'_>> = preview.lines().map(Line::from).collect();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

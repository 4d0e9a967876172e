//! The screen of planted groups, as a terminal would show it.

use std::time::Duration;

use parti::directory::{PartitionState, Verb, View};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;

use super::draw::draw;
use super::map::{Cell, cells};
use super::screen::{Focus, Key, Next, Screen};
use crate::look::groups;

mod picture;

/// A group that is well: three workers with four partitions each.
async fn well() -> View {
    groups::well(3).await.view()
}

fn drawn(view: &View, screen: &Screen, (width, height): (u16, u16)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a backend");
    terminal
        .draw(|frame| draw(frame, view, screen))
        .expect("draws");
    terminal.backend().buffer().clone()
}

fn lines(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area.width).max(1);
    let rows = buffer.content.chunks(width);
    rows.map(|row| {
        row.iter()
            .map(ratatui::buffer::Cell::symbol)
            .collect::<String>()
    })
    .map(|line| line.trim_end().to_owned())
    .collect()
}

/// Takes its partition from somebody.
fn orphan(view: &mut View, at: usize) {
    view.partitions[at].state = PartitionState::Unowned {
        lasting: Duration::from_secs(3),
        was: None,
    };
}

/// Somebody who was woken up sees at one look who leads, who has what, and that one has no owner.
#[tokio::test]
async fn one_screen_of_the_usual_size_shows_leader_workers_owners_and_what_is_wrong() {
    let mut view = well().await;
    orphan(&mut view, 5);
    let mut screen = Screen::new("orders".to_owned(), true);
    screen.generations(&view);
    screen.say("worker-9 has gone".to_owned());
    let shown = lines(&drawn(&view, &screen, (80, 24)));
    assert!(
        shown[0].starts_with("orders   leader worker-"),
        "{shown:#?}"
    );
    assert_eq!(
        shown[1],
        "partitions 12: 11 owned, 0 moving, 1 without owner, 0 parked"
    );
    assert!(shown[2].starts_with("workers 3"), "{shown:#?}");
    for (line, letter) in shown[3..6].iter().zip(["A", "B", "C"]) {
        assert!(line.starts_with(&format!("{letter} worker-")), "{line}");
        assert!(line.contains("############ 4"), "{line}");
    }
    // The map is right of the workers, a letter for each partition.
    let map: String = shown[3].chars().skip(44).collect();
    assert_eq!(map.len(), 12, "{shown:#?}");
    assert_eq!(map.matches('!').count(), 1);
    for letter in ['A', 'B', 'C'] {
        let owned = map.matches(letter).count();
        assert!((3..=4).contains(&owned), "{map}");
    }
    assert!(
        shown.iter().any(|line| line == "worker-9 has gone"),
        "{shown:#?}"
    );
    assert!(shown[23].starts_with("q quit"), "{shown:#?}");
}

/// A terminal without colours, and eyes that do not tell red from green, miss nothing.
#[tokio::test]
async fn without_colours_the_letters_say_the_same() {
    let mut view = well().await;
    orphan(&mut view, 0);
    let mut screen = Screen::new("orders".to_owned(), true);
    let coloured = drawn(&view, &screen, (80, 24));
    assert_eq!(screen.press(Key::Colours, &view), Next::Draw);
    let plain = drawn(&view, &screen, (80, 24));
    assert_eq!(lines(&coloured), lines(&plain));
    let has_colours = |buffer: &Buffer| buffer.content.iter().any(|cell| cell.fg != Color::Reset);
    assert!(has_colours(&coloured) && !has_colours(&plain));
}

/// A group of 100 000 fits the smallest screen, and the one without an owner is not lost in it.
#[tokio::test]
async fn one_partition_without_an_owner_among_a_hundred_thousand_is_seen() {
    let mut view = well().await;
    let one = view.partitions[0].clone();
    view.partitions = vec![one; 100_000];
    orphan(&mut view, 77_777);
    let screen = Screen::new("orders".to_owned(), false);
    let shown = lines(&drawn(&view, &screen, (80, 24)));
    let map: Vec<String> = shown[3..15]
        .iter()
        .map(|line| line.chars().skip(44).collect())
        .collect();
    assert_eq!(map.concat().matches('!').count(), 1, "{shown:#?}");
    assert!(shown[2].contains("a letter"), "{shown:#?}");
    for size in [(1, 1), (20, 5), (300, 100)] {
        drawn(&view, &screen, size);
    }
}

/// A cell shows the worst of what it stands for.
#[tokio::test]
async fn a_cell_of_many_partitions_shows_the_worst() {
    let mut view = well().await;
    let ids: Vec<_> = view
        .workers
        .iter()
        .map(|worker| worker.worker.clone())
        .collect();
    let shown: Vec<_> = ids.iter().collect();
    view.partitions[1].state = PartitionState::Moving {
        waits_for: ids.clone(),
    };
    let (found, each) = cells(&view.partitions, &shown, 3);
    assert_eq!((found.len(), each), (3, 4));
    assert_eq!(found[0], Cell::Moving);
    orphan(&mut view, 2);
    assert_eq!(cells(&view.partitions, &shown, 3).0[0], Cell::Unowned);
    assert_eq!(cells(&view.partitions, &shown, 0), (Vec::new(), 1));
}

/// Keys select, look into a worker and come back, also when the worker has gone meanwhile.
#[tokio::test]
async fn keys_select_a_worker_and_look_into_it() {
    let mut view = well().await;
    let mut screen = Screen::new("orders".to_owned(), false);
    for key in [Key::Up, Key::Down, Key::Down, Key::Down, Key::Enter] {
        assert_eq!(screen.press(key, &view), Next::Draw);
    }
    let last = view.workers[2].worker.clone();
    assert_eq!(screen.focus, Focus::Worker(last.clone(), 0));
    let shown = lines(&drawn(&view, &screen, (80, 24)));
    assert!(
        shown[2].starts_with(&format!("{last}, 4 partitions")),
        "{shown:#?}"
    );
    let owned = shown.iter().filter(|line| line.contains("token "));
    assert_eq!(owned.count(), 4, "{shown:#?}");
    view.workers.truncate(1);
    drawn(&view, &screen, (80, 24));
    screen.press(Key::Back, &view);
    screen.press(Key::Enter, &view);
    assert_eq!(
        screen.focus,
        Focus::Worker(view.workers[0].worker.clone(), 0)
    );
    assert_eq!(screen.press(Key::Quit, &view), Next::Quit);
}

/// The ring is read again and again: each generation is told once, and the log does not grow for ever.
#[tokio::test]
async fn each_generation_is_told_once() {
    let view = well().await;
    let mut screen = Screen::new("orders".to_owned(), false);
    screen.generations(&view);
    let told = screen.log.len();
    assert_eq!(told, view.generations.len());
    screen.generations(&view);
    assert_eq!(screen.log.len(), told);
    (0..1_000).for_each(|number| screen.say(number.to_string()));
    assert_eq!(screen.log.len(), 200);
    assert_eq!(screen.log.back().map(String::as_str), Some("999"));
}

/// Nothing is done by one key that was hit by mistake: what it would move is shown, and only `y` does it.
#[tokio::test]
async fn a_verb_is_asked_about_with_what_it_would_move() {
    let view = well().await;
    let first = view.workers[0].worker.clone();
    let mut screen = Screen::new("orders".to_owned(), false);
    let drain = Next::Prepare(Verb::Drain, Some(first));
    assert_eq!(screen.press(Key::Verb(Verb::Drain), &view), drain);
    let freeze = Next::Prepare(Verb::Freeze, None);
    assert_eq!(screen.press(Key::Verb(Verb::Freeze), &view), freeze);
    let question = || Some(("drain worker-0 for 1h".to_owned(), "moves 4\n".to_owned()));
    screen.question = question();
    let shown = lines(&drawn(&view, &screen, (80, 24))).join("\n");
    assert!(
        shown.contains("drain worker-0 for 1h?") && shown.contains("moves 4"),
        "{shown}"
    );
    for no in [Key::Enter, Key::Quit, Key::Down] {
        screen.question = question();
        assert_eq!(screen.press(no, &view), Next::Draw);
        assert_eq!(screen.press(Key::Yes, &view), Next::Draw, "it is over");
    }
    screen.question = question();
    assert_eq!(screen.press(Key::Yes, &view), Next::CarryOut);
}

//! `top`: a group on the whole terminal, as it happens.
//!
//! This file is the way between terminal, watch and screen. What is shown is decided in `screen` and
//! `map` and drawn in `draw`, none of which knows a terminal. What always holds: the terminal is given back
//! as it was, also after an error, and a lost watch is said and set up again.

use std::io::IsTerminal as _;
use std::time::Duration;

use parti::directory::Verb;
use parti::store::Store;
use parti_core::WorkerId;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use crate::args::{Arguments, Given};
use crate::connect;
use crate::failure::{Exit, Failure};
use crate::look::Look;
use crate::verbs::{self, Prepared};

mod draw;
mod map;
mod screen;

#[cfg(test)]
mod tests;

use screen::{Key, Next, Screen};

/// The screen is drawn so often at most while things happen.
const FRAME: Duration = Duration::from_millis(100);
/// And so often while nothing does: silences grow.
const IDLE: Duration = Duration::from_secs(1);
/// The pause before a lost watch is set up again.
const PAUSE: Duration = Duration::from_millis(500);

/// Shows a group until somebody quits.
pub(crate) async fn run(arguments: &Arguments, colours: bool) -> Result<(), Failure> {
    is_terminal()?;
    let store = connect::group(arguments).await?;
    let limit = arguments.connection.timeout();
    let look = Look::at(&store, limit).await?;
    let name = connect::name(arguments).await?;
    on_terminal(
        name.to_string(),
        colours,
        Shown::Group(arguments, &store),
        look,
    )
    .await
}

/// Plays a recording until somebody quits.
pub(crate) async fn replay(group: String, look: Look, colours: bool) -> Result<(), Failure> {
    is_terminal()?;
    on_terminal(
        format!("{group}, recorded"),
        colours,
        Shown::Recording,
        look,
    )
    .await
}

fn is_terminal() -> Result<(), Failure> {
    if std::io::stdout().is_terminal() {
        return Ok(());
    }
    let message = "top needs a terminal; `parti status` prints one screen";
    Err(Failure::new(Exit::Usage, message))
}

/// What is shown.
#[derive(Clone, Copy)]
enum Shown<'a> {
    Group(&'a Arguments, &'a dyn Store),
    /// It takes no orders.
    Recording,
}

async fn on_terminal(
    name: String,
    colours: bool,
    shown: Shown<'_>,
    look: Look,
) -> Result<(), Failure> {
    let mut screen = Screen::new(name, colours);
    screen.generations(&look.view());
    let keys = keys();
    let mut terminal = ratatui::init();
    let ended = show(&mut terminal, &mut screen, shown, look, keys).await;
    ratatui::restore();
    ended
}

async fn show(
    terminal: &mut DefaultTerminal,
    screen: &mut Screen,
    shown: Shown<'_>,
    mut look: Look,
    mut keys: mpsc::Receiver<Key>,
) -> Result<(), Failure> {
    let mut asked = None;
    let mut ended = false;
    loop {
        if look.has_ended() && !ended {
            ended = true;
            screen.say("the recording ends here".to_owned());
        }
        let view = look.view();
        let drawn = terminal.draw(|frame| draw::draw(frame, &view, screen));
        drawn.map_err(|error| Failure::new(Exit::Failed, format!("the terminal: {error}")))?;
        let begun = Instant::now();
        // What happens within one frame is drawn once.
        let mut until = begun + IDLE;
        loop {
            tokio::select! {
                () = sleep_until(until) => break,
                key = keys.recv() => {
                    match key.map_or(Next::Quit, |key| screen.press(key, &look.view())) {
                        Next::Quit => return Ok(()),
                        Next::Draw => {}
                        Next::Prepare(verb, worker) => {
                            asked = ask(screen, shown, verb, worker.as_ref()).await;
                        }
                        Next::CarryOut => carry_out(screen, asked.take()).await,
                    }
                    break;
                }
                found = look.next() => match found {
                    Ok(changes) => {
                        changes.iter().for_each(|change| screen.tell(change));
                        screen.generations_of(&look.directory.history().entries);
                        until = until.min(begun + FRAME);
                    }
                    Err(lost) => {
                        screen.say(lost.message);
                        if let Shown::Group(arguments, store) = shown {
                            look = again(store, arguments.connection.timeout()).await;
                        }
                        screen.say("the group is watched again".to_owned());
                        break;
                    }
                },
            }
        }
    }
}

/// Finds out what a verb would move, and asks.
async fn ask(
    screen: &mut Screen,
    shown: Shown<'_>,
    verb: Verb,
    worker: Option<&WorkerId>,
) -> Option<Prepared> {
    let Shown::Group(arguments, _) = shown else {
        screen.say("a recording takes no orders".to_owned());
        return None;
    };
    let given = Given::from_top();
    let worker = worker.map(WorkerId::as_str);
    match verbs::prepare(arguments, verb, worker, &given).await {
        Ok(prepared) => {
            let what = prepared.said().to_owned();
            screen.question = Some((what, prepared.preview.clone()));
            Some(prepared)
        }
        Err(failure) => {
            screen.say(failure.message);
            None
        }
    }
}

async fn carry_out(screen: &mut Screen, asked: Option<Prepared>) {
    let Some(prepared) = asked else {
        return;
    };
    let what = prepared.said().to_owned();
    screen.say(match prepared.carry_out().await {
        Ok(()) => format!("ordered: {what}"),
        Err(failure) => format!("{what} was not ordered: {}", failure.message),
    });
}

async fn again(store: &dyn Store, limit: Duration) -> Look {
    loop {
        tokio::time::sleep(PAUSE).await;
        if let Ok(Ok(look)) = timeout(limit, Look::at(store, limit)).await {
            return look;
        }
    }
}

/// The keys that are pressed, read by a thread: a terminal is waited for with a blocking call. It ends
/// with the program, or when nobody listens any more.
fn keys() -> mpsc::Receiver<Key> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            let Some(key) = meaning(&event) else {
                continue;
            };
            if sender.blocking_send(key).is_err() {
                return;
            }
        }
    });
    receiver
}

/// What an event of the terminal means, if it means anything.
fn meaning(event: &Event) -> Option<Key> {
    let key = match event {
        // Another size: it is drawn again.
        Event::Resize(..) => return Some(Key::Nothing),
        Event::Key(key) if key.kind != KeyEventKind::Release => key,
        Event::Key(_)
        | Event::FocusGained
        | Event::FocusLost
        | Event::Mouse(_)
        | Event::Paste(_) => return None,
    };
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return (key.code == KeyCode::Char('c')).then_some(Key::Quit);
    }
    let keys = [
        (KeyCode::Char('q'), Key::Quit),
        (KeyCode::Up, Key::Up),
        (KeyCode::Char('k'), Key::Up),
        (KeyCode::Down, Key::Down),
        (KeyCode::Char('j'), Key::Down),
        (KeyCode::Enter, Key::Enter),
        (KeyCode::Esc, Key::Back),
        (KeyCode::Backspace, Key::Back),
        (KeyCode::Char('c'), Key::Colours),
        (KeyCode::Char('d'), Key::Verb(Verb::Drain)),
        (KeyCode::Char('o'), Key::Verb(Verb::Cordon)),
        (KeyCode::Char('f'), Key::Verb(Verb::Freeze)),
        (KeyCode::Char('r'), Key::Verb(Verb::Trigger)),
        (KeyCode::Char('y'), Key::Yes),
    ];
    let found = keys.into_iter().find(|(code, _)| *code == key.code);
    // Every other key is a no to what is asked.
    Some(found.map_or(Key::Nothing, |(_, key)| key))
}

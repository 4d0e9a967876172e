//! The operator's verbs: requests and orders, shown before they are given, and taken back.
//!
//! It is separate because these are the only commands that write: one key each, and only after what it will
//! move was shown and agreed to. What always holds: what is refused leaves nothing behind.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use parti::directory::{SessionState, Verb, View};
use parti::store::{Expect, Store, StoreOp, Write};
use parti_core::{Control, Nonce, Record, WorkerId, WriteId, control_key, wire};
use serde_json::json;

use crate::args::{Arguments, Given, Planned};
use crate::connect;
use crate::failure::{Exit, Failure};
use crate::look::Look;
use crate::show::printed;
use crate::{names, plan};

pub(crate) mod pins;
pub(crate) mod repartition;

/// Longer than this no order is given: who forgets one finds it within a month.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// What is to be written, where, and what it will move.
pub(crate) struct Prepared {
    store: Arc<dyn Store>,
    step: Step,
    pub(crate) preview: String,
}

impl Prepared {
    /// What it is, in words.
    pub(crate) fn said(&self) -> &str {
        &self.step.said
    }

    /// Writes it.
    pub(crate) async fn carry_out(&self) -> Result<(), Failure> {
        let write = Write {
            key: self.step.key.clone(),
            value: self.step.value.clone(),
            expect: self.step.expect,
        };
        let writes = vec![write];
        self.store.execute(StoreOp::Commit { writes }).await?;
        Ok(())
    }
}

struct Step {
    key: String,
    value: Option<Vec<u8>>,
    expect: Expect,
    said: String,
}

/// Gives a verb, about a worker if it is about one.
pub(crate) async fn give(
    arguments: &Arguments,
    verb: Verb,
    worker: Option<&str>,
    given: &Given,
) -> Result<String, Failure> {
    let prepared = prepare(arguments, verb, worker, given).await?;
    carry_out(arguments, &prepared, given).await
}

/// What a verb would write and move; nothing is written yet.
pub(crate) async fn prepare(
    arguments: &Arguments,
    verb: Verb,
    worker: Option<&str>,
    given: &Given,
) -> Result<Prepared, Failure> {
    let store = connect::group_to_change(arguments).await?;
    let look = Look::at(&store, arguments.connection.timeout()).await?;
    let view = look.view();
    let lasts = if verb.is_order() {
        Some(lasts(given)?)
    } else {
        None
    };
    let author = author(given);
    let about = match worker {
        Some(name) => Some(names::worker(&view, name)?),
        None => None,
    };
    if let Some(worker) = &about {
        conflict(&view, verb, worker)?;
    }
    let name = match (&about, verb.is_order()) {
        (Some(worker), _) => worker.clone(),
        (None, true) => group(),
        (None, false) => WorkerId::new(&asker(&author))
            .map_err(|error| Failure::new(Exit::Usage, format!("--author: {error}")))?,
    };
    let control = Control {
        write: WriteId {
            nonce: nonce()?,
            seq: 1,
        },
        author,
        reason: given.reason.clone().unwrap_or_default(),
        lasts,
        pins: Vec::new(),
    };
    let until = lasts.map_or_else(String::new, |lasts| {
        format!(" for {}", humantime::format_duration(lasts))
    });
    let whom = about
        .as_ref()
        .map_or_else(String::new, |worker| format!(" {worker}"));
    let step = Step {
        key: control_key(verb, &name),
        value: Some(wire::encode(&Record::Control(control))),
        expect: Expect::Any,
        said: format!("{}{whom}{until}", verb.as_str()),
    };
    let preview = preview(&look, verb, about.as_ref())?;
    Ok(Prepared {
        store,
        step,
        preview,
    })
}

/// Takes an order back.
pub(crate) async fn cancel(
    arguments: &Arguments,
    verb: &str,
    worker: Option<&str>,
    given: &Given,
) -> Result<String, Failure> {
    let orders: Vec<Verb> = Verb::ALL
        .into_iter()
        .filter(|verb| verb.is_order() && *verb != Verb::Pin)
        .collect();
    let found = orders.iter().find(|order| order.as_str() == verb);
    let Some(&verb) = found else {
        let mut known: Vec<_> = orders.iter().map(|order| order.as_str()).collect();
        known.extend(["pin", "move"]);
        let message = format!("{verb:?} is no order; there are: {}", known.join(", "));
        return Err(Failure::new(Exit::Usage, message));
    };
    let store = connect::group_to_change(arguments).await?;
    let look = Look::at(&store, arguments.connection.timeout()).await?;
    let view = look.view();
    let of_verb = view.requests.iter().filter(|request| request.verb == verb);
    let in_force: Vec<String> = of_verb.map(|request| request.worker.to_string()).collect();
    let name = worker.unwrap_or(Verb::GROUP);
    if !in_force.iter().any(|worker| worker == name) {
        let message = match &in_force[..] {
            [] => format!("there is no {} in force", verb.as_str()),
            some => format!(
                "there is no {} of {name}; there is one of: {}",
                verb.as_str(),
                names::nearest(name, some)
            ),
        };
        return Err(Failure::new(Exit::NotThere, message));
    }
    let name = WorkerId::new(name).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let step = Step {
        key: control_key(verb, &name),
        value: None,
        expect: Expect::Any,
        said: format!("withdraw {} of {name}", verb.as_str()),
    };
    let prepared = Prepared {
        store,
        step,
        preview: String::new(),
    };
    carry_out(arguments, &prepared, given).await
}

fn group() -> WorkerId {
    WorkerId::new(Verb::GROUP).expect("a short word of letters is a name")
}

/// How long an order holds.
fn lasts(given: &Given) -> Result<Duration, Failure> {
    let lasts = given.lasting;
    if lasts.is_zero() || lasts > LONGEST {
        let message = format!(
            "--for {}: an order holds for more than nothing and at most 30 days",
            humantime::format_duration(lasts)
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(lasts)
}

fn author(given: &Given) -> String {
    let user = || std::env::var("USER").ok().filter(|user| !user.is_empty());
    let named = given.author.clone().or_else(user);
    named.unwrap_or_else(|| "somebody".to_owned())
}

/// The author as a name that can stand in a key.
fn asker(author: &str) -> String {
    let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = author.chars().map(word).take(32).collect();
    format!("cli-{name}")
}

fn nonce() -> Result<Nonce, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::new(Exit::Failed, format!("no random number: {error}")))?;
    Ok(Nonce::new(u128::from_le_bytes(bytes)))
}

/// What contradicts the order, if anything does.
fn conflict(view: &View, verb: Verb, worker: &WorkerId) -> Result<(), Failure> {
    let lives = |state: SessionState| matches!(state, SessionState::Known(s) if s.is_living());
    let ordered = |other: Verb, worker: &WorkerId| {
        let mut requests = view.requests.iter();
        requests.any(|request| request.verb == other && request.worker == *worker)
    };
    if verb == Verb::Cordon && ordered(Verb::Drain, worker) {
        let message = format!("{worker} is drained, which is more: cancel that first");
        return Err(Failure::new(Exit::Usage, message));
    }
    let others = view.workers.iter().filter(|other| {
        other.worker != *worker
            && lives(other.state)
            && !ordered(Verb::Drain, &other.worker)
            && !ordered(Verb::Cordon, &other.worker)
            && !ordered(Verb::Evict, &other.worker)
            && other
                .session
                .as_ref()
                .is_none_or(|session| session.capacity > 0)
    });
    if others.count() == 0 {
        let message = format!(
            "nobody would be left to own anything without {worker}: such an order is not obeyed"
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(())
}

/// What the verb will move.
fn preview(look: &Look, verb: Verb, worker: Option<&WorkerId>) -> Result<String, Failure> {
    let drain = worker.map(ToString::to_string);
    match verb {
        Verb::Drain => plan::run(
            look,
            &Planned {
                drain: drain.into_iter().collect(),
                ..Planned::default()
            },
            false,
        ),
        Verb::Trigger => plan::run(look, &Planned::default(), false),
        Verb::Evict => plan::run(
            look,
            &Planned {
                remove: drain.into_iter().collect(),
                ..Planned::default()
            },
            false,
        ),
        Verb::Cordon | Verb::Freeze | Verb::Pin | Verb::Refresh | Verb::StepDown => {
            Ok("moves nothing\n".to_owned())
        }
    }
}

async fn carry_out(
    arguments: &Arguments,
    prepared: &Prepared,
    given: &Given,
) -> Result<String, Failure> {
    let (dry, json) = (given.dry_run, arguments.json);
    let step = &prepared.step;
    if !json {
        crate::print(&format!("{}\n{}", step.said, prepared.preview));
    }
    if !dry && !given.yes && !agreed()? {
        return Err(Failure::new(Exit::No, "nothing was done"));
    }
    if !dry {
        prepared.carry_out().await?;
    }
    Ok(match (json, dry) {
        (true, _) => printed(&json!({ "order": step.said, "key": step.key, "done": !dry })),
        (false, true) => "nothing was done (--dry-run)\n".to_owned(),
        (false, false) => "ordered; `parti status` shows it\n".to_owned(),
    })
}

/// Asks on the terminal. Without one nobody can agree.
fn agreed() -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        let message = "nobody is there to ask: give --yes, or --dry-run to look only";
        return Err(Failure::new(Exit::Usage, message));
    }
    let mut out = io::stdout();
    let _ = write!(out, "go on? [y/N] ").and_then(|()| out.flush());
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line);
    Ok(read.is_ok() && matches!(line.trim(), "y" | "yes"))
}

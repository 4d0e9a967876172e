//! The command line `parti`: looks at the groups on a NATS server, or in a file of this machine.
//!
//! This file is the way from the arguments to an exit code; each command has a file of its own. What
//! always holds: only the verbs of `verbs` write, and what is asked for goes to standard output as a
//! whole, or not at all.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser as _;

mod args;
mod connect;
mod doctor;
mod events;
mod failure;
mod look;
mod names;
mod plan;
mod replay;
mod show;
mod top;
mod verbs;

use args::{Arguments, Command};
use failure::{Exit, Failure};
use look::Look;
use parti::directory::Verb;

/// What a command found: its text and whether the answer is a no.
struct Answer {
    text: String,
    exit: Exit,
}

impl From<String> for Answer {
    fn from(text: String) -> Self {
        let exit = Exit::Done;
        Self { text, exit }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let answer = match run(&arguments).await {
        Ok(answer) => answer,
        Err(failure) => {
            failure.tell(arguments.json);
            return failure.exit.into();
        }
    };
    print(&answer.text);
    answer.exit.into()
}

/// Writes to standard output. A reader that has gone away, such as `head`, is no error.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes());
    if written.and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

async fn run(arguments: &Arguments) -> Result<Answer, Failure> {
    let json = arguments.json;
    let text = match &arguments.command {
        Command::Completions { shell } => args::completions(*shell),
        Command::Man { directory } => args::man_pages(directory)?,
        Command::Groups => show::groups(&arguments.connection, json).await?,
        Command::Events { last, follow } => {
            events::run(arguments, *last, *follow).await?;
            String::new()
        }
        Command::Top { no_colours } => {
            top::run(arguments, !no_colours).await?;
            String::new()
        }
        Command::Rebalance { given } => verbs::give(arguments, Verb::Trigger, None, given).await?,
        Command::Refresh { given } => verbs::give(arguments, Verb::Refresh, None, given).await?,
        Command::StepDown { given } => verbs::give(arguments, Verb::StepDown, None, given).await?,
        Command::Drain { worker, given } => {
            verbs::give(arguments, Verb::Drain, Some(worker), given).await?
        }
        Command::Cordon { worker, given } => {
            verbs::give(arguments, Verb::Cordon, Some(worker), given).await?
        }
        Command::Freeze { given } => verbs::give(arguments, Verb::Freeze, None, given).await?,
        Command::Pin(wanted) => verbs::pins::give(arguments, wanted, false).await?,
        Command::Move(wanted) => verbs::pins::give(arguments, wanted, true).await?,
        Command::Evict { worker, given } => {
            verbs::give(arguments, Verb::Evict, Some(worker), given).await?
        }
        Command::Cancel { verb, about, given } if matches!(verb.as_str(), "pin" | "move") => {
            verbs::pins::cancel(arguments, verb, about.as_deref(), given).await?
        }
        Command::Cancel { verb, about, given } => {
            verbs::cancel(arguments, verb, about.as_deref(), given).await?
        }
        Command::Repartition(asked) => verbs::repartition::run(arguments, asked).await?,
        Command::Export { file, lasting } => replay::export(arguments, file, *lasting).await?,
        Command::Replay(played) => return replay::replay(arguments, played).await,
        Command::Doctor { seconds } => return doctor::run(arguments, *seconds).await,
        Command::Status { .. }
        | Command::Workers
        | Command::Partitions(_)
        | Command::Owner { .. }
        | Command::Explain { .. }
        | Command::History { .. }
        | Command::Plan(_) => {
            let store = connect::group(arguments).await?;
            let limit = arguments.connection.timeout();
            let look = Look::at(&store, limit).await?;
            return answer(&arguments.command, &look, json);
        }
    };
    Ok(text.into())
}

/// The commands that are answered from one look at a group.
fn answer(command: &Command, look: &Look, json: bool) -> Result<Answer, Failure> {
    let text = match command {
        Command::Workers => show::lists::workers(look, json),
        Command::Partitions(which) => show::lists::partitions(look, which, json)?,
        Command::Owner { key } => return show::lists::owner(look, key, json),
        Command::Explain { key } => show::lists::explain(look, key, json)?,
        Command::History { last } => show::lists::history(look, *last, json),
        Command::Plan(what) => plan::run(look, what, json)?,
        Command::Status { .. }
        | Command::Groups
        | Command::Events { .. }
        | Command::Top { .. }
        | Command::Rebalance { .. }
        | Command::Refresh { .. }
        | Command::StepDown { .. }
        | Command::Drain { .. }
        | Command::Cordon { .. }
        | Command::Freeze { .. }
        | Command::Pin(_)
        | Command::Move(_)
        | Command::Evict { .. }
        | Command::Cancel { .. }
        | Command::Doctor { .. }
        | Command::Repartition(_)
        | Command::Export { .. }
        | Command::Replay(_)
        | Command::Completions { .. }
        | Command::Man { .. } => show::status::status(look, json),
    };
    Ok(text.into())
}

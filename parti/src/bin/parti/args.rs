//! The arguments of the command line, and what is made from them: completions and man pages.
//!
//! It is separate because help, completions and man pages all come from these declarations.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::failure::{Exit, Failure};

/// Look at groups that share partitions: who owns what, why, and what a change would move.
#[derive(Debug, Parser)]
#[command(name = "parti", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// The group; the only one there is if not given
    #[arg(long, short, global = true, env = "PARTI_GROUP", value_name = "NAME")]
    pub(crate) group: Option<String>,
    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How the NATS server is reached: as with the command line `nats`; or which file the groups are in.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// The server, several with commas; or file:PATH for groups of one machine
    #[arg(long, short, global = true, env = "NATS_URL", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// A context of the command line `nats`; the selected one if neither it nor a server is given
    #[arg(long, global = true, env = "NATS_CONTEXT", value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// A credentials file
    #[arg(long, global = true, env = "NATS_CREDS", value_name = "FILE")]
    pub(crate) creds: Option<PathBuf>,
    /// A file with an NKey seed
    #[arg(long, global = true, env = "NATS_NKEY", value_name = "FILE")]
    pub(crate) nkey: Option<PathBuf>,
    /// The user, or the token when there is no password
    #[arg(long, global = true, env = "NATS_USER", value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// The password
    #[arg(long, global = true, env = "NATS_PASSWORD", hide_env_values = true)]
    pub(crate) password: Option<String>,
    /// Certificates of authorities to trust
    #[arg(long, global = true, env = "NATS_CA", value_name = "FILE")]
    pub(crate) tlsca: Option<PathBuf>,
    /// The client's certificate
    #[arg(long, global = true, env = "NATS_CERT", value_name = "FILE")]
    pub(crate) tlscert: Option<PathBuf>,
    /// The key of the client's certificate
    #[arg(long, global = true, env = "NATS_KEY", value_name = "FILE")]
    pub(crate) tlskey: Option<PathBuf>,
    /// The JetStream domain that keeps the group
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) js_domain: Option<String>,
    /// What answers are addressed to, where permissions ask for it
    #[arg(long, global = true, value_name = "PREFIX")]
    pub(crate) inbox_prefix: Option<String>,
    /// What the buckets' names begin with
    #[arg(long, global = true, value_name = "TEXT")]
    pub(crate) bucket_prefix: Option<String>,
    /// How long each request may take
    #[arg(long, global = true, default_value = "5s", value_parser = timeout)]
    timeout: Duration,
}

impl Connection {
    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time.is_zero() => Err("a request needs time: give 5s".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(error.to_string()),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The groups on the server
    Groups,
    /// One screen: who leads, who works, what has no owner, what is held up, what was done last
    Status {
        /// The group
        #[arg(value_name = "GROUP")]
        name: Option<String>,
    },
    /// The workers
    Workers,
    /// The partitions and where they are
    Partitions(Which),
    /// Whose a partition is
    Owner {
        /// The partition, such as `orders/7`
        key: String,
    },
    /// Why a partition is where it is
    Explain {
        /// The partition, such as `orders/7`
        key: String,
    },
    /// What the group did of late and why
    History {
        /// How many generations
        #[arg(long, short = 'n', default_value_t = 20)]
        last: usize,
    },
    /// What happens, as it happens
    Events {
        /// How many generations of the past come first
        #[arg(long, short = 'n', default_value_t = 10)]
        last: usize,
        /// Go on until interrupted
        #[arg(long, short)]
        follow: bool,
    },
    /// The group on the whole terminal, as it happens: workers, owners, moves, events
    Top {
        /// Letters only
        #[arg(long, env = "NO_COLOR", value_parser = clap::builder::BoolishValueParser::new())]
        no_colours: bool,
    },
    /// What a change would move, on the live state, without making it
    Plan(Planned),
    /// Rebalance now
    Rebalance {
        #[command(flatten)]
        given: Given,
    },
    /// List the partitions again
    Refresh {
        #[command(flatten)]
        given: Given,
    },
    /// Let another worker lead
    StepDown {
        #[command(flatten)]
        given: Given,
    },
    /// Let a worker own nothing for a while; it stays a member
    Drain {
        /// The worker
        worker: String,
        #[command(flatten)]
        given: Given,
    },
    /// Give a worker nothing new for a while; it keeps what it has
    Cordon {
        /// The worker
        worker: String,
        #[command(flatten)]
        given: Given,
    },
    /// Move nothing for a while that may stay; losses are repaired
    Freeze {
        #[command(flatten)]
        given: Given,
    },
    /// Keep a partition at a worker for a while
    Pin(Wanted),
    /// Move a partition to a worker; later plans may move it on
    Move(Wanted),
    /// End the session that a worker has, without waiting for it; its ID gets nothing new for a while
    Evict {
        /// The worker
        worker: String,
        #[command(flatten)]
        given: Given,
    },
    /// Withdraw a drain, a cordon, a freeze, a pin, a move or an evict
    Cancel {
        /// The order: drain, cordon, freeze, pin, move or evict
        verb: String,
        /// The worker it is about; of a pin or a move the partition
        #[arg(value_name = "WORKER")]
        about: Option<String>,
        #[command(flatten)]
        given: Given,
    },
    /// Split a stream that groups consume into another number of partitions; or show how far they are
    Repartition(Repartitioned),
    /// Look for what is wrong, and say what to do
    Doctor {
        /// For how long to look; two heartbeats, 10 s at most, if not given
        #[arg(long)]
        seconds: Option<u64>,
    },
    /// Write what the group's records say into a file, to look at it later with `replay`
    Export {
        /// The file, which must not exist
        file: PathBuf,
        /// Go on for so long and write down what happens, too
        #[arg(
            long = "for",
            value_name = "TIME",
            default_value = "0s",
            value_parser = humantime::parse_duration
        )]
        lasting: Duration,
    },
    /// Look at a group from a file of `export`, without the group
    Replay(Played),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write man pages into a directory
    Man {
        /// The directory
        directory: PathBuf,
    },
}

/// A stream, and into how many partitions.
#[derive(Debug, Args)]
pub(crate) struct Repartitioned {
    /// The stream
    pub(crate) stream: String,
    /// How many partitions there are to be; without it nothing is done, and the groups are shown
    #[arg(long, value_name = "COUNT")]
    pub(crate) to: Option<u32>,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// A partition, and where it is wanted.
#[derive(Debug, Args)]
pub(crate) struct Wanted {
    /// The partition, such as `orders/7`
    pub(crate) partition: String,
    /// The worker
    pub(crate) worker: String,
    #[command(flatten)]
    pub(crate) given: Given,
}

/// How a verb is given.
#[derive(Debug, Args)]
pub(crate) struct Given {
    /// How long an order holds, by the clock of the server
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    pub(crate) lasting: Duration,
    /// Why; it stands in the audit
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Who; the user of this machine if not given
    #[arg(long)]
    pub(crate) author: Option<String>,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Show what it would move, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

impl Given {
    /// As by a key of `top`, which asks by itself.
    pub(crate) fn from_top() -> Self {
        Self {
            lasting: Duration::from_secs(3_600),
            reason: Some("by a key of top".to_owned()),
            author: None,
            yes: true,
            dry_run: false,
        }
    }
}

/// A recording, and what is looked at.
#[derive(Debug, Args)]
pub(crate) struct Played {
    /// The file
    pub(crate) file: PathBuf,
    /// A time of the recording, counted from its begin; its end if not given, for `top` its begin
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) at: Option<Duration>,
    /// How many times as fast `top` plays it
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) speed: u32,
    #[command(subcommand)]
    pub(crate) view: Option<Viewed>,
}

/// How a recording is looked at; `status` if nothing is said.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Viewed {
    /// One screen
    Status,
    /// The workers
    Workers,
    /// The partitions and where they were
    Partitions(Which),
    /// Whose a partition was
    Owner {
        /// The partition, such as `orders/7`
        key: String,
    },
    /// Why a partition was where it was
    Explain {
        /// The partition, such as `orders/7`
        key: String,
    },
    /// What the group had done and why
    History {
        /// How many generations
        #[arg(long, short = 'n', default_value_t = 20)]
        last: usize,
    },
    /// What a change would have moved
    Plan(Planned),
    /// Play it on the whole terminal
    Top {
        /// Letters only
        #[arg(long, env = "NO_COLOR", value_parser = clap::builder::BoolishValueParser::new())]
        no_colours: bool,
    },
}

/// Which partitions.
#[derive(Clone, Debug, Args)]
#[group(multiple = false)]
pub(crate) struct Which {
    /// Those of a worker
    #[arg(long, value_name = "WORKER")]
    pub(crate) of: Option<String>,
    /// Those without an owner, parked ones included
    #[arg(long)]
    pub(crate) unowned: bool,
    /// Those on their way
    #[arg(long)]
    pub(crate) moving: bool,
}

/// The change to plan.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Planned {
    /// So many workers join
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub(crate) add: u32,
    /// A worker is lost; can be given again
    #[arg(long, value_name = "WORKER")]
    pub(crate) remove: Vec<String>,
    /// A worker leaves in an orderly way; can be given again
    #[arg(long, value_name = "WORKER")]
    pub(crate) drain: Vec<String>,
    /// Other weights: lines of a partition and its weight
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: Option<PathBuf>,
    /// Another strategy than the group's
    #[arg(long, value_enum)]
    pub(crate) strategy: Option<StrategyName>,
    /// A table for autoscalers: each number of workers from A to B
    #[arg(long, value_name = "A..B", value_parser = range)]
    pub(crate) advise: Option<(u32, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StrategyName {
    Sticky,
    RoundRobin,
    Rendezvous,
    ConsistentHash,
}

/// The most workers that are advised about.
const ADVISE_MOST: u32 = 10_000;

fn range(text: &str) -> Result<(u32, u32), String> {
    let right = || format!("{text:?} is no range; give two numbers such as 2..8");
    let (from, to) = text.split_once("..").ok_or_else(right)?;
    let number = |text: &str| text.trim().parse::<u32>().map_err(|_| right());
    let (from, to) = (number(from)?, number(to.trim_start_matches('='))?);
    if from == 0 || from > to || to > ADVISE_MOST {
        return Err(format!(
            "{text:?}: from at least 1 up to at most {ADVISE_MOST} workers"
        ));
    }
    Ok((from, to))
}

/// Completions for a shell.
pub(crate) fn completions(shell: Shell) -> String {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "parti", &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Writes a man page for each command.
pub(crate) fn man_pages(directory: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| {
        let message = format!("{}: {error}", directory.display());
        Failure::new(Exit::Failed, message)
    };
    fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(Arguments::command(), directory).map_err(failed)?;
    Ok(format!("man pages are in {}\n", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A declaration that contradicts itself panics when somebody first uses it.
    #[test]
    fn the_declarations_agree_with_each_other() {
        Arguments::command().debug_assert();
    }

    /// An autoscaler that reads a nonsense table scales on it.
    #[test]
    fn a_range_is_two_counts_in_order() {
        assert_eq!(range("2..8"), Ok((2, 8)));
        assert_eq!(range("2..=8"), Ok((2, 8)));
        for text in ["", "2", "8..2", "0..2", "a..b", "1..100000"] {
            let error = range(text).expect_err(text);
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }
}

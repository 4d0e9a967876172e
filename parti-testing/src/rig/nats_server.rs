//! A real nats-server for integration tests: started on a free port, killed on drop.
//!
//! It is separate from the fakes because it needs a program on the machine, and behind a feature
//! because only tests of wire code want it. It uses nothing but the standard library, so every
//! crate's tests can have it. What always holds: the server listens on the loopback address only,
//! keeps its data in its own temporary folder, and neither outlives the [`NatsServer`].
//!
//! Pausing needs the `kill` command, so it is for Unix only. Three servers as one cluster are
//! [`NatsCluster`](crate::rig::nats_cluster::NatsCluster).
//!
//! ```no_run
//! use parti_testing::rig::nats_server::{NatsServer, ServerOptions};
//!
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mut server = NatsServer::start(ServerOptions::default())?;
//! println!("connect to {}", server.url());
//! server.kill()?;
//! server.restart()?; // the same port and the same data
//! # Ok(())
//! # }
//! ```

use std::env;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::rig::process::OwnProcess;
use crate::rig::server_clock;

mod program;

pub use program::find_program;

/// How long a server may take until it greets.
const START_MAX: Duration = Duration::from_secs(10);
/// How often a start is tried when another process took the port in between.
const START_ATTEMPTS: usize = 5;

/// What the server is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    jetstream: bool,
    config: String,
    program: Option<PathBuf>,
}

impl Default for ServerOptions {
    /// JetStream on, nobody needs credentials.
    fn default() -> Self {
        Self {
            jetstream: true,
            config: String::new(),
            program: None,
        }
    }
}

impl ServerOptions {
    /// Switches JetStream off.
    #[must_use]
    pub const fn without_jetstream(mut self) -> Self {
        self.jetstream = false;
        self
    }

    /// Adds lines to the server's configuration file.
    #[must_use]
    pub fn config(mut self, lines: &str) -> Self {
        self.config.push_str(lines);
        self.config.push('\n');
        self
    }

    /// Lets in only clients that know the token.
    #[must_use]
    pub fn token(self, token: &str) -> Self {
        self.config(&format!("authorization {{ token: {token:?} }}"))
    }

    /// Lets in one user, who may not publish to or subscribe to the subjects given.
    #[must_use]
    pub fn user(self, name: &str, password: &str, no_publish: &[&str], no_sub: &[&str]) -> Self {
        let permissions =
            format!("{{ publish: {{ deny: {no_publish:?} }}, subscribe: {{ deny: {no_sub:?} }} }}");
        self.config(&format!(
            "authorization {{ users: [ \
             {{ user: {name:?}, password: {password:?}, permissions: {permissions} }} ] }}"
        ))
    }

    /// Runs this program instead of the one [`find_program`] finds, whatever its version.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }
}

/// Why a server is not there.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerError {
    /// There is no program to run. Nothing was started.
    NoProgram {
        /// Where it was looked for, and what was wrong there.
        searched: String,
    },
    /// The server ended or did not greet. It is not running any more.
    NotReady {
        /// The end of its log.
        log: String,
    },
    /// The system refused something. The server is in the state it was in.
    Io(io::Error),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProgram { searched } => write!(
                f,
                "no nats-server of at least 2.12.1; run `cargo xtask nats` in the workspace or set \
                 PARTI_NATS_SERVER to the program. Looked here: {searched}"
            ),
            Self::NotReady { log } => write!(f, "nats-server did not come up; its log: {log}"),
            Self::Io(error) => write!(f, "nats-server could not be handled: {error}"),
        }
    }
}

impl std::error::Error for ServerError {}

impl From<io::Error> for ServerError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A nats-server of our own. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct NatsServer {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    process: Option<OwnProcess>,
}

impl NatsServer {
    /// Starts a server and waits until it greets.
    ///
    /// # Errors
    /// [`ServerError`]; nothing is left running.
    pub fn start(options: ServerOptions) -> Result<Self, ServerError> {
        let program = match options.program.clone() {
            Some(program) => program,
            None => find_program()?,
        };
        let mut failure = None;
        for _ in 0..START_ATTEMPTS {
            let mut server = Self {
                program: program.clone(),
                folder: new_folder()?,
                port: free_port()?,
                process: None,
            };
            fs::write(server.config_path(), server.config(&options))?;
            match server.launch() {
                Ok(()) => return Ok(server),
                Err(error @ ServerError::NotReady { .. }) => failure = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(failure.unwrap_or_else(|| ServerError::NotReady { log: String::new() }))
    }

    /// Where clients connect, such as `nats://127.0.0.1:4222`. The same after a restart.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// Its address and port, for clients that put credentials before it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// The file its log goes to.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// The last lines of its log, for the report of a failed test.
    #[must_use]
    pub fn log_end(&self) -> String {
        last_lines(&self.log_path())
    }

    /// The number of its process, if it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(OwnProcess::pid)
    }

    /// Kills it at once, as a crash does (SIGKILL). Its data stays. Harmless when it is dead.
    ///
    /// # Errors
    /// When the system refuses; it may still be running then.
    pub fn kill(&mut self) -> Result<(), ServerError> {
        if let Some(process) = self.process.take() {
            process.kill()?;
        }
        Ok(())
    }

    /// Kills it if it runs and starts it again on the same port and data.
    ///
    /// # Errors
    /// [`ServerError`]; it is not running then.
    pub fn restart(&mut self) -> Result<(), ServerError> {
        self.kill()?;
        self.launch()
    }

    /// Stops its process without ending it (SIGSTOP): connections stay open and nothing answers.
    /// Returns when it has stopped.
    ///
    /// # Errors
    /// When it does not run or the system refuses.
    pub fn pause(&self) -> Result<(), ServerError> {
        Ok(self.running()?.pause()?)
    }

    /// Lets a paused process go on (SIGCONT).
    ///
    /// # Errors
    /// When it does not run or the system refuses.
    pub fn resume(&self) -> Result<(), ServerError> {
        Ok(self.running()?.resume()?)
    }

    /// Gives it another configuration while it runs (SIGHUP) and waits until it has taken it over.
    /// The options also count for later restarts.
    ///
    /// # Errors
    /// [`ServerError`]; when the server refuses the configuration, with its log. It goes on with the
    /// old one then.
    pub fn reload(&mut self, options: &ServerOptions) -> Result<(), ServerError> {
        let said = |log: &str| {
            let done = log.matches("Reloaded server configuration").count();
            (done, log.matches("Failed to reload").count())
        };
        let read = || fs::read_to_string(self.log_path()).unwrap_or_default();
        let before = said(&read());
        fs::write(self.config_path(), self.config(options))?;
        self.running()?.signal("-HUP")?;
        let deadline = Instant::now() + START_MAX;
        while Instant::now() < deadline {
            match said(&read()) {
                (done, _) if done > before.0 => return Ok(()),
                (_, failed) if failed > before.1 => break,
                _ => sleep(Duration::from_millis(5)),
            }
        }
        Err(ServerError::NotReady {
            log: self.log_end(),
        })
    }

    /// Makes its wall clock differ by so many seconds from the machine's until it is started again,
    /// see [`server_clock`].
    ///
    /// # Errors
    /// When it does not run, or this machine has no way to do that.
    pub fn set_clock(&self, step_seconds: i64) -> Result<(), ServerError> {
        Ok(server_clock::set_clock(self.running()?, step_seconds)?)
    }

    /// Tells it to end in an orderly way (SIGUSR2, "lame duck mode"): it takes no new clients, hands
    /// its streams to others, and sends its clients away one by one. Returns at once.
    ///
    /// # Errors
    /// When it does not run or the system refuses.
    pub fn retire(&self) -> Result<(), ServerError> {
        Ok(self.running()?.signal("-USR2")?)
    }

    fn running(&self) -> io::Result<&OwnProcess> {
        let nothing = || io::Error::new(io::ErrorKind::NotFound, "it does not run");
        self.process.as_ref().ok_or_else(nothing)
    }

    fn launch(&mut self) -> Result<(), ServerError> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(self.config_path());
        command.stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        self.process = Some(OwnProcess::spawn(&mut command)?);
        let deadline = Instant::now() + START_MAX;
        while Instant::now() < deadline {
            if greets(self.address()) {
                return Ok(());
            }
            if !self.running()?.is_running()? {
                break;
            }
            sleep(Duration::from_millis(5));
        }
        self.kill()?;
        Err(ServerError::NotReady {
            log: last_lines(&self.log_path()),
        })
    }

    fn config_path(&self) -> PathBuf {
        self.folder.join("server.conf")
    }

    fn config(&self, options: &ServerOptions) -> String {
        let jetstream = if options.jetstream {
            let store = self.folder.join("store");
            format!("jetstream {{ store_dir: {store:?} }}\n")
        } else {
            String::new()
        };
        let address = self.address();
        format!("listen: \"{address}\"\n{jetstream}{}", options.config)
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        // Nobody can be told here, and the folder is temporary in any case.
        if self.kill().is_ok() {
            drop(fs::remove_dir_all(&self.folder));
        }
    }
}

fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

fn new_folder() -> io::Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("parti-nats-{}-{count}", std::process::id());
        let folder = env::temp_dir().join(name);
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            // Left over from an earlier process with the same number.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether a server at the address sends its greeting, an `INFO` line.
fn greets(address: SocketAddr) -> bool {
    let patience = Duration::from_secs(1);
    let Ok(stream) = TcpStream::connect_timeout(&address, patience) else {
        return false;
    };
    let mut line = String::new();
    stream.set_read_timeout(Some(patience)).is_ok()
        && BufReader::new(stream).read_line(&mut line).is_ok()
        && line.starts_with("INFO ")
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_else(|error| error.to_string());
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A suite that hangs on a broken server says nothing about the code.
    #[test]
    fn a_program_that_ends_at_once_is_reported() {
        let options = ServerOptions::default().program("/bin/false");
        let error = NatsServer::start(options).expect_err("no server");
        assert!(matches!(error, ServerError::NotReady { .. }), "{error}");
    }
}

//! A PostgreSQL server of a test: its own directory and port, and processes that crash and freeze.
//!
//! Its programs are in the folder that `PARTI_POSTGRES` names; `cargo xtask` finds them. What always holds:
//! where nobody names one, there is no server, and the test says that it is skipped.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::process::OwnProcess;

/// The only user of the server, who needs no password. The database is `postgres`.
pub const USER: &str = "parti";

/// Which folder has `initdb`, `postgres` and `pg_isready`.
const VARIABLE: &str = "PARTI_POSTGRES";
/// Far more than a start or a recovery takes.
const LIMIT: Duration = Duration::from_secs(60);

/// A server. Dropping it ends it and removes what it stored.
#[derive(Debug)]
pub struct PostgresServer {
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
    process: Option<OwnProcess>,
}

impl PostgresServer {
    /// A new server, or none where nobody said where its programs are.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start() -> io::Result<Option<Self>> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let Some(programs) = std::env::var_os(VARIABLE) else {
            eprintln!("SKIPPED: {VARIABLE} names no folder with the programs of a server");
            return Ok(None);
        };
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("parti-postgres-{}-{count}", std::process::id());
        let mut server = Self {
            programs: programs.into(),
            folder: std::env::temp_dir().join(name),
            port: free_port()?,
            process: None,
        };
        fs::create_dir_all(&server.folder)?;
        nobody::owns(&server.folder)?;
        let mut initdb = server.program("initdb");
        initdb.args(["--auth=trust", "--no-sync", "--no-locale", "--username"]);
        initdb.arg(USER).arg("--pgdata").arg(server.data());
        if !initdb.stdout(Stdio::null()).status()?.success() {
            return Err(io::Error::other("initdb failed"));
        }
        server.recover()?;
        Ok(Some(server))
    }

    /// Where it listens, on the loopback address.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Kills all its processes. The first one stands still meanwhile, or it would start others; if only
    /// that one were killed, the others would go on for a moment.
    ///
    /// # Errors
    /// When it was killed before, or the system refuses.
    pub fn crash(&mut self) -> io::Result<()> {
        self.process()?.pause()?;
        self.children("-KILL")?;
        self.process.take().map_or(Ok(()), |process| process.kill())
    }

    /// Starts it, and waits until it takes connections. Those of an earlier life may be there for a moment.
    ///
    /// # Errors
    /// When it does not start within a minute, with what it wrote into its log.
    pub fn recover(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + LIMIT;
        let port = self.port.to_string();
        while Instant::now() < deadline {
            let mut postgres = self.program("postgres");
            postgres.arg("-D").arg(self.data());
            postgres.args(["-k", "", "-p", &port]);
            // Without waiting for the disk: what a process has written survives its death.
            postgres.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]);
            postgres.stderr(fs::File::create(self.folder.join("log"))?);
            let process = OwnProcess::spawn(&mut postgres)?;
            while process.is_running()? && Instant::now() < deadline {
                let mut ready = self.program("pg_isready");
                ready.args(["-q", "-h", "127.0.0.1", "-p", &port]);
                if ready.status()?.success() {
                    self.process = Some(process);
                    return Ok(());
                }
            }
        }
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let error = format!("the server does not start: {log}");
        Err(io::Error::other(error))
    }

    /// Stops all its processes where they are; connections stay open.
    ///
    /// # Errors
    /// When it was killed before, or the system refuses.
    pub fn freeze(&self) -> io::Result<()> {
        self.process()?.pause()?;
        self.children("-STOP")
    }

    /// Lets all its processes go on.
    ///
    /// # Errors
    /// As [`PostgresServer::freeze`].
    pub fn thaw(&self) -> io::Result<()> {
        self.children("-CONT")?;
        self.process()?.resume()
    }

    fn process(&self) -> io::Result<&OwnProcess> {
        let killed = || io::Error::other("it was killed");
        self.process.as_ref().ok_or_else(killed)
    }

    fn children(&self, signal: &str) -> io::Result<()> {
        let parent = self.process()?.pid().to_string();
        let mut all = Command::new("pkill");
        let status = all.args([signal, "-P", &parent]).status()?;
        let failed = || io::Error::other("pkill failed");
        status.success().then_some(()).ok_or_else(failed)
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir(&self.folder);
        nobody::runs(&mut command);
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It ends its children as well, which one that is killed cannot.
            let _ = process.signal("-QUIT");
            let _ = process.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// The server does not run as root, so where the test does, it belongs to the user `nobody`.
#[cfg(unix)]
mod nobody {
    use std::os::unix::fs::{MetadataExt as _, chown};
    use std::os::unix::process::CommandExt as _;
    use std::path::Path;
    use std::process::Command;
    use std::{fs, io};

    const NOBODY: u32 = 65534;

    pub(super) fn owns(folder: &Path) -> io::Result<()> {
        if is_needed() {
            chown(folder, Some(NOBODY), Some(NOBODY))?;
        }
        Ok(())
    }

    pub(super) fn runs(command: &mut Command) {
        if is_needed() {
            command.uid(NOBODY).gid(NOBODY);
        }
    }

    fn is_needed() -> bool {
        fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0)
    }
}

/// Elsewhere the server is started as it is.
#[cfg(not(unix))]
mod nobody {
    use std::io;
    use std::path::Path;
    use std::process::Command;

    pub(super) fn owns(_folder: &Path) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn runs(_command: &mut Command) {}
}

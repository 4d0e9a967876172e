//! A PostgreSQL server of a test: its own directory and port, and processes that crash and freeze.
//!
//! Its programs are in the folder that `PARTI_POSTGRES` names; `cargo xtask downstream` finds them.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parti_testing::rig::process::OwnProcess;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{Client, Config, Connection, NoTls, Socket};

/// Far more than a start or a recovery takes.
const LIMIT: Duration = Duration::from_secs(60);

/// The user `nobody`, since the server does not run as root.
const NOBODY: u32 = 65534;

pub struct Server {
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
    process: Option<OwnProcess>,
}

impl Server {
    /// A new server, or none where nobody said where its programs are.
    pub fn start() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let Some(programs) = std::env::var_os("PARTI_POSTGRES") else {
            eprintln!("SKIPPED: PARTI_POSTGRES names no folder with the programs of a server");
            return None;
        };
        let programs = PathBuf::from(programs);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("parti-postgres-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let (port, process) = (free_port(), None);
        fs::create_dir_all(&folder).expect("a folder");
        let mut server = Self {
            programs,
            folder,
            port,
            process,
        };
        if server.is_root() {
            std::os::unix::fs::chown(&server.folder, Some(NOBODY), Some(NOBODY))
                .expect("given away");
        }
        let mut initdb = server.program("initdb");
        initdb.args([
            "--auth=trust",
            "--username=parti",
            "--no-sync",
            "--no-locale",
        ]);
        initdb
            .arg("--pgdata")
            .arg(server.data())
            .stdout(Stdio::null());
        assert!(initdb.status().expect("starts").success(), "initdb");
        server.recover().expect("it starts");
        Some(server)
    }

    pub fn config(&self) -> Config {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port);
        config.user("parti").dbname("postgres");
        config
    }

    pub async fn connect(&self) -> (Client, Connection<Socket, NoTlsStream>) {
        self.config().connect(NoTls).await.expect("it is there")
    }

    /// Kills all its processes. The first one stands still meanwhile, or it would start others; if only
    /// that one were killed, the others would go on for a moment.
    pub fn crash(&mut self) -> io::Result<()> {
        self.process()?.pause()?;
        self.children("-KILL")?;
        self.process.take().map_or(Ok(()), |process| process.kill())
    }

    /// Starts it, and waits until it takes connections. Those of an earlier life may be there for a moment.
    pub fn recover(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            let mut postgres = self.program("postgres");
            postgres
                .arg("-D")
                .arg(self.data())
                .args(["-k", "", "-p", &self.port.to_string()]);
            // Without waiting for the disk: what a process has written survives its death.
            postgres.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]);
            postgres.stderr(fs::File::create(self.folder.join("log"))?);
            let process = OwnProcess::spawn(&mut postgres)?;
            while process.is_running()? && Instant::now() < deadline {
                let mut ready = self.program("pg_isready");
                ready.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
                if ready.status()?.success() {
                    self.process = Some(process);
                    return Ok(());
                }
            }
        }
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        Err(io::Error::other(format!(
            "the server does not start: {log}"
        )))
    }

    /// Stops all its processes where they are; connections stay open.
    pub fn freeze(&self) -> io::Result<()> {
        let process = self.process()?;
        process.pause()?;
        self.children("-STOP")
    }

    pub fn thaw(&self) -> io::Result<()> {
        self.children("-CONT")?;
        self.process()?.resume()
    }

    fn process(&self) -> io::Result<&OwnProcess> {
        self.process
            .as_ref()
            .ok_or_else(|| io::Error::other("it was killed"))
    }

    fn children(&self, signal: &str) -> io::Result<()> {
        let parent = self.process()?.pid().to_string();
        let mut all = Command::new("pkill");
        let status = all.args([signal, "-P", &parent]).status()?;
        status
            .success()
            .then_some(())
            .ok_or_else(|| io::Error::other("pkill failed"))
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir(&self.folder);
        if self.is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn is_root(&self) -> bool {
        fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            // It ends its children as well, which one that is killed cannot.
            let _ = process.signal("-QUIT");
        }
        if let Some(mut process) = self.process.take() {
            let _ = process.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound").port()
}

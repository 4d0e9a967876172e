//! One worker process: how it is started, hit by faults, and read.
//!
//! It is separate from the group because what a process says arrives on a thread of its own. What
//! always holds: every line is in a file before it can be looked at, so a failing run can be read.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use parti_testing::rig::process::OwnProcess;
use parti_testing::rig::worker_logs::{Life, Line};

/// What was done to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProcessState {
    /// It runs and is meant to.
    Running,
    /// It was asked to end and may still run.
    Leaving,
    /// It has ended as it was asked to, or was killed.
    Ended,
}

/// A worker process. Dropping it kills it.
pub(super) struct Worker {
    process: OwnProcess,
    life: Arc<Mutex<Life>>,
    reader: Option<JoinHandle<()>>,
    pub(super) standing: ProcessState,
}

impl Worker {
    /// Starts the program; its lines go to `<name>.jsonl` of the folder, its log to `<name>.log`.
    pub(super) fn start(command: &mut Command, folder: &Path, name: &str) -> io::Result<Self> {
        let log = File::create(folder.join(format!("{name}.log")))?;
        let mut copy = File::create(folder.join(format!("{name}.jsonl")))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = OwnProcess::spawn(command.stderr(log))?;
        let out = process.child().stdout.take();
        let out = out.ok_or_else(|| io::Error::other("no output"))?;
        let life = Arc::<Mutex<Life>>::default();
        let written = Arc::clone(&life);
        let reader = thread::spawn(move || {
            for text in BufReader::new(out).lines().map_while(Result::ok) {
                // The copy is for people; a full disk is not the worker's failure.
                drop(writeln!(copy, "{text}"));
                // A killed process may leave half a line behind.
                if let Some(line) = Line::parse(&text) {
                    lock(&written).push(line);
                }
            }
        });
        Ok(Self {
            process,
            life,
            reader: Some(reader),
            standing: ProcessState::Running,
        })
    }

    pub(super) const fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(super) fn life(&self) -> MutexGuard<'_, Life> {
        lock(&self.life)
    }

    /// Whether it ended although nobody asked it to.
    pub(super) fn is_missing(&self) -> bool {
        self.standing == ProcessState::Running && !self.process.is_running().unwrap_or(false)
    }

    /// Ends it as a power failure does.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.life().killed_at_ms = Some(now_ms());
        self.standing = ProcessState::Ended;
        self.process.kill()?;
        self.hear_out();
        Ok(())
    }

    /// Asks it to end, as an orchestrator does.
    pub(super) fn terminate(&mut self) -> io::Result<()> {
        self.standing = ProcessState::Leaving;
        self.process.terminate()
    }

    /// Waits for the end that was asked for.
    pub(super) fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.process.wait()?;
        self.standing = ProcessState::Ended;
        self.hear_out();
        Ok(status)
    }

    pub(super) fn pause(&self) -> io::Result<()> {
        self.process.pause()?;
        self.life().paused_at_ms = Some(now_ms());
        Ok(())
    }

    pub(super) fn resume(&self) -> io::Result<()> {
        self.process.resume()
    }

    /// What it wrote before its end is taken in.
    fn hear_out(&mut self) {
        if let Some(reader) = self.reader.take() {
            // A reader that panicked has said so itself.
            drop(reader.join());
        }
    }
}

fn lock(life: &Mutex<Life>) -> MutexGuard<'_, Life> {
    life.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds since 1970, on the clock the workers write down.
pub(super) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

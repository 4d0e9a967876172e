//! A program of our own as a process: started, stopped, continued and killed by its number.
//!
//! It is separate because tests of workers and tests of servers need the same faults: a crash
//! (SIGKILL), a long pause (SIGSTOP, SIGCONT) and an orderly end (SIGTERM). What always holds: only
//! a process that was started here is ever signalled, and dropping it kills it and waits for its
//! end.
//!
//! Signals need the `kill` command, so they are for Unix only.
//!
//! ```
//! use std::process::Command;
//! use parti_testing::rig::process::OwnProcess;
//!
//! # fn main() -> std::io::Result<()> {
//! # if cfg!(not(unix)) { return Ok(()); }
//! let mut command = Command::new("sleep");
//! let process = OwnProcess::spawn(command.arg("60"))?;
//! process.pause()?; // as a machine that is frozen
//! process.resume()?;
//! process.kill()?; // as a crash
//! assert!(!process.is_running()?);
//! # Ok(())
//! # }
//! ```

use std::fs;
use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a process may take to stop after SIGSTOP.
const STOP_MAX: Duration = Duration::from_secs(10);

/// A process that was started here. Dropping it kills it.
#[derive(Debug)]
pub struct OwnProcess {
    pid: u32,
    child: Mutex<Child>,
}

impl OwnProcess {
    /// Starts the program.
    ///
    /// # Errors
    /// When the system cannot start it; nothing is left running.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let child = command.spawn()?;
        Ok(Self {
            pid: child.id(),
            child: Mutex::new(child),
        })
    }

    /// Its number.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// The handle of the standard library, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        self.child.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it has not ended yet. A paused process counts as running.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn is_running(&self) -> io::Result<bool> {
        Ok(self.lock().try_wait()?.is_none())
    }

    /// Ends it at once, as a crash or a power failure does (SIGKILL), and waits for its end. Works
    /// on a paused process. Harmless when it has ended.
    ///
    /// # Errors
    /// When the system refuses; it may still be running then.
    pub fn kill(&self) -> io::Result<()> {
        let mut child = self.lock();
        if child.try_wait()?.is_none() {
            child.kill()?;
        }
        child.wait()?;
        Ok(())
    }

    /// Asks it to end, as an orchestrator does (SIGTERM). Does not wait.
    ///
    /// # Errors
    /// When it has ended or the system refuses.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal("-TERM")
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When the system cannot wait.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.lock().wait()
    }

    /// Stops it without ending it (SIGSTOP): its connections stay open and it does nothing.
    /// Returns when every thread of it has stopped.
    ///
    /// # Errors
    /// When it has ended, the system refuses, or it does not stop within ten seconds.
    pub fn pause(&self) -> io::Result<()> {
        self.signal("-STOP")?;
        // The signal reaches the threads one by one, and a running one may still answer.
        let deadline = Instant::now() + STOP_MAX;
        while !is_stopped(self.pid()) {
            if Instant::now() > deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not stop"));
            }
            sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Lets it go on after [`OwnProcess::pause`] (SIGCONT).
    ///
    /// # Errors
    /// When it has ended or the system refuses.
    pub fn resume(&self) -> io::Result<()> {
        self.signal("-CONT")
    }

    fn lock(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends it a signal of the `kill` command, such as `-HUP`, on which many programs read their
    /// configuration again.
    ///
    /// # Errors
    /// When it has ended or the system refuses.
    pub fn signal(&self, signal: &str) -> io::Result<()> {
        // The number of a process that was waited for may belong to somebody else by now.
        if !self.is_running()? {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it has ended"));
        }
        let pid = self.pid();
        let status = Command::new("kill")
            .args([signal, &pid.to_string()])
            .status()?;
        if status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("kill {signal} {pid}: {status}")))
    }
}

impl Drop for OwnProcess {
    fn drop(&mut self) {
        // Nobody can be told here; it may have ended already.
        drop(self.kill());
    }
}

/// Whether every thread of the process is stopped; where the system does not list threads, whether
/// the process is.
fn is_stopped(pid: u32) -> bool {
    let stopped = |state: &str| state.trim_start().starts_with('T');
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        let pid = pid.to_string();
        let listed = Command::new("ps")
            .args(["-o", "state=", "-p", &pid])
            .output();
        return listed.is_ok_and(|output| stopped(&String::from_utf8_lossy(&output.stdout)));
    };
    threads.flatten().all(|thread| {
        // The state follows the program's name, which stands in parentheses.
        let line = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        line.rsplit_once(')').is_some_and(|(_, rest)| stopped(rest))
    })
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::process::Stdio;
    use std::sync::mpsc;

    use super::*;

    /// A pause that pauses nothing, or a kill that a paused process survives, makes every test of a
    /// frozen worker pass for nothing.
    #[test]
    fn a_paused_process_says_nothing_until_it_is_resumed_and_a_killed_one_never() {
        let mut command = Command::new("cat");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = OwnProcess::spawn(&mut command).expect("starts");
        let mut input = process.child().stdin.take().expect("piped");
        let output = process.child().stdout.take().expect("piped");
        let (said, hear) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                said.send(line).expect("somebody listens");
            }
        });
        process.pause().expect("pauses");
        input.write_all(b"hello\n").expect("the pipe takes it");
        assert!(hear.recv_timeout(Duration::from_millis(200)).is_err());
        process.resume().expect("goes on");
        let heard = hear.recv_timeout(Duration::from_secs(10));
        assert_eq!(heard.as_deref(), Ok("hello"));
        process.pause().expect("pauses");
        process.kill().expect("dies although it is paused");
        assert!(!process.is_running().expect("known"));
        assert!(process.pause().is_err(), "its number is nobody's any more");
        process.kill().expect("harmless");
    }
}

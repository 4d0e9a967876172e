//! A fence for a file that is written as a whole: the largest token stands beside it, under a lock.
//!
//! A file system compares nothing, so that those that write have to agree: all of them go through here.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fmt, thread};

use parti_core::Token;

use super::Stale;

/// Between two looks at a lock that somebody else holds.
const LOOK: Duration = Duration::from_millis(2);

/// Why a file was not written.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileError {
    /// The ownership is over. Nothing was written.
    Stale(Stale),
    /// Somebody else was in the middle of a write for longer than was to be waited. Nothing was written.
    Busy(PathBuf),
    /// The system failed. The file is as it was, or as it was to be.
    Io(io::Error),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale(stale) => stale.fmt(f),
            Self::Busy(path) => write!(f, "{} is being written by somebody else", path.display()),
            Self::Io(error) => write!(f, "the file or its fence: {error}"),
        }
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Stale(stale) => Some(stale),
            Self::Busy(_) => None,
            Self::Io(error) => Some(error),
        }
    }
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A file that refuses smaller tokens than it has seen. Beside it are `-fence`, which has to stay, and, while
/// it is being written, `-next`. All who write it must be on one machine: a file system of the network may
/// not keep the lock.
#[derive(Clone, Debug)]
pub struct FencedFile {
    path: PathBuf,
    patience: Duration,
}

impl FencedFile {
    /// A file, which need not exist. A write waits for another one for up to 2 s.
    #[must_use]
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            patience: Duration::from_secs(2),
        }
    }

    /// How long a write waits for another one to end.
    #[must_use]
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Replaces the content by what the function makes of it, as a whole. It blocks the thread.
    ///
    /// # Errors
    /// [`FileError`]; the file is as it was, except perhaps with `Io`.
    pub fn update(
        &self,
        token: Token,
        change: impl FnOnce(Option<Vec<u8>>) -> Vec<u8>,
    ) -> Result<(), FileError> {
        let mut fence = self.lock()?;
        let newest = newest(&mut fence)?;
        if newest > token {
            return Err(FileError::Stale(Stale {
                resource: self.path.display().to_string(),
                token,
                newer: newest,
            }));
        }
        if newest < token {
            // Before the content: then no older owner can write after this one, whatever comes.
            fence.write_all(format!("{token}\n").as_bytes())?;
            fence.sync_data()?;
        }
        let before = match std::fs::read(&self.path) {
            Ok(content) => Some(content),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        let next = self.beside("-next");
        let mut file = File::create(&next)?;
        file.write_all(&change(before))?;
        file.sync_data()?;
        std::fs::rename(&next, &self.path)?;
        Ok(())
    }

    /// Replaces the content. It blocks the thread.
    ///
    /// # Errors
    /// As [`FencedFile::update`].
    pub fn write(&self, token: Token, content: &[u8]) -> Result<(), FileError> {
        self.update(token, |_| content.to_vec())
    }

    /// The file of tokens, locked. The lock ends with the file, or with its process.
    fn lock(&self) -> Result<File, FileError> {
        let mut options = OpenOptions::new();
        let fence = options
            .read(true)
            .append(true)
            .create(true)
            .open(self.beside("-fence"))?;
        let deadline = Instant::now() + self.patience;
        loop {
            match fence.try_lock() {
                Ok(()) => return Ok(fence),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(LOOK),
                Err(TryLockError::WouldBlock) => return Err(FileError::Busy(self.path.clone())),
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
    }

    fn beside(&self, rest: &str) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(rest);
        name.into()
    }
}

/// The largest token of the fence: one a line, the last of which a crash may have cut short.
fn newest(fence: &mut File) -> io::Result<Token> {
    let mut text = String::new();
    fence.rewind()?;
    fence.read_to_string(&mut text)?;
    let whole = text
        .split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'));
    let tokens = whole.filter_map(|line| line.parse().ok().map(Token::new));
    Ok(tokens.max().unwrap_or(Token::ZERO))
}

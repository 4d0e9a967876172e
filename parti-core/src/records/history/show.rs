//! A history in words, for operators.

use core::fmt;

use super::{Explanation, Gap, Generation, Move, Owner, OwnerSession};
use crate::records::record::{AuditEntry, SessionStatus};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.partition)?;
        match (&self.owner, self.leaving.is_empty()) {
            (Some(owner), _) => write!(f, "owned by {owner}")?,
            (None, true) => f.write_str("owned by nobody")?,
            (None, false) => f.write_str("on its way")?,
        }
        if let Some(parked) = &self.parked {
            let (reason, needs) = (parked.reason, &parked.needs);
            write!(f, "; parked since {}", Date(parked.since_ms))?;
            write!(f, " ({reason}): it needs {needs}")?;
        }
        for leaving in &self.leaving {
            let (worker, since) = (&leaving.worker, leaving.since);
            write!(f, "; {worker} has to let go of it since version {since}")?;
        }
        for step in &self.moves {
            write!(f, "\n  {step}")?;
        }
        for gap in &self.gaps {
            write!(f, "\n  {gap}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with token {}", self.worker, self.token)?;
        if let Some(since) = self.since_ms {
            write!(f, " since {}", Date(since))?;
        }
        match self.session {
            OwnerSession::Present(SessionStatus::Active) => Ok(()),
            OwnerSession::Present(SessionStatus::Draining) => f.write_str(", which is leaving"),
            OwnerSession::Present(SessionStatus::Released { .. }) => {
                f.write_str(", whose session has been released")
            }
            OwnerSession::Present(SessionStatus::Evicted { .. } | SessionStatus::Suspected) => {
                f.write_str(", whose session has been evicted")
            }
            OwnerSession::Replaced => f.write_str(", whose slot another session has taken"),
            OwnerSession::Missing => f.write_str(", which has no readable session"),
        }
    }
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.from, &self.to) {
            (Some(from), Some(to)) if from == to => write!(f, "granted again to {to}")?,
            (Some(from), Some(to)) => write!(f, "from {from} to {to}")?,
            (None, Some(to)) => write!(f, "first granted to {to}")?,
            (Some(from), None) => write!(f, "taken from {from}")?,
            (None, None) => f.write_str("nothing")?,
        }
        match &self.decided {
            Some(decided) => write!(f, " because of {decided}")?,
            None => f.write_str(", for a reason the audit ring no longer holds")?,
        }
        if let Some(taken) = &self.taken {
            write!(f, "; taken at version {}", taken.version)?;
        }
        if let Some(granted) = &self.granted {
            let at = Date(granted.at_ms);
            write!(f, "; granted at version {}, {at}", granted.version)?;
        }
        Ok(())
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cause)?;
        for (index, trigger) in self.triggers.iter().enumerate() {
            let separator = if index == 0 { " (" } else { ", " };
            write!(f, "{separator}{trigger}")?;
        }
        if !self.triggers.is_empty() {
            f.write_str(")")?;
        }
        let (version, leader) = (self.version, &self.leader);
        write!(f, " decided by {leader} at version {version}")?;
        let (moved, least) = (self.moved, self.lower_bound);
        write!(f, ", moving {moved} (lower bound {least})")
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeyondTheRing { version } => write!(
                f,
                "the audit ring no longer holds version {version}, in which it was granted"
            ),
            Self::BeforeTheFirst { version } => write!(
                f,
                "what was before version {version} is not in the audit ring"
            ),
            Self::Overwritten { after, before } => write!(
                f,
                "generations between versions {after} and {before} may have been overwritten"
            ),
            Self::Truncated { version } => write!(
                f,
                "version {version} changed more partitions than its entry names, perhaps this one"
            ),
        }
    }
}

impl fmt::Display for AuditEntry {
    /// One line: when, what and why; the partitions are in [`AuditEntry::changes`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (version, term, at) = (self.version, self.term, Date(self.at_ms));
        write!(f, "version {version} of term {term}, {at}: {}", self.cause)?;
        for trigger in &self.triggers {
            write!(f, "; {trigger}")?;
        }
        for change in &self.changes {
            let (gained, lost) = (change.gained.len(), change.lost.len());
            write!(f, "; {} +{gained} -{lost}", change.worker)?;
        }
        for group in &self.parked {
            write!(f, "; {} parked ({})", group.count, group.reason)?;
        }
        if self.truncated {
            f.write_str("; and more")?;
        }
        Ok(())
    }
}

/// A wall-clock time in UTC, to the second.
struct Date(u64);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0 / 1000;
        let (days, second) = (secs / 86_400, secs % 86_400);
        // Days are counted from the first of March, so that the leap day is the last of its year.
        let shifted = days + 719_468;
        let (era, day) = (shifted / 146_097, shifted % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let shifted_month = (5 * day + 2) / 153;
        let day = day - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        let year = year + era * 400 + u64::from(month <= 2);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

#[cfg(test)]
mod tests;

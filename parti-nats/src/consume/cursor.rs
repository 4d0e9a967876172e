//! The cursor of one partition: how far it is handled, by which owner, in which stream.
//!
//! It is separate because these bytes outlive releases: a format number stands first, and what cannot
//! be read is never overwritten.

use serde::{Deserialize, Serialize};

/// The format this release writes.
const FORMAT: u32 = 1;

/// Who writes a cursor. A resumed ownership keeps its token: only the nonce tells two readers of one
/// worker apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The fencing token.
    pub token: u64,
    /// A random number of this reader alone.
    pub nonce: u64,
}

/// Whether its owner still works on the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// It does, or ended without saying so: what follows the position may have been handled.
    Held,
    /// It ended, and nothing after the position was handled.
    Released,
}

/// How far a partition is handled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Who wrote it.
    pub owner: Owner,
    /// Whether that owner still works on it.
    pub hold: Hold,
    /// Everything of the partition up to this stream sequence is handled.
    pub position: u64,
    /// When the stream was created, as the server says it: sequences mean nothing in another.
    pub stream_created: String,
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    format: u32,
    #[serde(flatten)]
    cursor: Cursor,
}

impl Cursor {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let cursor = self.clone();
        // Numbers and strings can always be written.
        serde_json::to_vec(&Envelope {
            format: FORMAT,
            cursor,
        })
        .unwrap_or_default()
    }

    /// Reads its bytes.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let text = |error: serde_json::Error| error.to_string();
        let Format { format } = serde_json::from_slice(bytes).map_err(text)?;
        if format != FORMAT {
            return Err(format!("format {format}; this release reads {FORMAT}"));
        }
        let envelope: Envelope = serde_json::from_slice(bytes).map_err(text)?;
        Ok(envelope.cursor)
    }
}

/// What a read of a cursor shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The partition never had one.
    Never,
    /// It was deleted; the deletion has this revision.
    Deleted {
        /// The revision.
        revision: u64,
    },
    /// Something that is no cursor.
    Unreadable {
        /// What is wrong with it.
        reason: String,
    },
    /// A cursor.
    Cursor {
        /// Its revision.
        revision: u64,
        /// What it says.
        cursor: Cursor,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A release that overwrites what it cannot read loses the position of a partition.
    #[test]
    fn a_cursor_survives_its_bytes_and_other_formats_are_refused() {
        let cursor = Cursor {
            owner: Owner {
                token: u64::MAX,
                nonce: u64::MAX - 1,
            },
            hold: Hold::Released,
            position: 7,
            stream_created: "2026-01-31T09:13:56.545139068Z".to_owned(),
        };
        assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor.clone()));
        let text = String::from_utf8(cursor.encode()).expect("text");
        let newer = text.replacen("\"format\":1", "\"format\":2", 1);
        let refused = Cursor::decode(newer.as_bytes()).expect_err("a newer format");
        assert!(refused.contains("format 2"), "{refused}");
        for bytes in ["", "{}", "x", r#"{"format":1}"#] {
            assert!(Cursor::decode(bytes.as_bytes()).is_err(), "{bytes}");
        }
    }
}

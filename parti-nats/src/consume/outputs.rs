//! Outputs that are stored together with the position, in one atomic batch of another stream.
//!
//! It is separate because it is where "exactly once" comes from: the cursor of a partition lives in the
//! output stream, so that position and outputs are stored as a whole or not at all, and a stale owner's
//! outputs are refused with its position. What always holds: a stream in which a cursor could be evicted
//! is refused.

use async_nats::HeaderMap;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::consume::stream::{info, mismatch};
use crate::consume::wire::{ConsumeError, Wire, fault};

/// The most outputs that are stored with one position: the server takes 1000 messages in a batch.
pub const MOST_OUTPUTS: usize = 900;

/// A message to publish when its input is committed.
#[derive(Clone, Debug)]
pub struct Output {
    /// Where to; the output stream must have the subject.
    pub subject: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// What it says.
    pub payload: Bytes,
}

impl Output {
    /// A message without headers.
    pub fn new(subject: impl Into<String>, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            subject: subject.into(),
            headers: HeaderMap::new(),
            payload: Bytes::from(payload.into()),
        }
    }
}

/// The stream that takes outputs and cursors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputStream {
    /// Its name.
    pub name: String,
    /// What the subjects of cursors begin with, such as `results.fence`.
    pub fence: String,
    /// When it was created.
    pub created: String,
}

impl OutputStream {
    /// Looks at the stream.
    ///
    /// # Errors
    /// [`ConsumeError`], with both values, where it cannot keep cursors and outputs together.
    ///
    /// # Cancellation safety
    /// Dropping the future changes nothing. Bounded by the wire's limit for each of two requests.
    pub async fn open(wire: &Wire, name: &str, fence: &str) -> Result<Self, ConsumeError> {
        let info = info(wire, name).await?;
        check(&info["config"])?;
        let body = json!({ "subject": format!("{fence}.group.0") });
        let names = wire.call("STREAM.NAMES", &body).await;
        let names =
            names.map_err(|failure| fault("asking who has the fence of", name, &failure))?;
        let found = names["streams"][0].as_str().unwrap_or("no stream");
        if found != name {
            let what = format!("the stream that has {fence}.>");
            return Err(mismatch(&what, found, name));
        }
        Ok(Self {
            name: name.to_owned(),
            fence: fence.to_owned(),
            created: info["created"].as_str().unwrap_or_default().to_owned(),
        })
    }
}

fn check(config: &Value) -> Result<(), ConsumeError> {
    let limits = ["max_msgs", "max_bytes", "max_age"];
    let is_limited = |name: &&&str| config[**name].as_i64().unwrap_or_default() > 0;
    // A full stream that refuses what is new evicts nothing.
    let refuses = config["discard"] == "new";
    let evicting = limits.iter().filter(|name| **name == "max_age" || !refuses);
    if let Some(name) = evicting.clone().find(|name| is_limited(name)) {
        let what = format!("{name} of the output stream, which would evict cursors");
        return Err(mismatch(&what, &config[*name].to_string(), "unlimited"));
    }
    let needed = [
        ("allow_atomic", json!(true)),
        ("retention", json!("limits")),
    ];
    for (name, wanted) in needed {
        if config[name] != wanted {
            let what = format!("{name} of the output stream");
            return Err(mismatch(
                &what,
                &config[name].to_string(),
                &wanted.to_string(),
            ));
        }
    }
    if config["subject_transform"].is_object() {
        let what = "the output stream's subject transform";
        return Err(mismatch(
            what,
            &config["subject_transform"].to_string(),
            "none",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cursor that is evicted has its partition begin again: everything is put out twice.
    #[test]
    fn a_stream_that_could_lose_a_cursor_is_refused() {
        let fit = json!({ "allow_atomic": true, "retention": "limits", "max_age": 0, "max_msgs": -1,
            "max_bytes": -1, "discard": "old" });
        assert!(check(&fit).is_ok());
        let cases = [
            ("allow_atomic", json!(null)),
            ("retention", json!("interest")),
            ("max_age", json!(1)),
            ("max_msgs", json!(1000)),
            ("max_bytes", json!(1000)),
            ("subject_transform", json!({ "src": "a", "dest": "b" })),
        ];
        for (name, value) in cases {
            let mut config = fit.clone();
            config[name] = value;
            let refused = check(&config).expect_err(name).to_string();
            assert!(
                refused.contains(name) || name == "subject_transform",
                "{refused}"
            );
        }
        let mut full = fit;
        (full["max_bytes"], full["discard"]) = (json!(1000), json!("new"));
        assert!(check(&full).is_ok());
    }
}

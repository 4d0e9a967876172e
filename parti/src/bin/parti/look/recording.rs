//! What a group's bucket held and how it changed, as lines of a file: to look at later, without the group.
//!
//! It is separate because the form is a promise: a later release reads it. What always holds: reading gives
//! back what was written; a last line that was torn off is left out, every other fault is named by its line.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

use parti_core::{Entry, Revision, StoreFault, StoreInfo, WatchEvent};
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};

/// The form. A file of a higher number is refused.
const FORMAT: u64 = 1;

/// A recording in memory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recording {
    pub(crate) group: String,
    /// When it began, in milliseconds since 1970 by the wall clock of the machine that recorded.
    pub(crate) began_ms: u64,
    pub(crate) info: StoreInfo,
    /// What the watch showed, and when, counted from the begin.
    pub(crate) events: VecDeque<(Duration, WatchEvent)>,
}

impl Recording {
    /// How long it is.
    pub(crate) fn length(&self) -> Duration {
        self.events.back().map_or(Duration::ZERO, |(at, _)| *at)
    }

    /// Reads a file's text.
    pub(crate) fn read(text: &str) -> Result<Self, Failure> {
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut lines = (1..).zip(whole.lines());
        let (_, head) = lines
            .next()
            .ok_or_else(|| bad(1, "it is empty, or only begun"))?;
        let mut recording = header(head)?;
        for (number, line) in lines {
            let event = event(line).map_err(|what| bad(number, &what))?;
            recording.events.push_back(event);
        }
        Ok(recording)
    }
}

/// The first line.
pub(crate) fn header_line(group: &str, began_ms: u64, info: &StoreInfo) -> String {
    let faults = info.faults.iter().map(
        |fault| json!({ "setting": fault.setting, "found": fault.found, "needed": fault.needed }),
    );
    let value = json!({
        "parti_recording": FORMAT,
        "group": group,
        "began_ms": began_ms,
        "created": info.created,
        "last_revision": info.last_revision.get(),
        "store": info.version,
        "max_batch": info.max_batch,
        "max_value": info.max_value,
        "faults": faults.collect::<Vec<_>>(),
    });
    format!("{value}\n")
}

/// The line of one event.
pub(crate) fn event_line(at: Duration, event: &WatchEvent) -> String {
    let ms = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
    let value = match event {
        WatchEvent::Entry(entry) => json!({
            "ms": ms, "key": entry.key, "revision": entry.revision.get(),
            "stored_ms": entry.at_ms, "value": entry.value.as_deref().map(to_hex),
        }),
        WatchEvent::CaughtUp { revision } => json!({ "ms": ms, "caught_up": revision.get() }),
        WatchEvent::Lost { reason } => json!({ "ms": ms, "lost": reason }),
    };
    format!("{value}\n")
}

fn header(line: &str) -> Result<Recording, Failure> {
    let nothing = || bad(1, "it does not begin as `parti export` begins");
    let value: Value = serde_json::from_str(line).map_err(|_| nothing())?;
    match value["parti_recording"].as_u64() {
        Some(FORMAT) => {}
        Some(other) => {
            let what = format!("it has form {other}; this release reads {FORMAT}");
            return Err(bad(1, &what));
        }
        None => return Err(nothing()),
    }
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    let number = |name: &str| value[name].as_u64();
    let size = |name: &str| number(name).and_then(|it| usize::try_from(it).ok());
    let fault = |fault: &Value| {
        let text = |name: &str| fault[name].as_str().map(str::to_owned);
        Some(StoreFault {
            setting: text("setting")?,
            found: text("found")?,
            needed: text("needed")?,
        })
    };
    let read = || {
        Some(Recording {
            group: text("group")?,
            began_ms: number("began_ms")?,
            info: StoreInfo {
                created: number("created")?,
                age: Duration::ZERO,
                last_revision: Revision::new(number("last_revision")?),
                version: text("store")?,
                max_batch: size("max_batch")?,
                max_value: size("max_value")?,
                faults: value["faults"]
                    .as_array()?
                    .iter()
                    .filter_map(fault)
                    .collect(),
            },
            events: VecDeque::new(),
        })
    };
    read().ok_or_else(nothing)
}

fn event(line: &str) -> Result<(Duration, WatchEvent), String> {
    let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let number = |name: &str| {
        let number = value[name].as_u64();
        number.ok_or_else(|| format!("{name:?} is no number"))
    };
    let at = Duration::from_millis(number("ms")?);
    if let Some(revision) = value["caught_up"].as_u64() {
        let revision = Revision::new(revision);
        return Ok((at, WatchEvent::CaughtUp { revision }));
    }
    if let Some(reason) = value["lost"].as_str() {
        let reason = reason.to_owned();
        return Ok((at, WatchEvent::Lost { reason }));
    }
    let key = value["key"].as_str().ok_or("it is no event")?;
    let bytes = match &value["value"] {
        Value::Null => None,
        Value::String(hex) => Some(from_hex(hex).ok_or("its value is not hex")?),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            return Err("its value is not hex".to_owned());
        }
    };
    let entry = Entry {
        key: key.to_owned(),
        revision: Revision::new(number("revision")?),
        value: bytes,
        at_ms: number("stored_ms")?,
    };
    Ok((at, WatchEvent::Entry(entry)))
}

fn bad(line: usize, what: &str) -> Failure {
    let message = format!("this is no recording: line {line}: {what}");
    Failure::new(Exit::Usage, message)
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = hex.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording() -> Recording {
        let info = StoreInfo {
            created: 7,
            age: Duration::ZERO,
            last_revision: Revision::new(12),
            version: "nats-server 2.12.8".to_owned(),
            max_batch: 1000,
            max_value: 1 << 20,
            faults: vec![StoreFault {
                setting: "max_age".to_owned(),
                found: "1h".to_owned(),
                needed: "none".to_owned(),
            }],
        };
        let entry = |value: Option<&[u8]>| {
            WatchEvent::Entry(Entry {
                key: "w.worker-1".to_owned(),
                revision: Revision::new(11),
                value: value.map(<[u8]>::to_vec),
                at_ms: 5,
            })
        };
        let events = [
            entry(Some(b"\x00\xff")),
            WatchEvent::CaughtUp {
                revision: Revision::new(12),
            },
            entry(None),
            WatchEvent::Lost {
                reason: "cut".to_owned(),
            },
        ];
        let times = (0..).step_by(250).map(Duration::from_millis);
        Recording {
            group: "orders".to_owned(),
            began_ms: 9,
            info,
            events: times.zip(events).collect(),
        }
    }

    fn text(recording: &Recording) -> String {
        let mut text = header_line(&recording.group, recording.began_ms, &recording.info);
        for (at, event) in &recording.events {
            text.push_str(&event_line(*at, event));
        }
        text
    }

    /// An incident that is shown otherwise than it was is worse than none.
    #[test]
    fn what_is_written_is_read_back_and_a_torn_end_costs_one_line() {
        let recording = recording();
        let text = text(&recording);
        assert_eq!(Recording::read(&text), Ok(recording.clone()));
        assert_eq!(recording.length(), Duration::from_millis(750));
        let torn = Recording::read(&text[..text.len() - 3]).expect("read");
        assert_eq!(torn.events.len(), 3);
    }

    /// A wrong file at 3 a.m. is answered with what is wrong with it, and where.
    #[test]
    fn what_is_no_recording_is_named_by_its_line() {
        let text = text(&recording());
        let header = text.lines().next().expect("one").to_owned();
        let later = header.replace("\"parti_recording\":1", "\"parti_recording\":2");
        let cases = [
            (String::new(), "line 1: it is empty"),
            ("hello\n".to_owned(), "line 1: it does not begin"),
            ("{}\n".to_owned(), "line 1: it does not begin"),
            (format!("{later}\n"), "line 1: it has form 2"),
            (format!("{header}\n{{}}\n"), "line 2: \"ms\" is no number"),
            (
                format!("{header}\n{{\"ms\":1}}\n"),
                "line 2: it is no event",
            ),
            (
                format!("{header}\n{{\"ms\":1,\"key\":\"a\",\"value\":\"0\"}}\n"),
                "line 2: its value is not hex",
            ),
        ];
        for (text, expected) in cases {
            let failure = Recording::read(&text).expect_err("no recording");
            assert!(failure.message.contains(expected), "{failure:?}");
        }
    }
}

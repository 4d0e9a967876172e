//! Keys as subjects: which keys are valid, and how bucket, key and prefix become subjects.
//!
//! It is separate because a key goes unquoted into a subject, where `*`, `>` and spaces have
//! meaning: nothing outside the alphabet may pass.

use parti_core::Nonce;

/// What the subject begins with on which the stores of a group say which bucket they use.
pub(crate) const GROUP_SUBJECT: &str = "parti.group.";

/// What the subject ends with to which a question on such a subject is answered.
pub(crate) const GROUP_ANSWER: &str = ".parti_group";

/// What the subjects begin with on which processes answer when they are asked whether they run.
pub(crate) const ALIVE_SUBJECT: &str = "parti.alive.";

/// The longest key in bytes; the server limits a whole protocol line to 4096.
pub(crate) const MAX_KEY_LEN: usize = 1024;

/// The names of one bucket: its own, its stream's, and its subjects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// The name people see, such as `parti_orders`.
    pub(crate) bucket: String,
    /// The name of the stream under the bucket.
    pub(crate) stream: String,
    subject_prefix: String,
}

impl Names {
    pub(crate) fn new(bucket: String) -> Self {
        Self {
            stream: format!("KV_{bucket}"),
            subject_prefix: format!("$KV.{bucket}."),
            bucket,
        }
    }

    /// The subject on which the process of a session answers when it is asked whether it runs.
    pub(crate) fn alive(&self, session: Nonce) -> String {
        format!("{ALIVE_SUBJECT}{}.{:032x}", self.bucket, session.get())
    }

    /// The subject of one key.
    pub(crate) fn subject(&self, key: &str) -> String {
        format!("{}{key}", self.subject_prefix)
    }

    /// The filter that matches every key.
    pub(crate) fn all(&self) -> String {
        format!("{}>", self.subject_prefix)
    }

    /// The narrowest filter that matches every key with the prefix; it may match more, because
    /// filters work on whole parts.
    pub(crate) fn filter(&self, prefix: &str) -> String {
        let whole_parts = prefix.rfind('.').map_or("", |dot| &prefix[..=dot]);
        format!("{}{whole_parts}>", self.subject_prefix)
    }

    /// The key of a subject of this bucket.
    pub(crate) fn key<'a>(&self, subject: &'a str) -> Option<&'a str> {
        subject.strip_prefix(&self.subject_prefix)
    }
}

/// What is wrong with a key, if anything.
pub(crate) fn key_fault(key: &str) -> Option<String> {
    if key.len() > MAX_KEY_LEN {
        let len = key.len();
        return Some(format!(
            "a key of {len} bytes; at most {MAX_KEY_LEN} are allowed"
        ));
    }
    let valid = key.split('.').all(|part| !part.is_empty() && is_word(part));
    (!valid).then(|| {
        format!("{key:?} is not a valid key; use parts of A-Z a-z 0-9 _ - joined by single dots")
    })
}

/// What is wrong with a prefix, if anything: it is the beginning of a valid key.
pub(crate) fn prefix_fault(prefix: &str) -> Option<String> {
    if prefix.is_empty() {
        return None;
    }
    let probe = format!("{prefix}x");
    key_fault(&probe).map(|_| format!("{prefix:?} begins no valid key"))
}

fn is_word(part: &str) -> bool {
    part.chars()
        .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wildcard in a key would read or write other keys.
    #[test]
    fn only_keys_of_the_alphabet_pass() {
        for key in ["a", "w.worker-7", "ctl.refresh.A_b", "0"] {
            assert_eq!(key_fault(key), None, "{key:?}");
        }
        for key in [
            "", ".", "a.", ".a", "a..b", "a b", "a*", ">", "a.>", "ü", "a\r\nPUB",
        ] {
            let fault = key_fault(key).expect(key);
            assert!(fault.contains("valid key"), "{fault}");
        }
        assert!(key_fault(&"x".repeat(MAX_KEY_LEN)).is_none());
        assert!(key_fault(&"x".repeat(MAX_KEY_LEN + 1)).is_some());
        for prefix in ["", "w", "w.", "ctl.ref"] {
            assert_eq!(prefix_fault(prefix), None, "{prefix:?}");
        }
        for prefix in [".", "w..", "w.*", ">"] {
            assert!(prefix_fault(prefix).is_some(), "{prefix:?}");
        }
    }

    /// A filter that is too narrow hides keys from a list.
    #[test]
    fn a_filter_covers_every_key_with_the_prefix() {
        let names = Names::new("b".to_owned());
        assert_eq!(names.stream, "KV_b");
        assert_eq!(names.filter(""), "$KV.b.>");
        assert_eq!(names.filter("w."), "$KV.b.w.>");
        assert_eq!(names.filter("w.work"), "$KV.b.w.>");
        assert_eq!(names.filter("head"), "$KV.b.>");
        assert_eq!(names.filter("a.b.c"), "$KV.b.a.b.>");
        assert_eq!(names.key("$KV.b.w.x"), Some("w.x"));
        assert_eq!(names.key("$KV.bb.w.x"), None);
    }
}

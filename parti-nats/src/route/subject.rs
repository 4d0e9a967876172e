//! Keys and addresses as subjects, by one rule that can be reversed.
//!
//! It is separate because callers in any language follow it. What always holds: two texts never have the
//! same token, and a token that the rule would not have written stands for nothing.

use std::fmt::Write as _;

use parti_core::{Endpoint, GroupName, PartitionKey};

/// What the subjects of requests begin with.
const ROUTE_SUBJECT: &str = "parti.route";

/// The longest subject of a request: a server's protocol line has at most 4096 bytes, and the address of the
/// answer stands on it as well.
pub const MAX_SUBJECT: usize = 3500;

/// A text as one token of a subject: letters and digits of ASCII, `-` and `_` stay, every other byte becomes
/// `=` and two digits in capital hex.
///
/// ```
/// use parti_nats::route::{text_of, token_of};
/// assert_eq!(token_of("a.b c"), "a=2Eb=20c");
/// assert_eq!(text_of("a=2Eb=20c").as_deref(), Some("a.b c"));
/// ```
#[must_use]
pub fn token_of(text: &str) -> String {
    let mut token = String::with_capacity(text.len());
    for byte in text.bytes() {
        if stays(byte) {
            token.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(token, "={byte:02X}");
        }
    }
    token
}

/// The text of a token; `None` when [`token_of`] would not have written it.
#[must_use]
pub fn text_of(token: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'=' {
            let escaped = digit(rest.next()?)? << 4 | digit(rest.next()?)?;
            if stays(escaped) {
                return None;
            }
            bytes.push(escaped);
        } else if stays(byte) {
            bytes.push(byte);
        } else {
            return None;
        }
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.is_empty())
}

/// A key as tokens: one for each part, joined by dots.
#[must_use]
pub fn key_tokens(key: &PartitionKey) -> String {
    let tokens: Vec<String> = key.parts().map(token_of).collect();
    tokens.join(".")
}

/// The key that tokens stand for, if they stand for one.
#[must_use]
pub fn key_of(tokens: &str) -> Option<PartitionKey> {
    let parts: Option<Vec<String>> = tokens.split('.').map(text_of).collect();
    PartitionKey::new(parts?).ok()
}

/// What the subjects of one process begin with, the last dot included.
pub(super) fn address(group: &GroupName, endpoint: &Endpoint) -> String {
    let (group, endpoint) = (token_of(group.as_str()), token_of(endpoint.as_str()));
    format!("{ROUTE_SUBJECT}.{group}.{endpoint}.")
}

/// Where a request goes, or its length if that is too long.
pub(super) fn request(
    group: &GroupName,
    endpoint: &Endpoint,
    key: &PartitionKey,
) -> Result<String, usize> {
    let subject = format!("{}{}", address(group, endpoint), key_tokens(key));
    match subject.len() {
        bytes if bytes > MAX_SUBJECT => Err(bytes),
        _ => Ok(subject),
    }
}

const fn stays(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(parts: &[&str]) -> PartitionKey {
        PartitionKey::new(parts).expect("valid")
    }

    /// A key that becomes another one, or a wildcard, reaches the owner of another partition.
    #[test]
    fn keys_come_back_as_they_were_and_hold_nothing_that_a_server_reads() {
        let cases: [(&[&str], &str); 7] = [
            (&["orders", "7"], "orders.7"),
            (&["a.b", "c"], "a=2Eb.c"),
            (&["a", "b.c"], "a.b=2Ec"),
            (&["*", ">"], "=2A.=3E"),
            (&["a=2Eb"], "a=3D2Eb"),
            (&["Zürich 1"], "Z=C3=BCrich=201"),
            (&["$JS\r\n"], "=24JS=0D=0A"),
        ];
        for (parts, tokens) in cases {
            assert_eq!(key_tokens(&key(parts)), tokens);
            assert_eq!(key_of(tokens), Some(key(parts)), "{tokens}");
        }
    }

    /// Two spellings of one key would be two keys to those who count or permit by subject.
    #[test]
    fn what_the_rule_would_not_write_stands_for_nothing() {
        for tokens in [
            "", "a.", ".a", "a..b", "=", "=4", "=41", "=2e", "=G0", "a b", "*", "ü", "=FF",
        ] {
            assert_eq!(key_of(tokens), None, "{tokens:?}");
        }
    }

    /// A server ends the connection over which a line that is too long comes, with all that uses it.
    #[test]
    fn a_subject_that_no_server_takes_is_not_made() {
        let group = GroupName::new("orders").expect("valid");
        let endpoint = Endpoint::new("http://127.0.0.1:8080").expect("valid");
        let made = request(&group, &endpoint, &key(&["p", "1"]));
        let expected = "parti.route.orders.http=3A=2F=2F127=2E0=2E0=2E1=3A8080.p.1";
        assert_eq!(made.as_deref(), Ok(expected));
        let long = "ü".repeat(512);
        assert!(request(&group, &endpoint, &key(&[&long])).is_ok());
        let widest = Endpoint::new(&"/".repeat(256)).expect("valid");
        assert_eq!(request(&group, &widest, &key(&[&long])), Err(3860));
    }
}

//! What stands in the messages of a stream: values, deletions, numbers in headers.

use async_nats::HeaderMap;

/// A number in a header.
pub(crate) fn number(headers: &HeaderMap, name: &'static str) -> Option<u64> {
    headers.get(name)?.as_str().parse().ok()
}

/// The value of a message; `None` when it marks a deletion.
pub(crate) fn value(headers: Option<&HeaderMap>, payload: &[u8]) -> Option<Vec<u8>> {
    let deleted = headers.is_some_and(|headers| {
        ["KV-Operation", "Nats-Marker-Reason"].iter().any(|name| {
            let value = headers.get(*name);
            value.is_some_and(|value| marks_deletion(name, value.as_str()))
        })
    });
    (!deleted).then(|| payload.to_vec())
}

/// Whether a header says that the key is gone: deleted or purged by a client, or removed by the
/// server, which names its reason.
pub(crate) fn marks_deletion(name: &str, value: &str) -> bool {
    let operation = name.eq_ignore_ascii_case("KV-Operation");
    let marker = name.eq_ignore_ascii_case("Nats-Marker-Reason");
    marker || (operation && (value == "DEL" || value == "PURGE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A deletion read as an empty value would keep a dead session alive.
    #[test]
    fn deletions_of_every_kind_have_no_value_and_empty_values_are_values() {
        let headers = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value);
            headers
        };
        for (name, mark) in [
            ("KV-Operation", "DEL"),
            ("KV-Operation", "PURGE"),
            ("Nats-Marker-Reason", "MaxAge"),
        ] {
            assert_eq!(value(Some(&headers(name, mark)), b""), None, "{name}");
        }
        let other = headers("KV-Operation", "PUT");
        assert_eq!(value(Some(&other), b"x"), Some(b"x".to_vec()));
        assert_eq!(value(None, b""), Some(Vec::new()));
    }
}

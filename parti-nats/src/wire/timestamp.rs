//! Reads the server's timestamps, such as `2026-01-31T09:13:56.545139068Z`, as nanoseconds.
//!
//! It is separate because the creation time identifies a bucket's history and must keep every
//! digit: two buckets re-created within a millisecond are two histories.

/// Nanoseconds since 1970 of an RFC 3339 time in UTC; `None` when the text is not one.
pub(crate) fn parse_nanos(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let [hour, minute, second] = numbers(time, ':')?;
    let in_range = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24;
    if !in_range || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days_since_1970(year, month, day)?
        .checked_mul(86_400)?
        .checked_add(hour * 3600 + minute * 60 + second)?;
    seconds
        .checked_mul(1_000_000_000)?
        .checked_add(nanos_of(fraction)?)
}

/// The same in milliseconds; zero when the text is not a time.
pub(crate) fn millis(text: &str) -> u64 {
    parse_nanos(text).unwrap_or_default() / 1_000_000
}

fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let mut parts = text.split(separator).map(|part| part.parse().ok());
    let three = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(three)
}

fn nanos_of(fraction: &str) -> Option<u64> {
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    format!("{fraction:0<9}").parse().ok()
}

/// Days by the usual civil-calendar arithmetic: years begin in March so that the leap day is last.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) {
        return None;
    }
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let (century, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (century * 146_097 + day_of_era).checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wrong creation time would hide that a bucket was re-created.
    #[test]
    fn times_are_read_to_the_nanosecond() {
        let cases = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01T00:00:00.000000001Z", Some(1)),
            ("2000-02-29T00:00:00Z", Some(951_782_400_000_000_000)),
            ("2000-03-01T00:00:01.5Z", Some(951_868_801_500_000_000)),
            ("2024-12-31T23:59:59Z", Some(1_735_689_599_000_000_000)),
            (
                "2026-11-24T09:13:56.545139068Z",
                Some(1_795_511_636_545_139_068),
            ),
            ("0001-01-01T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-11-24T09:13:56", None),
            ("2026-11-24T09:13:56+01:00", None),
            ("2026-11-24T09:13:56.1234567890Z", None),
            ("", None),
        ];
        for (text, nanos) in cases {
            assert_eq!(parse_nanos(text), nanos, "{text:?}");
        }
    }
}

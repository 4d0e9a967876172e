//! Reading what an exporter says: a client of one request, and values by name and labels.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The status and body of a path.
pub(crate) async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

/// The values of all series of a name that carry these labels.
fn values<'a>(
    text: &'a str,
    name: &'a str,
    labels: &'a [(&str, &str)],
) -> impl Iterator<Item = f64> + 'a {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(move |line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (found, rest) = series.split_once('{').unwrap_or((series, ""));
        let carries = |&(label, value): &(&str, &str)| {
            let wanted = format!("{label}=\"{value}\"");
            rest.trim_end_matches('}')
                .split(',')
                .any(|label| label == wanted)
        };
        (found == name && labels.iter().all(carries)).then(|| value.parse().ok())?
    })
}

/// The value of the first such series.
pub(crate) fn value(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    values(text, name, labels).next()
}

/// The sum over all such series; 0 when there is none.
pub(crate) fn total(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    values(text, name, labels).sum()
}

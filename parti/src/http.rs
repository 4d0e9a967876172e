//! The least of an HTTP server that scrapers and probes need: `GET` and `HEAD` of fixed paths.
//!
//! It is separate, and written by hand, because a web framework would weigh more than the rest of the
//! crate. What always holds: a request has a limit in size and time, connections have a limit in
//! number, every answer ends its connection, and nothing a client sends is echoed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// The most bytes of a request's head.
const MAX_HEAD: usize = 8 << 10;
/// How long a connection may take in all.
const LIMIT: Duration = Duration::from_secs(10);
/// How many connections are served at once; more wait.
const CONNECTIONS: usize = 32;
/// The pause after a connection could not be accepted, as when there are no file descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// What a path answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    pub(crate) body: String,
}

/// A path and what makes its answer.
pub(crate) type Route = (String, Box<dyn Fn() -> Answer + Send + Sync>);

/// The routes of a server.
#[derive(Clone)]
pub(crate) struct Routes(Arc<[Route]>);

impl Routes {
    pub(crate) fn new(routes: Vec<Route>) -> Self {
        Self(routes.into())
    }

    fn answer(&self, path: &str) -> Answer {
        let found = self.0.iter().find(|(known, _)| known == path);
        found.map_or_else(|| plain(404, "no such path\n"), |(_, answer)| answer())
    }
}

/// An answer in plain text.
pub(crate) fn plain(status: u16, body: impl Into<String>) -> Answer {
    let (kind, body) = ("text/plain; charset=utf-8", body.into());
    Answer { status, kind, body }
}

/// Serves until it is dropped.
pub(crate) async fn accept(listener: TcpListener, routes: Routes) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let routes = routes.clone();
                tokio::spawn(async move {
                    // A client that is slow or gone is its own problem.
                    let _ = timeout(LIMIT, converse(stream, &routes)).await;
                    drop(slot);
                });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn converse(mut stream: TcpStream, routes: &Routes) -> io::Result<()> {
    let head = read_head(&mut stream).await?;
    let (answer, with_body) = match parse(&head) {
        Ok((with_body, path)) => (routes.answer(path), with_body),
        Err(answer) => (answer, true),
    };
    let Answer { status, kind, body } = answer;
    let reason = reason(status);
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    if with_body {
        stream.write_all(body.as_bytes()).await?;
    }
    stream.shutdown().await
}

/// Reads up to the empty line that ends the head, or as much as there may be.
async fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(512);
    loop {
        if head.windows(4).any(|end| end == b"\r\n\r\n") || head.len() >= MAX_HEAD {
            return Ok(head);
        }
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(head);
        }
    }
}

/// Whether a body is wanted, and of which path.
fn parse(head: &[u8]) -> Result<(bool, &str), Answer> {
    let ended = head.windows(4).any(|end| end == b"\r\n\r\n");
    if !ended {
        return Err(plain(if head.len() >= MAX_HEAD { 431 } else { 400 }, ""));
    }
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| plain(400, ""))?;
    let mut words = line.split(' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let http = version.is_some_and(|version| version.starts_with("HTTP/1."));
    match (method, target) {
        (Some(method @ ("GET" | "HEAD")), Some(target)) if http => {
            let path = target.split('?').next().unwrap_or_default();
            Ok((method == "GET", path))
        }
        (Some(_), Some(_)) if http => Err(plain(405, "only GET and HEAD\n")),
        (_, _) => Err(plain(400, "")),
    }
}

const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A scraper on the open network must be able to send anything without harm.
    #[test]
    fn requests_are_understood_or_refused_with_the_right_status() {
        fn status(text: &str) -> Result<(bool, &str), u16> {
            parse(text.as_bytes()).map_err(|answer| answer.status)
        }
        assert_eq!(
            status("GET /metrics HTTP/1.1\r\n\r\n"),
            Ok((true, "/metrics"))
        );
        assert_eq!(
            status("HEAD /a?b=c HTTP/1.0\r\nA: b\r\n\r\n"),
            Ok((false, "/a"))
        );
        assert_eq!(status("POST /metrics HTTP/1.1\r\n\r\n"), Err(405));
        assert_eq!(status("GET /metrics\r\n\r\n"), Err(400));
        assert_eq!(status("GET /metrics HTTP/1.1\r\n"), Err(400), "cut off");
        assert_eq!(status("\r\n\r\n"), Err(400));
        assert_eq!(status(&"x".repeat(MAX_HEAD)), Err(431));
        let binary = parse(b"GET /\xff HTTP/1.1\r\n\r\n").map_err(|answer| answer.status);
        assert_eq!(binary, Err(400));
    }
}

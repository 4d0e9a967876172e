//! The least of an HTTP server that scrapers and probes need: `GET` and `HEAD` of fixed paths.
//!
//! It is separate, and written by hand, because a web framework would weigh more than the rest of the
//! crate. What always holds: a request has a limit in size and time, connections have a limit in
//! number beyond which the oldest idle one makes room, every answer ends its connection, and nothing
//! a client sends is echoed.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

/// The most bytes of a request's head.
const MAX_HEAD: usize = 8 << 10;
/// How long a connection may take in all.
const LIMIT: Duration = Duration::from_secs(10);
/// How many connections are served at once. One more takes the place of the oldest that has not sent
/// its request: a probe must be answered however many connections are idle.
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

/// Serves until it is dropped, and drops its connections then.
pub(crate) async fn accept(listener: TcpListener, routes: Routes) {
    let mut open = Open::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => open.serve(stream, routes.clone()),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// The connections that are open, the oldest first.
#[derive(Default)]
struct Open {
    tasks: JoinSet<()>,
    connections: VecDeque<Connection>,
}

struct Connection {
    task: AbortHandle,
    /// Whether its request has come.
    asked: Arc<AtomicBool>,
}

impl Open {
    fn serve(&mut self, stream: TcpStream, routes: Routes) {
        while self.tasks.try_join_next().is_some() {}
        self.connections.retain(|open| !open.task.is_finished());
        if self.connections.len() >= CONNECTIONS {
            let idle = |open: &Connection| !open.asked.load(Ordering::Relaxed);
            // Where none is idle, the oldest is the slowest to take its answer.
            let oldest = self.connections.iter().position(idle).unwrap_or(0);
            if let Some(oldest) = self.connections.remove(oldest) {
                oldest.task.abort();
            }
        }
        let asked = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&asked);
        let task = self.tasks.spawn(async move {
            // A client that is slow or gone is its own problem.
            let _ = timeout(LIMIT, converse(stream, &routes, &noted)).await;
        });
        self.connections.push_back(Connection { task, asked });
    }
}

async fn converse(mut stream: TcpStream, routes: &Routes, asked: &AtomicBool) -> io::Result<()> {
    let head = read_head(&mut stream).await?;
    asked.store(true, Ordering::Relaxed);
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

    async fn get(address: std::net::SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        let request = b"GET /healthz HTTP/1.1\r\n\r\n";
        stream.write_all(request).await.expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answers");
        answer
    }

    /// Thirty-two connections that sent nothing kept the probes of a healthy worker waiting for ten
    /// seconds, which is when an orchestrator restarts it.
    #[tokio::test]
    async fn idle_connections_do_not_keep_a_probe_waiting() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("bound");
        let health: Route = ("/healthz".to_owned(), Box::new(|| plain(200, "ok\n")));
        let serving = tokio::spawn(accept(listener, Routes::new(vec![health])));
        let mut idle = Vec::new();
        for _ in 0..3 * CONNECTIONS {
            idle.push(TcpStream::connect(address).await.expect("connects"));
            let answer = timeout(LIMIT / 2, get(address)).await;
            let answer = answer.expect("before the idle ones are given up");
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer:?}");
        }
        // The oldest made room, the youngest did not.
        let mut end = [0];
        let closed = timeout(LIMIT / 2, idle[0].read(&mut end)).await;
        assert!(!matches!(closed.expect("closed"), Ok(1..)));
        let last = idle.last_mut().expect("many");
        last.write_all(b"GET /healthz HTTP/1.1\r\n\r\n")
            .await
            .expect("open");
        let mut answer = String::new();
        last.read_to_string(&mut answer).await.expect("answers");
        assert!(answer.ends_with("ok\n"), "{answer:?}");
        serving.abort();
    }
}

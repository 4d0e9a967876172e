//! The sink behind a port of its own: a line for each call, a line for each answer.
//!
//! It is separate from the servers that are hurt, as a database is. What always holds: an answer is given
//! after the call is in the log.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use parti_testing::rig::fenced_sink::FencedSink;

use super::locked;

/// A sink that listens until it is dropped.
pub(super) struct SinkServer {
    address: SocketAddr,
    sink: Arc<Mutex<FencedSink>>,
}

impl SinkServer {
    pub(super) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let sink = Arc::<Mutex<FencedSink>>::default();
        let serving = Arc::downgrade(&sink);
        thread::spawn(move || {
            for way in listener.incoming() {
                let Some(sink) = serving.upgrade() else {
                    return;
                };
                if let Ok(way) = way {
                    // A worker that is killed ends its connection, which is no failure of ours.
                    thread::spawn(move || drop(serve(&way, &sink)));
                }
            }
        });
        Ok(Self { address, sink })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn look<T>(&self, at: impl FnOnce(&FencedSink) -> T) -> T {
        at(&locked(&self.sink))
    }
}

impl Drop for SinkServer {
    fn drop(&mut self) {
        self.sink = Arc::default();
        // Its thread waits for a connection; this is its last one.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(way: &TcpStream, sink: &Mutex<FencedSink>) -> io::Result<()> {
    way.set_nodelay(true)?;
    let mut writing = way;
    for line in BufReader::new(way).lines() {
        let effect = serde_json::from_str(&line?)?;
        let verdict = locked(sink).take(effect, Instant::now());
        writing.write_all(format!("{}\n", verdict.as_str()).as_bytes())?;
    }
    Ok(())
}

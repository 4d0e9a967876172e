//! A TCP proxy with faults: one before each worker's connection, so that each can be cut off alone.
//!
//! It is separate from the store in memory because what breaks on a wire cannot be shown without
//! one: bytes that are late, held or one-way, connections that are reset or dead without anybody
//! knowing. It knows nothing of what it carries. What always holds: bytes of a connection arrive
//! in their order or not at all, and without faults everything passes at once.
//!
//! TCP has no lost messages: what a network drops is sent again. A cut therefore holds bytes, and
//! [`Proxy::heal`] delivers them late, as a network that comes back does; [`Proxy::reset`] loses
//! them. A client without heartbeats of its own does not notice a cut.
//!
//! A server must not tell its own address to clients, or they connect around the proxy;
//! [`NatsCluster`](crate::rig::nats_cluster::NatsCluster) takes care of that.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::{TcpListener, TcpStream};
//! use std::time::Duration;
//! use parti_testing::rig::proxy::{Direction, Link, Proxy};
//!
//! # fn main() -> std::io::Result<()> {
//! let server = TcpListener::bind("127.0.0.1:0")?;
//! let proxy = Proxy::start(server.local_addr()?, 7)?;
//! let mut client = TcpStream::connect(proxy.address())?;
//! let (mut served, _) = server.accept()?;
//!
//! let slow = Link::default().delay(Duration::from_millis(20));
//! proxy.set_link(Direction::ToServer, slow);
//! client.write_all(b"hello")?;
//! let mut heard = [0; 5];
//! served.read_exact(&mut heard)?; // 20 ms later
//! assert_eq!(proxy.counts().to_server, 5);
//! # Ok(())
//! # }
//! ```

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

mod lane;
mod state;

use state::{Fate, Shared};

/// How long [`Proxy::reset`] waits for the connections to be gone.
const GONE_MAX: Duration = Duration::from_secs(5);

/// A way through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// What the client sends.
    ToServer,
    /// What the server answers.
    ToClient,
}

/// Both directions.
pub const BOTH: [Direction; 2] = [Direction::ToServer, Direction::ToClient];

/// How one direction carries bytes. The default carries them at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    pub(crate) delay: Duration,
    pub(crate) jitter: Duration,
    pub(crate) throughput: Throughput,
}

/// How many bytes a direction carries in which time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Throughput {
    /// As many as come.
    #[default]
    Unlimited,
    /// So many bytes a second.
    BytesPerSecond(NonZeroU32),
    /// One piece, as the sender handed it over, in each such time.
    OnePieceEvery(Duration),
}

impl Link {
    /// Every byte arrives so much later.
    #[must_use]
    pub const fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Adds between nothing and this to the delay, differently for each piece. Pieces do not
    /// overtake each other.
    #[must_use]
    pub const fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Limits what passes.
    #[must_use]
    pub const fn throughput(mut self, throughput: Throughput) -> Self {
        self.throughput = throughput;
        self
    }
}

/// What happens to a new connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admission {
    /// It is carried to the server; while a direction is held it waits for that.
    #[default]
    Forward,
    /// It is accepted and nothing is ever heard on it, until it is forwarded after a heal.
    Ignore,
    /// It is reset at once, as by a machine without a server.
    Refuse,
}

/// What has passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections accepted since the start.
    pub connections: u64,
    /// Connections that are open now.
    pub open: usize,
    /// Bytes delivered to the server.
    pub to_server: u64,
    /// Bytes delivered to the client.
    pub to_client: u64,
}

/// A running proxy. Dropping it resets its connections and closes its port.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens on a free port of the loopback address and forwards to the server. The same seed
    /// gives the same sequence of jitter on the same pieces.
    ///
    /// # Errors
    /// When no port can be had; nothing is left behind.
    pub fn start(server: SocketAddr, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(server, seed));
        let accepting = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept(&shared, &listener))
        };
        let accepting = Some(accepting);
        Ok(Self {
            shared,
            address,
            accepting,
        })
    }

    /// Where clients connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a NATS URL, such as `nats://127.0.0.1:4222`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Forwards new connections to another server. Running connections stay where they are; reset
    /// them to move them.
    pub fn set_server(&self, server: SocketAddr) {
        self.shared.change(|state| state.server = server);
    }

    /// Changes how a direction carries bytes, also those that are on their way.
    pub fn set_link(&self, direction: Direction, link: Link) {
        self.shared.change(|state| *state.link(direction) = link);
    }

    /// How a direction carries bytes now.
    #[must_use]
    pub fn link(&self, direction: Direction) -> Link {
        self.shared.change(|state| *state.link(direction))
    }

    /// Changes what happens to new connections.
    pub fn set_admission(&self, admission: Admission) {
        self.shared.change(|state| state.admission = admission);
    }

    /// Holds everything of a direction, also the news that a side closed: a cut in one direction.
    /// New connections wait.
    pub fn hold(&self, direction: Direction) {
        self.shared.change(|state| state.hold(direction));
    }

    /// Holds everything in both directions.
    pub fn stall(&self) {
        self.shared
            .change(|state| BOTH.into_iter().for_each(|way| state.hold(way)));
    }

    /// Ends [`Proxy::hold`] and [`Proxy::stall`] and no other fault. What was held arrives now.
    pub fn release(&self) {
        self.shared.change(state::State::release);
    }

    /// Closes the server's side of every connection without the client knowing: what it sends goes
    /// nowhere, as after a server that lost its power. New connections are accepted and ignored.
    pub fn half_open(&self) {
        self.shared.change(|state| {
            state.admission = Admission::Ignore;
            state.doom(Fate::HalfOpen);
        });
    }

    /// Breaks every connection with a TCP reset to both sides; what was on its way is lost.
    /// Returns when they are gone. New connections pass as before.
    pub fn reset(&self) {
        let doomed = self.shared.change(|state| state.doom(Fate::Reset));
        let deadline = Instant::now() + GONE_MAX;
        self.shared
            .wait_until(deadline, |state| state.are_gone(&doomed));
    }

    /// Ends every fault. What was held arrives now; connections that are dead on the server's side
    /// are reset, as their next packet would do.
    pub fn heal(&self) {
        self.shared.change(state::State::heal);
    }

    /// What has passed until now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.change(|state| state.counts())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.change(state::State::close);
        // The listener's thread waits for a connection; this is its last one.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    // A client may give up while it waits in line, which is nothing to end for.
    for client in listener.incoming() {
        if shared.change(|state| state.is_closed()) {
            return;
        }
        if let Ok(client) = client {
            let shared = Arc::clone(shared);
            thread::spawn(move || lane::serve(&shared, client));
        }
    }
}

#[cfg(test)]
mod tests;

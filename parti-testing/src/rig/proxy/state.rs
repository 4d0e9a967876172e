//! What a proxy knows: its faults, its connections, and the bytes that are on their way.
//!
//! It is separate from the threads that move bytes, so that a fault is one change of one value.
//! What always holds: every change wakes everybody who waits for a change.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::{Admission, Counts, Direction, Link, Throughput};
use crate::kit::random::Random;

/// How many bytes of one direction may be on their way; then the sender is made to wait.
const UNDERWAY_MAX: usize = 4 << 20;
/// How many bytes are delivered at a time under a limit.
const SLICE_MAX: usize = 1024;

#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) server: SocketAddr,
    pub(super) admission: Admission,
    ways: [Way; 2],
    connections: BTreeMap<u64, Connection>,
    accepted: u64,
    seed: u64,
    life: Life,
}

#[derive(Debug, Default)]
struct Way {
    link: Link,
    flow: Flow,
    delivered: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Flow {
    #[default]
    Open,
    Held,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Running,
    Closed,
}

/// What is to become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is carried.
    Alive,
    /// The server's side is closed, and the client is not told.
    HalfOpen,
    /// It is to be broken with a reset.
    Reset,
}

#[derive(Debug)]
struct Connection {
    client: Arc<TcpStream>,
    server: Option<Arc<TcpStream>>,
    fate: Fate,
    lanes: [Lane; 2],
    threads: usize,
}

/// The bytes of one direction of one connection.
#[derive(Debug)]
struct Lane {
    pieces: VecDeque<Piece>,
    bytes: usize,
    random: Random,
    free_at: Option<Instant>,
}

#[derive(Debug)]
struct Piece {
    arrived: Instant,
    /// Between nothing and one: its share of the jitter.
    luck: f64,
    what: Payload,
}

/// What a piece carries.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Payload {
    /// Bytes.
    Bytes(Vec<u8>),
    /// The sender sends no more.
    End,
}

/// What a thread that delivers is to do now.
#[derive(Debug)]
pub(super) enum Next {
    Deliver(Payload),
    Wait(Option<Duration>),
    Stop,
}

impl Shared {
    pub(super) fn new(server: SocketAddr, seed: u64) -> Self {
        let state = State {
            server,
            admission: Admission::Forward,
            ways: [Way::default(), Way::default()],
            connections: BTreeMap::new(),
            accepted: 0,
            seed,
            life: Life::Running,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Looks at the state or changes it, and wakes everybody.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let answer = change(&mut self.lock());
        self.changed.notify_all();
        answer
    }

    /// Waits until the state is as wanted; whether it became so before the deadline.
    pub(super) fn wait_until(
        &self,
        deadline: Instant,
        wanted: impl Fn(&mut State) -> bool,
    ) -> bool {
        let mut state = self.lock();
        loop {
            if wanted(&mut state) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.sleep(state, Some(left));
        }
    }

    /// The next payload of a direction, when its time has come; `None` when there will be none.
    pub(super) fn next(&self, id: u64, direction: Direction) -> Option<Payload> {
        let mut state = self.lock();
        loop {
            match state.next(id, direction, Instant::now()) {
                Next::Deliver(payload) => {
                    drop(state);
                    self.changed.notify_all();
                    return Some(payload);
                }
                Next::Stop => return None,
                Next::Wait(time) => state = self.sleep(state, time),
            }
        }
    }

    fn sleep<'a>(
        &self,
        state: MutexGuard<'a, State>,
        time: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        let slept = match time {
            None => self.changed.wait(state),
            Some(time) => self
                .changed
                .wait_timeout(state, time)
                .map(|(state, _)| state)
                .map_err(|poisoned| PoisonError::new(poisoned.into_inner().0)),
        };
        slept.unwrap_or_else(PoisonError::into_inner)
    }

    /// The state is a value that no panic can leave half changed, so a poisoned lock is usable.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) fn link(&mut self, direction: Direction) -> &mut Link {
        &mut self.ways[direction as usize].link
    }

    pub(super) fn hold(&mut self, direction: Direction) {
        self.ways[direction as usize].flow = Flow::Held;
    }

    pub(super) fn release(&mut self) {
        for way in &mut self.ways {
            way.flow = Flow::Open;
        }
    }

    pub(super) fn heal(&mut self) {
        self.admission = Admission::Forward;
        self.release();
        for way in &mut self.ways {
            way.link = Link::default();
        }
        let dead = |connection: &&mut Connection| connection.fate == Fate::HalfOpen;
        let dead = self.connections.values_mut().filter(dead);
        dead.for_each(|connection| connection.doom(Fate::Reset));
    }

    pub(super) fn close(&mut self) {
        self.life = Life::Closed;
        self.doom(Fate::Reset);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.life == Life::Closed
    }

    /// Decides over every connection there is; which they are.
    pub(super) fn doom(&mut self, fate: Fate) -> Vec<u64> {
        for connection in self.connections.values_mut() {
            connection.doom(fate);
        }
        self.connections.keys().copied().collect()
    }

    pub(super) fn are_gone(&self, connections: &[u64]) -> bool {
        let gone = |id: &u64| !self.connections.contains_key(id);
        connections.iter().all(gone)
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            connections: self.accepted,
            open: self.connections.len(),
            to_server: self.ways[Direction::ToServer as usize].delivered,
            to_client: self.ways[Direction::ToClient as usize].delivered,
        }
    }

    /// Takes a connection in, with one thread on it; its number.
    pub(super) fn admit(&mut self, client: Arc<TcpStream>) -> u64 {
        self.accepted += 1;
        let id = self.accepted;
        let lane = |direction: Direction| Lane {
            pieces: VecDeque::new(),
            bytes: 0,
            random: Random::new(self.seed, &format!("{id} {direction:?}")),
            free_at: None,
        };
        let connection = Connection {
            client,
            server: None,
            fate: Fate::Alive,
            lanes: super::BOTH.map(lane),
            threads: 1,
        };
        self.connections.insert(id, connection);
        if self.admission == Admission::Refuse || self.is_closed() {
            self.doom_one(id, Fate::Reset);
        }
        id
    }

    /// Where to connect a new connection to; `None` while it has to wait.
    pub(super) fn way_to_server(&self) -> Option<SocketAddr> {
        let open = self.ways.iter().all(|way| way.flow == Flow::Open);
        (open && self.admission == Admission::Forward).then_some(self.server)
    }

    /// Whether the connection is still to be carried.
    pub(super) fn is_alive(&self, id: u64) -> bool {
        self.fate(id) == Some(Fate::Alive)
    }

    pub(super) fn is_doomed(&self, id: u64) -> bool {
        matches!(self.fate(id), None | Some(Fate::Reset))
    }

    fn fate(&self, id: u64) -> Option<Fate> {
        Some(self.connections.get(&id)?.fate)
    }

    pub(super) fn doom_one(&mut self, id: u64, fate: Fate) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.doom(fate);
        }
    }

    /// The server's side is there, with so many more threads on the connection.
    pub(super) fn connected(&mut self, id: u64, server: Arc<TcpStream>, threads: usize) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.server = Some(server);
            connection.threads += threads;
            // A fault may have begun while it was being connected.
            connection.doom(connection.fate);
        }
    }

    /// A thread leaves the connection; the last one closes it.
    pub(super) fn leave(&mut self, id: u64) {
        let last = self.connections.get_mut(&id).is_some_and(|connection| {
            connection.threads -= 1;
            connection.threads == 0
        });
        if last {
            self.connections.remove(&id);
        }
    }

    pub(super) fn has_room(&self, id: u64, direction: Direction) -> bool {
        let connection = self.connections.get(&id);
        connection
            .is_none_or(|connection| connection.lanes[direction as usize].bytes < UNDERWAY_MAX)
    }

    pub(super) fn arrive(&mut self, id: u64, direction: Direction, what: Payload) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if connection.fate == Fate::HalfOpen {
            return;
        }
        let lane = &mut connection.lanes[direction as usize];
        lane.bytes += what.len();
        lane.pieces.push_back(Piece {
            arrived: Instant::now(),
            luck: lane.random.part(),
            what,
        });
    }

    fn next(&mut self, id: u64, direction: Direction, now: Instant) -> Next {
        let way = &mut self.ways[direction as usize];
        let Some(connection) = self.connections.get_mut(&id) else {
            return Next::Stop;
        };
        match connection.fate {
            Fate::Reset => return Next::Stop,
            Fate::HalfOpen => return Next::Wait(None),
            Fate::Alive => {}
        }
        if way.flow == Flow::Held {
            return Next::Wait(None);
        }
        let lane = &mut connection.lanes[direction as usize];
        let Some(piece) = lane.pieces.front() else {
            return Next::Wait(None);
        };
        let Link {
            delay,
            jitter,
            throughput,
        } = way.link;
        let due = piece.arrived + delay + jitter.mul_f64(piece.luck);
        let due = lane.free_at.map_or(due, |free| due.max(free));
        if due > now {
            return Next::Wait(Some(due - now));
        }
        let Some(payload) = lane.take(throughput) else {
            return Next::Wait(None);
        };
        lane.free_at = throughput.after(payload.len()).map(|time| now + time);
        way.delivered += payload.len() as u64;
        Next::Deliver(payload)
    }
}

impl Connection {
    fn doom(&mut self, fate: Fate) {
        self.fate = fate;
        match fate {
            Fate::Alive => {}
            Fate::HalfOpen => {
                if let Some(server) = &self.server {
                    // It may be closed already.
                    drop(server.shutdown(Shutdown::Both));
                }
            }
            Fate::Reset => {
                for stream in [Some(&self.client), self.server.as_ref()]
                    .into_iter()
                    .flatten()
                {
                    // With no time to linger, closing sends a reset. Shutting the reading side
                    // down sends nothing; it sends home the thread that reads.
                    drop(SockRef::from(stream.as_ref()).set_linger(Some(Duration::ZERO)));
                    drop(stream.shutdown(Shutdown::Read));
                }
            }
        }
    }
}

impl Lane {
    /// The front, or as much of it as is delivered at a time.
    fn take(&mut self, throughput: Throughput) -> Option<Payload> {
        let limited = matches!(throughput, Throughput::BytesPerSecond(_));
        let payload = match &mut self.pieces.front_mut()?.what {
            Payload::Bytes(bytes) if limited && bytes.len() > SLICE_MAX => {
                let rest = bytes.split_off(SLICE_MAX);
                Payload::Bytes(std::mem::replace(bytes, rest))
            }
            Payload::Bytes(_) | Payload::End => self.pieces.pop_front()?.what,
        };
        self.bytes -= payload.len();
        Some(payload)
    }
}

impl Payload {
    const fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::End => 0,
        }
    }
}

impl Throughput {
    /// How long the way is taken after so many bytes.
    fn after(self, bytes: usize) -> Option<Duration> {
        match self {
            Self::Unlimited => None,
            Self::BytesPerSecond(rate) => Some(Duration::from_secs_f64(
                bytes as f64 / f64::from(rate.get()),
            )),
            Self::OnePieceEvery(time) => Some(time),
        }
    }
}

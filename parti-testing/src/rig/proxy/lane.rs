//! The threads of a connection: two that read and two that deliver.
//!
//! They are separate from the state because they block. What always holds: each ends soon after
//! its connection is doomed, and the last one closes the connection.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::Direction;
use super::state::{Fate, Payload, Shared};

/// How long connecting to the server may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How often a write that the receiver does not take is looked after.
const WRITE_LOOK: Duration = Duration::from_millis(50);
/// How many bytes are read at once.
const READ_MAX: usize = 16 << 10;

/// Carries a connection until it ends.
pub(super) fn serve(shared: &Arc<Shared>, client: TcpStream) {
    let client = Arc::new(client);
    let id = shared.change(|state| state.admit(Arc::clone(&client)));
    if let Some(server) = connect(shared, id) {
        let server = Arc::new(server);
        shared.change(|state| state.connected(id, Arc::clone(&server), 4));
        for direction in super::BOTH {
            let (from, to) = match direction {
                Direction::ToServer => (&client, &server),
                Direction::ToClient => (&server, &client),
            };
            let (reader, from) = (Arc::clone(shared), Arc::clone(from));
            thread::spawn(move || {
                read(&reader, id, direction, &from);
                drop(from);
                reader.change(|state| state.leave(id));
            });
            let (writer, to) = (Arc::clone(shared), Arc::clone(to));
            thread::spawn(move || {
                deliver(&writer, id, direction, &to);
                drop(to);
                writer.change(|state| state.leave(id));
            });
        }
    } else {
        // Also when the server is not there: to the client that is a connection that breaks.
        shared.change(|state| state.doom_one(id, Fate::Reset));
    }
    drop(client);
    shared.change(|state| state.leave(id));
}

/// The server's side, once the way is open.
fn connect(shared: &Shared, id: u64) -> Option<TcpStream> {
    let far = Instant::now() + Duration::from_secs(24 * 3600);
    shared.wait_until(far, |state| {
        state.is_doomed(id) || (state.is_alive(id) && state.way_to_server().is_some())
    });
    let server: SocketAddr = shared.change(|state| {
        let alive = state.is_alive(id);
        alive.then(|| state.way_to_server()).flatten()
    })?;
    let stream = TcpStream::connect_timeout(&server, CONNECT_MAX).ok()?;
    stream.set_nodelay(true).ok()?;
    Some(stream)
}

/// Reads until the sender ends, and queues what came.
fn read(shared: &Shared, id: u64, direction: Direction, mut from: &TcpStream) {
    let mut buffer = vec![0; READ_MAX];
    let far = Instant::now() + Duration::from_secs(24 * 3600);
    loop {
        let payload = match from.read(&mut buffer) {
            Ok(0) => Payload::End,
            Ok(count) => Payload::Bytes(buffer[..count].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // A reset by the sender ends the connection; it reaches the other side in its turn.
            Err(_) => Payload::End,
        };
        let end = payload == Payload::End;
        shared.change(|state| state.arrive(id, direction, payload));
        if end {
            return;
        }
        shared.wait_until(far, |state| {
            state.is_doomed(id) || state.has_room(id, direction)
        });
    }
}

/// Delivers what is due until the end is delivered or the receiver is gone.
fn deliver(shared: &Shared, id: u64, direction: Direction, to: &TcpStream) {
    // Without it a receiver that does not read would keep a doomed connection.
    drop(to.set_write_timeout(Some(WRITE_LOOK)));
    drop(to.set_nodelay(true));
    while let Some(payload) = shared.next(id, direction) {
        let outcome = match &payload {
            Payload::Bytes(bytes) => write(shared, id, to, bytes),
            Payload::End => to.shutdown(Shutdown::Write),
        };
        if outcome.is_err() {
            return shared.change(|state| state.doom_one(id, Fate::Reset));
        }
        if payload == Payload::End {
            return;
        }
    }
}

fn write(shared: &Shared, id: u64, mut to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if is_only_slow(&error) && !shared.change(|state| state.is_doomed(id)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_only_slow(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

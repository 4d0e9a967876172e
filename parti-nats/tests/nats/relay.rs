//! A way to a server that can be told to treat its answers in another way.

use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

/// What happens to the server's answers while the relay is on.
#[derive(Clone, Copy)]
pub(crate) enum Answers {
    /// Nobody reads them, as when a process is stopped.
    Held,
    /// They are changed, piece by piece as they arrive.
    Changed(fn(&mut [u8])),
}

/// Passes bytes on between clients and a server.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    on: Arc<Switch>,
}

/// Whether the relay is on, and a way to wait until it is off.
#[derive(Default)]
struct Switch {
    on: Mutex<bool>,
    changed: Condvar,
}

impl Switch {
    fn on(&self) -> MutexGuard<'_, bool> {
        self.on.lock().expect("no panic under the lock")
    }

    fn wait_until_off(&self) {
        let off = self.changed.wait_while(self.on(), |on| *on);
        drop(off.expect("no panic under the lock"));
    }
}

impl Relay {
    pub(crate) fn new(server: SocketAddr, answers: Answers) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let on = Arc::new(Switch::default());
        let again = Arc::clone(&on);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(server) else {
                    continue;
                };
                let both = [&client, &server].map(|stream| stream.try_clone().expect("a clone"));
                let [client_again, server_again] = both;
                thread::spawn(move || pass(client, server, answers, &Switch::default()));
                let on = Arc::clone(&again);
                thread::spawn(move || pass(server_again, client_again, answers, &on));
            }
        });
        Self { address, on }
    }

    pub(crate) fn switch(&self, on: bool) {
        *self.on.on() = on;
        self.on.changed.notify_all();
    }
}

/// Passes bytes on until either side ends.
fn pass(mut from: TcpStream, mut to: TcpStream, answers: Answers, on: &Switch) {
    let mut bytes = [0; 65_536];
    loop {
        if matches!(answers, Answers::Held) {
            on.wait_until_off();
        }
        let count = match from.read(&mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        match answers {
            Answers::Changed(change) if *on.on() => change(&mut bytes[..count]),
            Answers::Changed(_) | Answers::Held => {}
        }
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}

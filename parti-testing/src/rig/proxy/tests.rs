//! Each fault of the proxy shows at the sockets, and healing ends it.

use std::io::{ErrorKind, Read, Write};
use std::sync::mpsc;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(150);

struct World {
    server: TcpListener,
    proxy: Proxy,
}

impl World {
    fn new() -> Self {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let proxy = Proxy::start(server.local_addr().expect("bound"), 7).expect("starts");
        Self { server, proxy }
    }

    fn client(&self) -> TcpStream {
        let client = TcpStream::connect(self.proxy.address()).expect("accepts");
        client.set_read_timeout(Some(PATIENCE)).expect("a limit");
        client
    }

    fn pair(&self) -> (TcpStream, TcpStream) {
        let client = self.client();
        let (served, _) = self.server.accept().expect("forwarded");
        served.set_read_timeout(Some(PATIENCE)).expect("a limit");
        (client, served)
    }
}

fn send(mut stream: &TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).expect("sent");
}

fn hear(mut stream: &TcpStream, text: &str) {
    let mut heard = vec![0; text.len()];
    stream.read_exact(&mut heard).expect("heard");
    assert_eq!(String::from_utf8_lossy(&heard), text);
}

/// Nothing comes for a while.
fn silence(mut stream: &TcpStream) {
    stream.set_read_timeout(Some(SHORT)).expect("a limit");
    let error = stream.read(&mut [0]).expect_err("nothing comes");
    assert!(
        matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{error}"
    );
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
}

fn is_reset(mut stream: &TcpStream) {
    let error = stream.read(&mut [0; 64]).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
}

/// A proxy that disturbs without being asked makes every test lie.
#[test]
fn without_faults_everything_passes_and_is_counted_and_ends_are_told() {
    let world = World::new();
    let (client, mut served) = world.pair();
    send(&client, "hello");
    hear(&served, "hello");
    let large = vec![7; 3 << 20];
    let copy = large.clone();
    let sender = served.try_clone().expect("a handle");
    let sending = thread::spawn(move || (&sender).write_all(&copy).expect("sent"));
    let mut got = vec![0; large.len()];
    (&client).read_exact(&mut got).expect("heard");
    sending.join().expect("no panic");
    assert!(got == large);
    let counts = world.proxy.counts();
    assert_eq!((counts.connections, counts.open), (1, 1));
    assert_eq!((counts.to_server, counts.to_client), (5, 3 << 20));
    drop(client);
    assert_eq!(served.read(&mut [0]).expect("an orderly end"), 0);
    drop(served);
    let deadline = Instant::now() + PATIENCE;
    while world.proxy.counts().open > 0 {
        assert!(Instant::now() < deadline, "the connection is not gone");
        thread::yield_now();
    }
}

/// A one-way cut that cuts both ways hides the worst kind: requests arrive, answers do not.
#[test]
fn a_held_direction_is_silent_and_the_other_is_not_and_healing_delivers() {
    let world = World::new();
    let (client, served) = world.pair();
    for direction in BOTH {
        let (sender, receiver) = match direction {
            Direction::ToServer => (&client, &served),
            Direction::ToClient => (&served, &client),
        };
        world.proxy.hold(direction);
        send(sender, "late");
        silence(receiver);
        send(receiver, "other way");
        hear(sender, "other way");
        world.proxy.heal();
        hear(receiver, "late");
    }
    world.proxy.stall();
    send(&client, "a");
    send(&served, "b");
    silence(&client);
    silence(&served);
    let waiting = world.client();
    send(&waiting, "c");
    world.proxy.heal();
    hear(&served, "a");
    hear(&client, "b");
    let (new, _) = world.server.accept().expect("it waited for the heal");
    hear(&new, "c");
}

/// A delay that is shorter than asked for proves nothing about leases.
#[test]
fn a_delay_is_at_least_as_long_as_asked_and_keeps_the_order() {
    let world = World::new();
    let (client, served) = world.pair();
    let link = Link::default().delay(SHORT).jitter(SHORT);
    world.proxy.set_link(Direction::ToServer, link);
    let begin = Instant::now();
    let parts: Vec<_> = (0..20).map(|number| format!("<{number}>")).collect();
    parts.iter().for_each(|part| send(&client, part));
    hear(&served, &parts.concat());
    assert!(begin.elapsed() >= SHORT, "{:?}", begin.elapsed());
    let begin = Instant::now();
    send(&served, "back");
    hear(&client, "back");
    assert!(begin.elapsed() < SHORT, "the other direction is not slow");
}

/// A slow network is not a dead one; without a limit it cannot be told how a worker bears it.
#[test]
fn a_limit_of_bytes_and_of_pieces_is_kept() {
    let world = World::new();
    let (client, served) = world.pair();
    let rate = NonZeroU32::new(20_000).expect("not zero");
    let paces = [
        Throughput::BytesPerSecond(rate),
        Throughput::OnePieceEvery(Duration::from_millis(50)),
    ];
    for throughput in paces {
        let link = Link::default().throughput(throughput);
        world.proxy.set_link(Direction::ToServer, link);
        let begin = Instant::now();
        for _ in 0..5 {
            let before = world.proxy.counts().to_server;
            send(&client, &"x".repeat(1000));
            hear(&served, &"x".repeat(1000));
            assert_eq!(world.proxy.counts().to_server, before + 1000);
        }
        // Five pieces of 50 ms each, of which the first passes at once.
        let spent = begin.elapsed();
        assert!(
            spent >= Duration::from_millis(195),
            "{throughput:?}: {spent:?}"
        );
    }
}

/// A reset must look like one on both sides, or the client's quick reconnect is never tried.
#[test]
fn a_reset_breaks_both_sides_and_new_connections_pass() {
    let world = World::new();
    let (client, served) = world.pair();
    world.proxy.hold(Direction::ToServer);
    send(&client, "lost");
    world.proxy.reset();
    assert_eq!(world.proxy.counts().open, 0);
    is_reset(&client);
    is_reset(&served);
    world.proxy.heal();
    let (client, served) = world.pair();
    send(&client, "again");
    hear(&served, "again");
}

/// A machine without power sends no goodbye; its clients must notice by themselves.
#[test]
fn a_half_open_connection_is_silent_to_the_client_and_reset_by_a_heal() {
    let world = World::new();
    let (client, mut served) = world.pair();
    world.proxy.half_open();
    assert_eq!(served.read(&mut [0]).expect("closed"), 0);
    send(&client, "into nothing");
    silence(&client);
    let newcomer = world.client();
    send(&newcomer, "hello");
    silence(&newcomer);
    world.proxy.heal();
    is_reset(&client);
    let (served, _) = world.server.accept().expect("it waited for the heal");
    hear(&served, "hello");
    send(&served, "welcome");
    hear(&newcomer, "welcome");
}

/// A worker must find the next server when its own is gone.
#[test]
fn connections_are_refused_on_demand_and_the_server_can_be_changed() {
    let world = World::new();
    world.proxy.set_admission(Admission::Refuse);
    is_reset(&world.client());
    world.proxy.heal();
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    world.proxy.set_server(other.local_addr().expect("bound"));
    let client = world.client();
    let (served, _) = other.accept().expect("the new one");
    send(&client, "hello");
    hear(&served, "hello");
    drop(other);
    is_reset(&world.client());
}

/// A test that ends while a client hangs must not hang, too.
#[test]
fn dropping_the_proxy_ends_its_connections_whatever_they_wait_for() {
    let world = World::new();
    let (client, served) = world.pair();
    world.proxy.hold(Direction::ToServer);
    let (done, ended) = mpsc::channel();
    let proxy = world.proxy;
    thread::spawn(move || {
        drop(proxy);
        done.send(()).expect("somebody waits");
    });
    ended.recv_timeout(PATIENCE).expect("it ends");
    is_reset(&client);
    is_reset(&served);
}

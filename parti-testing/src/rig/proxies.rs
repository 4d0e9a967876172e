//! Faults on real connections: every worker has its own proxy before every server.
//!
//! It is separate from the proxy, which knows no workers. What always holds: a worker that connects
//! to the URL given to it has no other way to a server.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::kit::chaos::{Blocked, ChaosError, ChaosInjector, Share};
use crate::rig::proxy::{BOTH, Direction, Link, Proxy, Throughput};

/// The proxies of a group's workers.
///
/// ```
/// use std::time::Duration;
/// use parti_testing::kit::chaos::{ChaosError, ChaosInjector, Blocked, Share};
/// use parti_testing::rig::proxies::Proxies;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let server = listener.local_addr()?;
/// let chaos = Proxies::new(vec![server], 7);
/// let url = chaos.url("a")?; // the worker connects to it
/// chaos.delay_messages("a", Duration::from_millis(50), Duration::from_millis(20))?;
/// chaos.partition_network(&["a".to_owned()], Blocked::Replies)?;
/// let some = chaos.drop_messages("a", Share::percent(10)?);
/// assert!(matches!(some, Err(ChaosError::Unsupported { .. })));
/// chaos.heal();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Proxies {
    servers: Vec<SocketAddr>,
    seed: u64,
    workers: Mutex<BTreeMap<String, Arc<Vec<Proxy>>>>,
}

impl Proxies {
    /// No worker yet. The servers are one, or the nodes of a cluster that does not tell its
    /// addresses to clients.
    #[must_use]
    pub const fn new(servers: Vec<SocketAddr>, seed: u64) -> Self {
        Self {
            servers,
            seed,
            workers: Mutex::new(BTreeMap::new()),
        }
    }

    /// Where the worker connects: one NATS URL for each server, separated by commas. The same for
    /// the same name.
    ///
    /// # Errors
    /// When no port can be had; the worker is not known then.
    pub fn url(&self, worker: &str) -> io::Result<String> {
        let proxies = self.proxies(worker)?;
        let urls: Vec<_> = proxies.iter().map(Proxy::url).collect();
        Ok(urls.join(","))
    }

    /// The worker's proxies in the order of the servers, for faults without a name: resets,
    /// half-open connections, refusals. They are started if need be.
    ///
    /// # Errors
    /// As [`Proxies::url`].
    pub fn proxies(&self, worker: &str) -> io::Result<Arc<Vec<Proxy>>> {
        let mut workers = self.lock();
        if let Some(proxies) = workers.get(worker) {
            return Ok(Arc::clone(proxies));
        }
        let seed = worker.bytes().fold(self.seed, |seed, byte| {
            seed.wrapping_mul(31) + u64::from(byte)
        });
        let servers = self.servers.iter();
        let proxies: io::Result<Vec<_>> = servers.map(|at| Proxy::start(*at, seed)).collect();
        let proxies = Arc::new(proxies?);
        workers.insert(worker.to_owned(), Arc::clone(&proxies));
        Ok(proxies)
    }

    fn each(&self, worker: &str, act: impl Fn(&Proxy)) -> Result<(), ChaosError> {
        let workers = self.lock();
        let Some(proxies) = workers.get(worker) else {
            let known = workers.keys().cloned().collect();
            let worker = worker.to_owned();
            return Err(ChaosError::UnknownWorker { worker, known });
        };
        proxies.iter().for_each(act);
        Ok(())
    }

    /// Inserting is all that happens under the lock, so a poisoned one is usable.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Vec<Proxy>>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChaosInjector for Proxies {
    fn delay_messages(
        &self,
        worker: &str,
        delay: Duration,
        jitter: Duration,
    ) -> Result<(), ChaosError> {
        self.each(worker, |proxy| {
            change(proxy, |link| link.delay(delay).jitter(jitter));
        })
    }

    fn drop_messages(&self, worker: &str, share: Share) -> Result<(), ChaosError> {
        match share {
            Share::NONE => self.each(worker, Proxy::release),
            Share::ALL => self.each(worker, Proxy::stall),
            Share(_) => Err(ChaosError::Unsupported {
                verb: "drop_messages",
                why: "TCP sends again what is lost; use all or none, or a delay with jitter",
            }),
        }
    }

    fn duplicate_messages(&self, _: &str, _: Share) -> Result<(), ChaosError> {
        Err(ChaosError::Unsupported {
            verb: "duplicate_messages",
            why: "TCP delivers every byte once; use the faulty store",
        })
    }

    fn reorder_messages(&self, _: &str, _: Duration) -> Result<(), ChaosError> {
        Err(ChaosError::Unsupported {
            verb: "reorder_messages",
            why: "TCP delivers in order; use the faulty store, or a delay with jitter",
        })
    }

    fn slow_down_worker(&self, worker: &str, each: Duration) -> Result<(), ChaosError> {
        let throughput = if each.is_zero() {
            Throughput::Unlimited
        } else {
            Throughput::OnePieceEvery(each)
        };
        self.each(worker, |proxy| {
            change(proxy, |link| link.throughput(throughput))
        })
    }

    fn partition_network(&self, workers: &[String], cut: Blocked) -> Result<(), ChaosError> {
        for worker in workers {
            self.each(worker, |_| {})?;
        }
        workers.iter().try_for_each(|worker| {
            self.each(worker, |proxy| {
                if cut.holds_requests() {
                    proxy.hold(Direction::ToServer);
                }
                if cut.holds_answers() {
                    proxy.hold(Direction::ToClient);
                }
            })
        })
    }

    fn heal(&self) {
        for proxy in self.lock().values().flat_map(|proxies| proxies.iter()) {
            proxy.heal();
        }
    }
}

fn change(proxy: &Proxy, change: impl Fn(Link) -> Link) {
    for direction in BOTH {
        proxy.set_link(direction, change(proxy.link(direction)));
    }
}

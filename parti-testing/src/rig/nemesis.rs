//! Real servers, a proxy for each client before them, and a schedule of faults that is repeatable.
//!
//! It is separate from the proxy and the servers because it decides which fault comes when. What always
//! holds: the schedule follows from its seed alone, one fault is over before the next begins, and
//! after the last one everything is healed and the cluster is whole.
//!
//! ```no_run
//! use std::time::Duration;
//! use parti_testing::rig::nats_server::ServerOptions;
//! use parti_testing::rig::nemesis::{Arena, schedule};
//!
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mut arena = Arena::start(3, &ServerOptions::default(), 4, 7, "KV_parti_mix")?;
//! println!("client 0 connects to {}", arena.url(0)?);
//! let steps = schedule(7, Duration::from_secs(20), arena.clients(), arena.nodes());
//! arena.run_faults(&steps, &mut |step| println!("{step}"))?; // blocks
//! # Ok(())
//! # }
//! ```

use core::fmt;
use std::io;
use std::thread::sleep;
use std::time::Duration;

use crate::kit::chaos::{Blocked, ChaosInjector};
use crate::kit::random::Random;
use crate::rig::nats_cluster::NatsCluster;
use crate::rig::nats_server::{ServerError, ServerOptions};
use crate::rig::proxies::Proxies;
use crate::rig::proxy::Proxy;

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The node is stopped (SIGSTOP), its connections stay open.
    Pause {
        /// Which node.
        node: usize,
    },
    /// The node is killed (SIGKILL) and started again on its data.
    Crash {
        /// Which node.
        node: usize,
    },
    /// The node that leads the stream is killed, and started again after the failover.
    CrashLeader,
    /// The client is cut off, in one direction or both.
    NetworkPartition {
        /// Which client.
        client: usize,
        /// What does not arrive.
        blocked: Blocked,
    },
    /// The client's connections are reset, several times.
    Reset {
        /// Which client.
        client: usize,
    },
    /// The client's connections are dead and it is not told.
    HalfOpen {
        /// Which client.
        client: usize,
    },
    /// The client's messages are late.
    Delay {
        /// Which client.
        client: usize,
    },
}

/// A fault, how long it lasts, and how long it is calm after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduledFault {
    /// The fault.
    pub fault: Fault,
    /// How long it lasts.
    pub lasts: Duration,
    /// How long nothing happens then.
    pub calm: Duration,
}

impl fmt::Display for ScheduledFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} for {} ms", self.fault, self.lasts.as_millis())
    }
}

/// The faults of a seed, about as long as asked for in all.
#[must_use]
pub fn schedule(
    seed: u64,
    duration: Duration,
    clients: usize,
    nodes: usize,
) -> Vec<ScheduledFault> {
    let mut random = Random::new(seed, "schedule");
    let (mut steps, mut spent) = (Vec::new(), Duration::ZERO);
    // Every kind comes once before one comes again.
    let mut kinds: Vec<u64> = Vec::new();
    while spent < duration {
        if kinds.is_empty() {
            kinds = (0..8).collect();
        }
        let kind = kinds.swap_remove(random.below(kinds.len() as u64) as usize);
        let client = random.below(clients.max(1) as u64) as usize;
        let node = random.below(nodes.max(1) as u64) as usize;
        let fault = match kind {
            0 => Fault::Pause { node },
            1 => Fault::Crash { node },
            2 => Fault::CrashLeader,
            3 => Fault::Reset { client },
            4 => Fault::HalfOpen { client },
            5 => Fault::Delay { client },
            _ => {
                let blocked =
                    [Blocked::Both, Blocked::Requests, Blocked::Replies][random.below(3) as usize];
                Fault::NetworkPartition { client, blocked }
            }
        };
        let step = ScheduledFault {
            fault,
            lasts: Duration::from_millis(150 + random.below(1350)),
            calm: Duration::from_millis(100 + random.below(600)),
        };
        spent += step.lasts + step.calm;
        steps.push(step);
    }
    steps
}

/// Servers with clients, and the faults that can hit either.
#[derive(Debug)]
pub struct Arena {
    cluster: NatsCluster,
    proxies: Proxies,
    clients: usize,
    stream: String,
}

impl Arena {
    /// Starts so many nodes, and before each of them a proxy for each client. The stream is the one
    /// whose leader is killed.
    ///
    /// # Errors
    /// [`ServerError`]; nothing is left running.
    pub fn start(
        nodes: usize,
        options: &ServerOptions,
        clients: usize,
        seed: u64,
        stream: &str,
    ) -> Result<Self, ServerError> {
        let cluster = NatsCluster::start(nodes, options)?;
        let proxies = Proxies::new(cluster.addresses(), seed);
        Ok(Self {
            cluster,
            proxies,
            clients,
            stream: stream.to_owned(),
        })
    }

    /// Where a client connects.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn url(&self, client: usize) -> io::Result<String> {
        self.proxies.url(&name(client))
    }

    /// The servers themselves, without proxies before them.
    pub const fn cluster(&mut self) -> &mut NatsCluster {
        &mut self.cluster
    }

    /// How many clients there are.
    #[must_use]
    pub const fn clients(&self) -> usize {
        self.clients
    }

    /// How many nodes there are.
    #[must_use]
    pub const fn nodes(&self) -> usize {
        self.cluster.len()
    }

    /// Carries out the steps, telling each before it begins, and heals everything. Blocks as long
    /// as they take.
    ///
    /// # Errors
    /// When a server does not come back; the others are healed.
    pub fn run_faults(
        &mut self,
        steps: &[ScheduledFault],
        tell: &mut dyn FnMut(&ScheduledFault),
    ) -> Result<(), ServerError> {
        for step in steps {
            tell(step);
            self.carry_out(step)?;
            sleep(step.calm);
        }
        self.proxies.heal();
        self.cluster.wait_until_whole()
    }

    fn carry_out(&mut self, step: &ScheduledFault) -> Result<(), ServerError> {
        match step.fault {
            Fault::Pause { node } => {
                self.cluster.node(node).pause()?;
                sleep(step.lasts);
                self.cluster.node(node).resume()?;
            }
            Fault::Crash { node } => self.crash(node, step.lasts)?,
            Fault::CrashLeader => {
                let leader = self.cluster.wait_for_stream_leader(&self.stream)?;
                self.crash(leader, step.lasts)?;
            }
            Fault::NetworkPartition { client, blocked } => {
                let done = self.proxies.partition_network(&[name(client)], blocked);
                done.map_err(io::Error::other)?;
                sleep(step.lasts);
            }
            Fault::Reset { client } => {
                for _ in 0..3 {
                    self.proxies(client, Proxy::reset)?;
                    sleep(step.lasts / 3);
                }
            }
            Fault::HalfOpen { client } => {
                self.proxies(client, Proxy::half_open)?;
                sleep(step.lasts);
            }
            Fault::Delay { client } => {
                let (delay, jitter) = (Duration::from_millis(40), Duration::from_millis(200));
                let delayed = self.proxies.delay_messages(&name(client), delay, jitter);
                delayed.map_err(io::Error::other)?;
                sleep(step.lasts);
            }
        }
        self.proxies.heal();
        Ok(())
    }

    fn crash(&mut self, node: usize, lasts: Duration) -> Result<(), ServerError> {
        self.cluster.node(node).kill()?;
        sleep(lasts);
        self.cluster.node(node).restart()?;
        // One crash at a time: two dead nodes of three are an outage and no failover.
        self.cluster.wait_until_whole()
    }

    fn proxies(&self, client: usize, act: impl Fn(&Proxy)) -> io::Result<()> {
        self.proxies.proxies(&name(client))?.iter().for_each(act);
        Ok(())
    }
}

fn name(client: usize) -> String {
    format!("client-{client}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A schedule that cannot be repeated is a failure that cannot be repeated.
    #[test]
    fn a_seed_repeats_the_schedule_and_every_kind_of_fault_comes() {
        let twenty = Duration::from_secs(20);
        let steps = schedule(7, twenty, 4, 3);
        assert_eq!(steps, schedule(7, twenty, 4, 3));
        assert_ne!(steps, schedule(8, twenty, 4, 3));
        let kinds: [fn(&Fault) -> bool; 7] = [
            |fault| *fault == Fault::CrashLeader,
            |fault| matches!(fault, Fault::Pause { node } if *node < 3),
            |fault| matches!(fault, Fault::Crash { node } if *node < 3),
            |fault| matches!(fault, Fault::NetworkPartition { client, .. } if *client < 4),
            |fault| matches!(fault, Fault::Reset { client } if *client < 4),
            |fault| matches!(fault, Fault::HalfOpen { client } if *client < 4),
            |fault| matches!(fault, Fault::Delay { client } if *client < 4),
        ];
        for (number, kind) in kinds.into_iter().enumerate() {
            assert!(steps.iter().any(|step| kind(&step.fault)), "{number}");
        }
    }
}

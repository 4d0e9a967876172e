//! Several real nats-servers as one cluster: who leads, and what happens when a node dies.
//!
//! It is separate from the single server because a cluster has questions of its own: is it whole,
//! which node leads a stream. They are answered by the servers' monitoring pages and not by the
//! JetStream API, so they work while no client can connect. What always holds: a node keeps its
//! ports and its data over a restart, clients learn no other address than the ones they are given
//! (so none of them gets around a [proxy](crate::rig::proxy)), and nodes talk to each other through
//! proxies alone, one for each pair and direction of connecting, so that the cluster can be split.
//!
//! ```no_run
//! use parti_testing::rig::nats_cluster::NatsCluster;
//! use parti_testing::rig::nats_server::ServerOptions;
//!
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mut cluster = NatsCluster::start(3, &ServerOptions::default())?;
//! println!("connect to {}", cluster.url());
//! // ... a client makes the stream `KV_parti_orders` with three replicas ...
//! let leader = cluster.wait_for_stream_leader("KV_parti_orders")?;
//! cluster.node(leader).kill()?;
//! let next = cluster.wait_for_stream_leader("KV_parti_orders")?;
//! assert_ne!(leader, next);
//! cluster.node(leader).restart()?; // the same ports and data
//! cluster.wait_until_whole()?;
//! cluster.split(&[next]); // alone on its side, with its clients
//! let third = cluster.wait_for_stream_leader_among("KV_parti_orders", &[leader, 3 - leader - next])?;
//! assert_ne!(third, next);
//! cluster.heal();
//! # Ok(())
//! # }
//! ```

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::rig::nats_server::{NatsServer, ServerError, ServerOptions};
use crate::rig::proxy::Proxy;

/// How long a cluster may take until a leader is elected or a node has caught up.
const ELECTION_MAX: Duration = Duration::from_secs(60);
/// How long between two looks at the monitoring pages.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How long a monitoring page may take.
const PAGE_MAX: Duration = Duration::from_secs(2);
/// How often the start is tried when other processes took a port in between.
const START_ATTEMPTS: usize = 3;
/// What nodes tell each other of where they listen, a port where nobody does: whom a node knows by
/// hearsay it would connect to directly, around the proxies.
const NOWHERE: &str = "127.0.0.1:9";

/// Several servers with one JetStream. Dropping it kills them and removes their data.
#[derive(Debug)]
pub struct NatsCluster {
    nodes: Vec<Node>,
    ways: Vec<Way>,
}

#[derive(Debug)]
struct Node {
    server: NatsServer,
    monitoring: SocketAddr,
}

/// How one node connects to another.
#[derive(Debug)]
struct Way {
    from: usize,
    to: usize,
    proxy: Proxy,
}

impl NatsCluster {
    /// Starts so many nodes (three, or one) and waits until JetStream has a leader that sees all
    /// of them.
    ///
    /// # Errors
    /// [`ServerError`]; nothing is left running.
    pub fn start(nodes: usize, options: &ServerOptions) -> Result<Self, ServerError> {
        let mut failure = None;
        for _ in 0..START_ATTEMPTS {
            match Self::try_start(nodes, options) {
                Ok(cluster) => return Ok(cluster),
                Err(error @ ServerError::NotReady { .. }) => failure = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(failure.unwrap_or_else(|| ServerError::NotReady { log: String::new() }))
    }

    fn try_start(count: usize, options: &ServerOptions) -> Result<Self, ServerError> {
        // Bound together, so that no port is given twice, and let go just before they are used.
        let ports = (0..2 * count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let ports: Vec<TcpListener> = ports.collect::<Result<_, _>>()?;
        let addresses = ports.iter().map(TcpListener::local_addr);
        let addresses: Vec<SocketAddr> = addresses.collect::<Result<_, _>>()?;
        drop(ports);
        let (routes, pages) = addresses.split_at(count);
        let ways = ways(routes)?;
        // A server greets before its cluster is whole, so they can be started one by one.
        let nodes = (0..count).map(|number| {
            let config = config(number, routes[number], &ways, pages[number]);
            let server = NatsServer::start(options.clone().config(&config))?;
            let monitoring = pages[number];
            Ok(Node { server, monitoring })
        });
        let nodes: Vec<Node> = nodes.collect::<Result<_, ServerError>>()?;
        let cluster = Self { nodes, ways };
        cluster.wait_until_whole()?;
        Ok(cluster)
    }

    /// Where clients connect: every node, separated by commas. The same after restarts.
    #[must_use]
    pub fn url(&self) -> String {
        let urls: Vec<_> = self.nodes.iter().map(|node| node.server.url()).collect();
        urls.join(",")
    }

    /// The client addresses in the order of the nodes, such as for proxies before them.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let nodes = self.nodes.iter();
        nodes.map(|node| node.server.address()).collect()
    }

    /// A node, to kill, pause, resume or restart it.
    ///
    /// # Panics
    /// When there is no node of that number, which is a mistake of the test.
    pub fn node(&mut self, number: usize) -> &mut NatsServer {
        match self.nodes.get_mut(number) {
            Some(node) => &mut node.server,
            None => panic!("there is no node {number}"),
        }
    }

    /// Cuts every connection between these nodes and all others, in both directions: what is sent is
    /// held. Clients are not touched. Further calls cut more.
    pub fn split(&self, side: &[usize]) {
        let across = |way: &&Way| side.contains(&way.from) != side.contains(&way.to);
        self.ways
            .iter()
            .filter(across)
            .for_each(|way| way.proxy.stall());
    }

    /// Ends [`NatsCluster::split`]; what was held arrives now.
    pub fn heal(&self) {
        self.ways.iter().for_each(|way| way.proxy.heal());
    }

    /// How many nodes there are, dead ones included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no node.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The node that leads JetStream's meta layer, if one says so of itself.
    #[must_use]
    pub fn meta_leader(&self) -> Option<usize> {
        let pages = self.pages("/jsz");
        let mut pages = pages.into_iter();
        pages.find_map(|(number, page)| (meta_leader(&page)? == number).then_some(number))
    }

    /// The node that leads a stream, if one says so of itself.
    #[must_use]
    pub fn stream_leader(&self, stream: &str) -> Option<usize> {
        let pages = self.pages("/jsz?accounts=true&streams=true");
        let mut pages = pages.into_iter();
        pages.find_map(|(number, page)| (stream_leader(&page, stream)? == number).then_some(number))
    }

    /// The same, asking only these nodes: a leader that is cut off goes on saying so for a time.
    #[must_use]
    pub fn stream_leader_among(&self, stream: &str, nodes: &[usize]) -> Option<usize> {
        let leads = |&number: &usize| {
            let page = self.page(number, "/jsz?accounts=true&streams=true");
            page.and_then(|page| stream_leader(&page, stream)) == Some(number)
        };
        nodes.iter().copied().find(leads)
    }

    /// The last sequence number of a stream as a node has it, if it answers and has one.
    #[must_use]
    pub fn last_sequence(&self, number: usize, stream: &str) -> Option<u64> {
        let page = self.page(number, "/jsz?accounts=true&streams=true")?;
        stream_detail(&page, stream)?["state"]["last_seq"].as_u64()
    }

    /// A monitoring page of a node, such as `/varz`; `None` when it does not answer.
    #[must_use]
    pub fn page(&self, number: usize, path: &str) -> Option<Value> {
        page(self.nodes.get(number)?.monitoring, path)
    }

    /// Waits until JetStream has a leader and every node is with it and has caught up. With one
    /// node: until JetStream answers.
    ///
    /// # Errors
    /// [`ServerError::NotReady`] after a minute.
    pub fn wait_until_whole(&self) -> Result<(), ServerError> {
        self.wait("JetStream has a leader and all nodes", || {
            let pages = self.pages("/jsz");
            let healthy = self.pages("/healthz");
            let mut pages = pages.into_iter();
            let whole = pages.any(|(number, page)| self.is_whole(number, &page));
            let well = |(_, page): &(usize, Value)| page["status"] == "ok";
            (whole && healthy.len() == self.len() && healthy.iter().all(well)).then_some(())
        })
    }

    /// Waits until a living node leads the stream; its number.
    ///
    /// # Errors
    /// [`ServerError::NotReady`] after a minute.
    pub fn wait_for_stream_leader(&self, stream: &str) -> Result<usize, ServerError> {
        let what = format!("{stream} has a leader");
        self.wait(&what, || self.stream_leader(stream))
    }

    /// Waits until one of these nodes leads the stream; its number.
    ///
    /// # Errors
    /// [`ServerError::NotReady`] after a minute.
    pub fn wait_for_stream_leader_among(
        &self,
        stream: &str,
        nodes: &[usize],
    ) -> Result<usize, ServerError> {
        let what = format!("{stream} has a leader among {nodes:?}");
        self.wait(&what, || self.stream_leader_among(stream, nodes))
    }

    fn is_whole(&self, number: usize, page: &Value) -> bool {
        if self.len() == 1 {
            return page["server_id"].is_string() && page["disabled"].is_null();
        }
        let replicas = page["meta_cluster"]["replicas"].as_array();
        let here = |replica: &&Value| replica["current"] == true && replica["offline"] != true;
        let current = replicas.map_or(0, |all| all.iter().filter(here).count());
        meta_leader(page) == Some(number) && current + 1 == self.len()
    }

    fn wait<T>(
        &self,
        what: &str,
        mut condition: impl FnMut() -> Option<T>,
    ) -> Result<T, ServerError> {
        let deadline = Instant::now() + ELECTION_MAX;
        loop {
            if let Some(found) = condition() {
                return Ok(found);
            }
            if Instant::now() > deadline {
                let logs = self.nodes.iter().map(|node| node.server.log_end());
                let logs: Vec<_> = logs.collect();
                let log = format!("not within {ELECTION_MAX:?}: {what}\n{}", logs.join("\n"));
                return Err(ServerError::NotReady { log });
            }
            sleep(LOOK_INTERVAL);
        }
    }

    /// A page of every node that answers.
    fn pages(&self, path: &str) -> Vec<(usize, Value)> {
        let nodes = self.nodes.iter().enumerate();
        let living = nodes.filter(|(_, node)| node.server.pid().is_some());
        let pages = living.map(|(number, node)| (number, page(node.monitoring, path)));
        pages
            .filter_map(|(number, page)| Some((number, page?)))
            .collect()
    }
}

/// A proxy for each node on its way to each other one.
fn ways(routes: &[SocketAddr]) -> Result<Vec<Way>, ServerError> {
    let pairs = (0..routes.len()).flat_map(|from| (0..routes.len()).map(move |to| (from, to)));
    let ways = pairs.filter(|(from, to)| from != to).map(|(from, to)| {
        let proxy = Proxy::start(routes[to], 0)?;
        Ok(Way { from, to, proxy })
    });
    ways.collect()
}

fn config(number: usize, own: SocketAddr, ways: &[Way], page: SocketAddr) -> String {
    let mut config = format!("server_name: s{number}\nhttp: \"{page}\"\n");
    let ways = ways.iter().filter(|way| way.from == number);
    let urls: Vec<_> = ways.map(|way| way.proxy.url()).collect();
    if !urls.is_empty() {
        config.push_str(&format!(
            "cluster {{ name: c, listen: \"{own}\", advertise: {NOWHERE:?}, no_advertise: true, \
             routes: {urls:?} }}"
        ));
    }
    config
}

fn number_of(name: &Value) -> Option<usize> {
    name.as_str()?.strip_prefix('s')?.parse().ok()
}

fn meta_leader(page: &Value) -> Option<usize> {
    number_of(&page["meta_cluster"]["leader"])
}

fn stream_detail<'a>(page: &'a Value, stream: &str) -> Option<&'a Value> {
    let accounts = page["account_details"].as_array()?;
    let mut streams = accounts
        .iter()
        .filter_map(|account| account["stream_detail"].as_array())
        .flatten();
    streams.find(|detail| detail["name"] == stream)
}

fn stream_leader(page: &Value, stream: &str) -> Option<usize> {
    let found = stream_detail(page, stream)?;
    // A single server tells no cluster for its streams: it leads them all.
    let leader = &found["cluster"]["leader"];
    if leader.is_null() && page["meta_cluster"].is_null() {
        Some(0)
    } else {
        number_of(leader)
    }
}

/// A monitoring page as JSON, or `None` when the server does not answer in time.
fn page(address: SocketAddr, path: &str) -> Option<Value> {
    let mut stream = TcpStream::connect_timeout(&address, PAGE_MAX).ok()?;
    stream.set_read_timeout(Some(PAGE_MAX)).ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    serde_json::from_str(body).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A wrong reading of the pages lets a test kill a follower and believe it was the leader.
    #[test]
    fn leaders_are_read_from_the_monitoring_pages() {
        let streams = json!([
            {"name": "KV_a", "cluster": {"name": "c", "leader": "s2"}},
            {"name": "KV_b", "cluster": {"name": "c"}},
        ]);
        let page = json!({
            "meta_cluster": {"name": "c", "leader": "s1", "cluster_size": 3},
            "account_details": [{"name": "$G", "stream_detail": streams}],
        });
        assert_eq!(meta_leader(&page), Some(1));
        assert_eq!(stream_leader(&page, "KV_a"), Some(2));
        assert_eq!(stream_leader(&page, "KV_b"), None, "no leader now");
        assert_eq!(stream_leader(&page, "KV_c"), None, "no such stream");
        let details = json!([{"name": "$G", "stream_detail": [{"name": "KV_a"}]}]);
        let alone = json!({ "account_details": details });
        assert_eq!(stream_leader(&alone, "KV_a"), Some(0));
    }
}

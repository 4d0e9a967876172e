//! What becomes of some effects in the small world: notices, revocations, probes.

use alloc::vec::Vec;

use super::World;
use crate::io::effect::RevokeCause;
use crate::io::event::Event;
use crate::io::grant::Grant;
use crate::io::notice::Notice;
use crate::model::state::State;
use crate::ports::liveness::{ProbeAnswer, ProbeId};

impl World {
    pub(super) fn note(&mut self, index: usize, notice: Notice) {
        if let Notice::StateChanged { from, to } = &notice {
            State::transition(*from, *to).expect("a possible step");
        }
        if let Notice::Planned { cause, .. } = &notice {
            self.plans.push((self.now, *cause));
        }
        if let Notice::Committed { evicted, .. } = &notice {
            let evicted = evicted.iter().map(|worker| (self.now, worker.clone()));
            self.evictions.extend(evicted);
        }
        self.nodes[index].notices.push(notice);
    }

    pub(super) fn revoke(&mut self, index: usize, grants: Vec<Grant>, cause: RevokeCause) {
        let node = &mut self.nodes[index];
        node.revoked
            .extend(grants.iter().map(|grant| (grant.partition.clone(), cause)));
        if node.slow {
            node.kept_back.extend(grants);
            return;
        }
        for grant in &grants {
            node.held.remove(&grant.partition);
        }
        self.inbox.push_back((index, Event::Released { grants }));
    }

    /// Ends a process at once: nothing of it runs, and anyone who asks is told that there is nobody.
    pub(in crate::core::tests) fn kill(&mut self, node: usize) {
        self.nodes[node].cut_off = true;
        self.nodes[node].answers_for = None;
    }

    /// A probe is answered at once, by the node that answers for the session; a node that is cut off
    /// and was not killed says nothing.
    pub(super) fn probe(&mut self, index: usize, probe: ProbeId) {
        let asked = self
            .nodes
            .iter()
            .find(|node| node.answers_for == Some(probe.session()));
        let answer = match asked {
            None => ProbeAnswer::Nobody,
            Some(node) if node.cut_off => ProbeAnswer::Silence,
            Some(_) => ProbeAnswer::Alive,
        };
        let asks = &self.nodes[index];
        let of_others = asks
            .told_of_others
            .filter(|_| asks.answers_for != Some(probe.session()));
        let answer = asks.told.or(of_others).unwrap_or(answer);
        self.inbox
            .push_back((index, Event::Probed { probe, answer }));
    }
}

//! Getting ready in the world: it takes until a script says so.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::World;
use crate::io::event::Event;
use crate::model::preparation::Preparation;

impl World {
    pub(super) fn prepare(&mut self, index: usize, preparations: Vec<Preparation>) {
        let node = &mut self.nodes[index];
        for preparation in preparations {
            let key = preparation.partition.clone();
            node.warmth.push(format!("prepare {key}"));
            let before = node.preparing.insert(key, preparation);
            assert_eq!(before, None, "told twice");
        }
    }

    pub(super) fn withdraw(&mut self, index: usize, preparations: Vec<Preparation>) {
        let node = &mut self.nodes[index];
        for preparation in preparations {
            node.warmth
                .push(format!("withdraw {}", preparation.partition));
            node.preparing.remove(&preparation.partition);
        }
    }

    /// A node says of everything it gets ready for that it is, or why it cannot take it.
    pub(in crate::core::tests) fn warm(&mut self, node: usize, failing: Option<&str>) {
        let all = self.nodes[node].preparing.values().cloned();
        for preparation in all.collect::<Vec<_>>() {
            let failing = failing.map(ToString::to_string);
            let event = Event::Prepared {
                preparation,
                failing,
            };
            self.tell(node, event);
        }
    }
}

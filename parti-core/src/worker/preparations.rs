//! Preparations: what this process gets ready for because its record says so.
//!
//! They are separate from what is held because they give no right to anything: they need no lease, and
//! nobody waits for their end but a move that can wait. What always holds: each that the driver was told
//! of is assigned or withdrawn in the end, once; what is told of how it went names the preparation, so
//! that it counts for no other.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::io::effect::Effect;
use crate::link::cx::Cx;
use crate::model::id::{Token, Version};
use crate::model::partition::PartitionKey;
use crate::model::preparation::Preparation;
use crate::planted::Planted;
use crate::records::record::{Prepared, RejectedAt};
use crate::worker::rejections::Rejections;

/// The most preparations that are told as ended at once. What is told first is moved first; then there
/// is room.
const MAX_TOLD: usize = 256;
/// The most bytes of their keys.
const MAX_BYTES: usize = 16 << 10;

/// What this process gets ready for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Preparations(BTreeMap<PartitionKey, Underway>);

#[derive(Clone, Copy, Debug)]
struct Underway {
    version: Version,
    /// Whether it failed, once it has ended.
    failed: Option<bool>,
}

impl Preparations {
    /// A newer record lists these; what it grants is still to be assigned.
    pub(crate) fn take_in(
        &mut self,
        cx: &mut Cx<'_>,
        listed: &[Preparation],
        is_granted: impl Fn(&PartitionKey) -> bool,
        rejections: &mut Rejections,
    ) {
        let now: BTreeMap<&PartitionKey, Version> = listed
            .iter()
            .map(|told| (&told.partition, told.version))
            .collect();
        self.withdraw(cx, rejections, |key, underway| {
            now.get(key) != Some(&underway.version) && !is_granted(key)
        });
        let mut begun = Vec::new();
        for told in listed {
            if self.0.contains_key(&told.partition) {
                continue;
            }
            let underway = Underway {
                version: told.version,
                failed: None,
            };
            self.0.insert(told.partition.clone(), underway);
            begun.push(told.clone());
        }
        if !begun.is_empty() {
            let preparations = begun;
            cx.push(Effect::Prepare { preparations });
        }
    }

    /// One has ended. Whether that is news.
    pub(crate) fn ended(
        &mut self,
        cx: &Cx<'_>,
        preparation: &Preparation,
        failing: Option<String>,
        rejections: &mut Rejections,
    ) -> bool {
        let key = &preparation.partition;
        let underway = self.0.get_mut(key);
        let Some(underway) = underway.filter(|underway| {
            underway.version == preparation.version && underway.failed.is_none()
        }) else {
            return false;
        };
        underway.failed = Some(failing.is_some());
        if let Some(reason) = failing {
            let (first, token) = (cx.config().rejection_quarantine(), preparation.version);
            let failed = (key, Token::from(token), RejectedAt::Preparation);
            rejections.fail(cx.now, failed, reason, first);
        }
        true
    }

    /// A partition is assigned, which ends its preparation.
    pub(crate) fn assigned(&mut self, key: &PartitionKey, rejections: &mut Rejections) {
        if let Some(underway) = self.0.remove(key) {
            // Whether it can be processed is found out now.
            rejections.forget(key, Token::from(underway.version));
        }
    }

    /// Nothing is to be got ready for any more.
    pub(crate) fn withdraw_all(&mut self, cx: &mut Cx<'_>, rejections: &mut Rejections) {
        self.withdraw(cx, rejections, |_, _| true);
    }

    /// What the session tells of those that have ended: what can go on first.
    pub(crate) fn told(&self, max_value: usize) -> Vec<Prepared> {
        let most = MAX_BYTES.min(max_value / 8);
        let with = |failed: bool| {
            let ended = self.0.iter();
            ended.filter(move |(_, underway)| underway.failed == Some(failed))
        };
        let mut bytes = 0;
        let told = with(false).chain(with(true)).take(MAX_TOLD);
        // One at least, so that it goes on.
        let told = told.take_while(|(key, _)| {
            let first = bytes == 0;
            bytes += key.encoded().len();
            first || bytes <= most
        });
        let told = told.map(|(key, underway)| Prepared {
            preparation: Preparation {
                partition: key.clone(),
                version: underway.version,
            },
            failed: underway.failed == Some(true),
        });
        told.collect()
    }

    fn withdraw(
        &mut self,
        cx: &mut Cx<'_>,
        rejections: &mut Rejections,
        ends: impl Fn(&PartitionKey, &Underway) -> bool,
    ) {
        let late =
            |underway: &Underway| underway.failed == Some(false) && cx.planted(Planted::LateReady);
        let gone = self.0.iter();
        let gone = gone.filter(|(key, underway)| ends(key, underway) && !late(underway));
        let gone = gone.map(|(partition, underway)| Preparation {
            partition: partition.clone(),
            version: underway.version,
        });
        let preparations: Vec<Preparation> = gone.collect();
        for gone in &preparations {
            self.0.remove(&gone.partition);
            rejections.taken_away(cx.now, &gone.partition);
        }
        if !preparations.is_empty() && !cx.planted(Planted::WithdrawnUntold) {
            cx.push(Effect::Withdraw { preparations });
        }
    }
}

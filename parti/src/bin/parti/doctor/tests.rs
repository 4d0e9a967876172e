//! Each trouble planted once: it is found, by its own code and nothing else; and nothing is found on a
//! group that is well.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parti::events::Term;
use parti::nats::OpenError;
use parti::store::StoreFault;
use parti::strategy::{ParkReason, StrategyId};
use parti::{Mode, Version};
use parti_core::directory::Directory;
use parti_core::{
    AssignmentRecord, Bulletin, Control, Entry, Head, Instant, Nonce, ParkedGroup, PartitionKey,
    ProblemKind, Quarantined, Record, RejectedAt, Rejection, Revision, Revoking, SessionRecord,
    StoreInfo, ToldProblem, WorkerId, WriteId, wire,
};

use super::Facts;
use super::findings::{Finding, Severity};
use crate::failure::{Exit, Failure};
use crate::look::groups;

/// For how long the planted group is looked at.
const WATCHED: Duration = Duration::from_secs(5);

/// A bucket in which something can be planted.
#[derive(Clone)]
struct Group {
    bucket: BTreeMap<String, Vec<u8>>,
    info: StoreInfo,
    answered: Duration,
    wall_ms: u64,
    /// Sessions that are not renewed while the doctor looks.
    silent: BTreeSet<String>,
    stored_list: Option<u128>,
}

impl Group {
    /// The bucket of a group that is well: two workers with six partitions each.
    async fn well() -> Self {
        let look = groups::well(2).await;
        let view = look.view();
        Self {
            bucket: look.entries,
            info: look.info,
            answered: Duration::from_millis(1),
            wall_ms: view.generations.last().map_or(0, |it| it.at_ms),
            silent: BTreeSet::new(),
            stored_list: None,
        }
    }

    fn edit(&mut self, key: &str, edit: impl FnOnce(&mut Record)) {
        let value = self.bucket.get_mut(key).expect("there");
        let mut record = wire::decode(value).expect("readable");
        edit(&mut record);
        *value = wire::encode(&record);
    }

    fn head(&mut self, edit: impl FnOnce(&mut Head)) {
        self.edit("head", |record| {
            let Record::Head(head) = record else {
                panic!("{record:?}")
            };
            edit(head);
        });
    }

    fn session(&mut self, worker: u32, edit: impl FnOnce(&mut SessionRecord)) {
        self.edit(&format!("w.worker-{worker}"), |record| {
            let Record::Session(session) = record else {
                panic!("{record:?}")
            };
            edit(session);
        });
    }

    fn sessions(&mut self, edit: impl Fn(&mut SessionRecord)) {
        for worker in 0..2 {
            self.session(worker, &edit);
        }
    }

    fn assignment(&mut self, worker: u32, edit: impl FnOnce(&mut AssignmentRecord)) {
        self.edit(&format!("a.worker-{worker}"), |record| {
            let Record::Assignment(record) = record else {
                panic!("{record:?}")
            };
            edit(record);
        });
    }

    /// What is known of it after a look in which every session is renewed that is not silent.
    fn facts(&self) -> Facts {
        let mut directory = Directory::default();
        let mut revision = 0;
        let mut put = |directory: &mut Directory, now, key: &String, value: &Vec<u8>| {
            revision += 1;
            let entry = Entry {
                at_ms: 0,
                key: key.clone(),
                revision: Revision::new(revision),
                value: Some(value.clone()),
            };
            directory.put(now, &entry);
        };
        let now = Instant::ORIGIN;
        directory.begin(now);
        for (key, value) in &self.bucket {
            put(&mut directory, now, key, value);
        }
        directory.caught_up(now, Revision::new(1_000));
        let first = directory.view(now);
        let now = now + WATCHED;
        for (key, value) in &self.bucket {
            if key.starts_with("w.") && !self.silent.contains(key) {
                put(&mut directory, now, key, value);
            }
        }
        let sizes = self.bucket.iter();
        Facts {
            first,
            last: directory.view(now),
            history: directory.history().clone(),
            info: self.info.clone(),
            answered: self.answered,
            watched: WATCHED,
            wall_ms: self.wall_ms,
            sizes: sizes
                .map(|(key, value)| (key.clone(), value.len()))
                .collect(),
            stored_list: self.stored_list,
        }
    }
}

fn codes(found: &[Finding]) -> Vec<&'static str> {
    found.iter().map(|finding| finding.code).collect()
}

fn leader(group: &Group) -> u32 {
    let head = wire::decode(&group.bucket["head"]).expect("readable");
    let Record::Head(head) = head else {
        panic!("{head:?}")
    };
    let leader = head.leader.expect("somebody leads").worker;
    u32::from(leader.as_str() == "worker-1")
}

fn told(group: &mut Group, kind: ProblemKind) {
    let leader = leader(group);
    group.session(leader, |session| {
        session.bulletin = Some(Bulletin {
            term: Term::new(1),
            problems: vec![ToldProblem {
                kind,
                lasting: Duration::from_secs(9),
                count: 3,
                detail: "as told".to_owned(),
            }],
        });
    });
}

type Plant = fn(&mut Group);

/// What is wrong with the store, what it is found as.
const STORE: [(&[&str], Plant); 7] = [
    (&["store-unfit"], |group| {
        group.info.faults.push(StoreFault {
            setting: "max_age".to_owned(),
            found: "1h".to_owned(),
            needed: "off".to_owned(),
        });
    }),
    (&["store-slow"], |group| {
        group.answered = Duration::from_secs(2)
    }),
    (&["record-large"], |group| group.info.max_value = 200),
    (&["record-unreadable"], |group| {
        group
            .bucket
            .insert("h.200".to_owned(), b"nonsense".to_vec());
    }),
    (&["key-foreign"], |group| {
        group.bucket.insert("notes".to_owned(), b"x".to_vec());
    }),
    (&["history-lost"], |group| {
        group.session(1, |session| session.known = Version::new(u64::MAX));
    }),
    (&["clock-ahead"], |group| group.wall_ms -= 3_600_000),
];

/// What is wrong with the leader or with partitions.
const GROUP: [(&[&str], Plant); 18] = [
    (&["no-leader"], |group| {
        group.head(|head| head.leader = None)
    }),
    (&["leader-silent", "worker-silent"], |group| {
        group.silent.insert(format!("w.worker-{}", leader(group)));
    }),
    (&["leaders-change"], |group| {
        for term in 2..6 {
            let slot = group
                .bucket
                .keys()
                .find(|key| key.starts_with("h."))
                .cloned();
            let mut record = wire::decode(&group.bucket[&slot.expect("one")]).expect("readable");
            let Record::Audit(entry) = &mut record else {
                panic!("{record:?}")
            };
            entry.term = Term::new(100 + term);
            entry.version = Version::new(256 * 9 + term);
            let key = format!("h.{term}");
            group.bucket.insert(key, wire::encode(&record));
        }
    }),
    (&["terms-futile"], |group| {
        group.head(|head| head.carried.futile = 3)
    }),
    (&["mode-not-held"], |group| {
        group.head(|head| head.agreed.holds = Mode::Overlap);
    }),
    (&["list-not-taken"], |group| group.stored_list = Some(1)),
    (&["request-waiting"], |group| {
        let control = Control {
            write: WriteId {
                nonce: Nonce::new(1),
                seq: 1,
            },
            author: "somebody".to_owned(),
            reason: "a test".to_owned(),
            lasts: None,
            pins: Vec::new(),
        };
        let value = wire::encode(&Record::Control(control));
        group
            .bucket
            .insert("ctl.trigger.worker-0".to_owned(), value);
    }),
    (&["leader-not-judging"], |group| {
        told(group, ProblemKind::NotJudging)
    }),
    (&["plan-failing"], |group| {
        told(group, ProblemKind::PlanFailing)
    }),
    (&["source-failing"], |group| {
        told(group, ProblemKind::SourceFailing)
    }),
    (&["commit-failing"], |group| {
        told(group, ProblemKind::CommitFailing)
    }),
    (&["slots-held"], |group| told(group, ProblemKind::SlotsHeld)),
    (&["leader-tells"], |group| {
        told(group, ProblemKind::Other(77))
    }),
    (&["two-owners"], |group| {
        let mut twice = None;
        group.assignment(0, |record| twice = record.granted.first().cloned());
        group.assignment(1, |record| record.granted.extend(twice));
    }),
    (&["partitions-unowned"], |group| {
        group.head(|head| head.partitions += 1);
    }),
    (&["partitions-parked"], |group| {
        let parked = ParkedGroup {
            reason: ParkReason::NoEligibleWorker,
            need: 1,
            needs: "zone=b".to_owned(),
            since_ms: 1,
            again_after: None,
            count: 1,
            partitions: vec![PartitionKey::new(["x"]).expect("valid")],
        };
        let record = parti_core::ParkedRecord {
            write: WriteId {
                nonce: Nonce::new(1),
                seq: 1,
            },
            version: Version::new(1),
            groups: vec![parked],
        };
        let value = wire::encode(&Record::Parked(record));
        group.bucket.insert("parked".to_owned(), value);
    }),
    (&["handoff-stuck"], |group| {
        let mut taken = None;
        group.assignment(0, |record| {
            let grant = record.granted.pop().expect("some");
            let (partition, since) = (grant.partition, record.version);
            taken = Some(partition.clone());
            let parked = None;
            record.revoking.push(Revoking {
                partition,
                since,
                parked,
            });
        });
        group.session(0, |session| session.draining.extend(taken));
        group.wall_ms += 3_600_000;
    }),
    (
        &["no-leader", "partitions-unowned", "no-workers"],
        |group| {
            group.bucket.retain(|key, _| !key.starts_with("w."));
            group.head(|head| head.leader = None);
        },
    ),
];

/// What is wrong with workers.
const WORKERS: [(&[&str], Plant); 11] = [
    (&["worker-silent"], |group| {
        group
            .silent
            .insert(format!("w.worker-{}", 1 - leader(group)));
    }),
    (&["worker-behind"], |group| {
        group.session(1, |session| session.applied = Version::ZERO);
    }),
    (&["no-capacity"], |group| {
        group.sessions(|session| session.capacity = 0)
    }),
    (&["settings-break"], |group| {
        group.session(1, |session| {
            session.settings.application = "billing".to_owned()
        });
        group.session(0, |session| {
            session.settings.application = "orders".to_owned()
        });
    }),
    (&["settings-break"], |group| {
        group.session(1, |session| session.settings.mode = Mode::Overlap);
    }),
    (&["settings-differ"], |group| {
        group.session(1, |session| {
            session.settings.strategy = StrategyId::new("other/1")
        });
    }),
    (&["settings-differ"], |group| {
        group.session(1, |session| session.lease -= Duration::from_millis(1));
    }),
    (&["list-differs"], |group| {
        group.session(1, |session| session.settings.list = Some(9));
    }),
    (&["partitions-rejected"], |group| {
        let mut own = None;
        group.assignment(1, |record| own = record.granted.first().cloned());
        let partition = own.expect("some").partition;
        group.session(1, |session| {
            session.rejections.push(Rejection {
                partition,
                at: RejectedAt::Processing,
                reason: "no disk".to_owned(),
            });
        });
    }),
    (&["worker-quarantined"], |group| {
        let worker = WorkerId::new("worker-1").expect("valid");
        group.head(|head| {
            head.carried.quarantined.push(Quarantined {
                worker,
                rest: Duration::from_secs(30),
                length: Duration::from_secs(60),
                forgiven: Duration::from_secs(600),
            });
        });
    }),
    (&["software-mixed"], |group| {
        group.session(1, |session| session.software = "parti/9.9.9".to_owned());
    }),
];

/// A doctor that misses what it is asked about sends people to the wrong place; one that finds something
/// on a group that is well is not asked again.
#[tokio::test]
async fn every_planted_trouble_is_found_by_its_name_and_none_where_there_is_none() {
    let well = Group::well().await;
    let found = well.facts().findings();
    assert!(found.is_empty(), "{found:#?}");
    let mut distinct: BTreeSet<&str> = BTreeSet::new();
    let plants = STORE.iter().chain(&GROUP).chain(&WORKERS);
    for (number, (expected, plant)) in plants.enumerate() {
        let mut group = well.clone();
        plant(&mut group);
        let found = group.facts().findings();
        assert_eq!(codes(&found), *expected, "{number}: {found:#?}");
        distinct.extend(*expected);
        for finding in found {
            assert!(finding.advice.ends_with(['.', '?']) && !finding.what.is_empty());
        }
    }
    assert!(distinct.len() >= 20, "{}", distinct.len());
}

/// Without a group to look at, what is wrong is the way to it.
#[test]
fn a_group_that_cannot_be_looked_at_is_a_finding_by_itself() {
    let address = "nats://h:1".to_owned();
    let cases = [
        (
            OpenError::Unreachable {
                address: address.clone(),
                reason: String::new(),
            },
            "no-answer",
            Exit::NoAnswer,
        ),
        (
            OpenError::Unauthorized {
                address,
                reason: String::new(),
            },
            "not-allowed",
            Exit::NotAllowed,
        ),
        (
            OpenError::JetStreamOff {
                reason: String::new(),
            },
            "server-unfit",
            Exit::Unfit,
        ),
        (
            OpenError::NoBucket {
                bucket: "parti_x".to_owned(),
            },
            "no-group",
            Exit::NotThere,
        ),
    ];
    for (error, code, exit) in cases {
        let failure = Failure::from(error);
        assert_eq!(failure.exit, exit);
        let finding = Finding::of_failure(failure);
        assert_eq!((finding.code, finding.severity), (code, Severity::Error));
    }
}

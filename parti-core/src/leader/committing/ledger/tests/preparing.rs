//! Planned moves to workers that prepare, and how many there are at once.

use super::*;

/// What a living slot says: what it prepares for and since when, and what of that has ended.
fn warm(mut slot: Slot, preparing: &[(u32, u64)], ended: &[(u32, u64, bool)]) -> Slot {
    let version = |&(rank, version): &(u32, u64)| (rank, Version::new(version));
    if let Some(page) = &mut slot.page {
        page.preparing = preparing.iter().map(version).collect();
    }
    let ended = ended
        .iter()
        .map(|&(rank, version, failed)| ((rank, Version::new(version)), failed));
    slot.warmth = Warmth {
        prepares: true,
        ended: ended.collect(),
        failing: BTreeSet::new(),
    };
    slot
}

fn owner(granted: &[u32]) -> Slot {
    slot(granted, &[], 4, &[])
}

fn gainer(preparing: &[(u32, u64)], ended: &[(u32, u64, bool)]) -> Slot {
    warm(owner(&[]), preparing, ended)
}

fn dead(granted: &[u32]) -> Slot {
    ended(owner(granted))
}

/// As `show`, and what each changed record has prepared, with the version.
fn told(mode: Mode, max_moves: Option<u32>, target: &[u32], slots: &[Slot]) -> String {
    let rules = Rules {
        mode,
        max_moves,
        bug: None,
    };
    let step = advance(rules, Version::new(5), target, slots, false, &|_| None);
    let prepares = step.changes.iter().filter_map(|(index, change)| {
        let Change::Write(page) = change else {
            return None;
        };
        let told = page.preparing.iter();
        let told: Vec<_> = told.map(|&(rank, since)| (rank, since.get())).collect();
        Some(format!("{index}~{told:?}"))
    });
    let prepares: Vec<String> = prepares.collect();
    format!("{} | {}", show(&step), prepares.join(" "))
}

fn exclusively(target: &[u32], slots: &[Slot]) -> String {
    told(Mode::Exclusive, None, target, slots)
}

fn both_modes(target: &[u32], slots: &[Slot], expected: &str) {
    for mode in [Mode::Exclusive, Mode::Overlap] {
        assert_eq!(told(mode, None, target, slots), expected, "{mode:?}");
    }
}

/// Taking a partition away before its next owner is ready leaves it without one for the whole warm-up.
#[test]
fn a_worker_that_prepares_is_told_first_and_nothing_is_taken_away() {
    let slots = [owner(&[0, 1]), gainer(&[], &[])];
    both_modes(&[0, 1], &slots, "1:+[] =[] -[] | 1 unfinished | 1~[(1, 5)]");
    let waiting = [owner(&[0, 1]), gainer(&[(1, 4)], &[])];
    both_modes(&[0, 1], &waiting, " | 1 unfinished | ");
}

/// A worker that does not prepare must pay no generation for those that do.
#[test]
fn a_move_to_a_worker_that_does_not_prepare_is_as_fast_as_ever() {
    let slots = [warm(owner(&[0, 1]), &[], &[]), owner(&[])];
    assert_eq!(
        exclusively(&[0, 1], &slots),
        "0:+[] =[0] -[1] | 1 unfinished | 0~[]"
    );
    assert_eq!(
        told(Mode::Overlap, None, &[0, 1], &slots),
        "0:+[] =[0] -[1] 1:+[1] =[] -[] | 0 unfinished | 0~[] 1~[]"
    );
}

/// Prepared at 3, withdrawn, prepared again at 4: a late word about the first must start nothing.
#[test]
fn only_the_end_of_the_preparation_that_is_named_counts() {
    for (ended, expected) in [
        (&[(1, 3, false)][..], " | 1 unfinished | "),
        (&[(0, 4, false)][..], " | 1 unfinished | "),
        (
            &[(1, 4, false)][..],
            "0:+[] =[0] -[1] | 1 unfinished | 0~[]",
        ),
        (&[(1, 4, true)][..], " | 1 unfinished | "),
    ] {
        let slots = [owner(&[0, 1]), gainer(&[(1, 4)], ended)];
        assert_eq!(exclusively(&[0, 1], &slots), expected, "{ended:?}");
    }
}

/// The preparation is named until the grant, so that a new leader gives the partition to nobody else.
#[test]
fn a_prepared_partition_is_granted_when_its_owner_has_acknowledged_and_not_before() {
    let ready = gainer(&[(1, 3)], &[(1, 3, false)]);
    let revoking = [slot(&[0], &[(1, 4)], 3, &[]), ready.clone()];
    assert_eq!(exclusively(&[0, 1], &revoking), " | 1 unfinished | ");
    let acknowledged = [slot(&[0], &[(1, 4)], 4, &[]), ready];
    assert_eq!(
        exclusively(&[0, 1], &acknowledged),
        "1:+[1] =[] -[] | 0 unfinished | 1~[]"
    );
}

/// A crash must not wait for a warm-up, and a preparation is no hold that would block anybody.
#[test]
fn what_loses_its_owner_goes_to_the_preparing_worker_ready_or_not() {
    for ended in [&[][..], &[(1, 4, false)], &[(1, 4, true)]] {
        let slots = [dead(&[0, 1]), gainer(&[(1, 4)], ended), owner(&[])];
        assert_eq!(
            exclusively(&[2, 1], &slots),
            "0:gone 1:+[1] =[] -[] 2:+[0] =[] -[] | 0 unfinished | 1~[] 2~[]",
            "{ended:?}"
        );
    }
    let elsewhere = [dead(&[1]), gainer(&[(1, 4)], &[]), owner(&[])];
    assert_eq!(
        exclusively(&[NOBODY, 2], &elsewhere),
        "0:gone 1:+[] =[] -[] 2:+[1] =[] -[] | 0 unfinished | 1~[] 2~[]"
    );
}

/// A worker that is not told keeps what it loaded for ever.
#[test]
fn what_is_to_go_elsewhere_or_stays_is_withdrawn() {
    let slots = || [owner(&[0, 1]), gainer(&[(1, 4)], &[]), gainer(&[], &[])];
    let stays = "1:+[] =[] -[] | 0 unfinished | 1~[]";
    both_modes(&[0, 0], &slots(), stays);
    let elsewhere = "1:+[] =[] -[] 2:+[] =[] -[] | 1 unfinished | 1~[] 2~[(1, 5)]";
    both_modes(&[0, 2], &slots(), elsewhere);
    assert_eq!(
        exclusively(&[0, NOBODY], &slots()),
        "0:+[] =[0] -[1] 1:+[] =[] -[] | 0 unfinished | 0~[] 1~[]"
    );
}

/// A worker that is gone, or has another incarnation, prepares for nothing any more.
#[test]
fn a_preparation_ends_with_the_incarnation_that_was_told() {
    let again = Slot {
        standing: Standing::Ended,
        living: Some(Epoch::new(9)),
        ..gainer(&[(1, 4)], &[(1, 4, false)])
    };
    let slots = [owner(&[0, 1]), again];
    both_modes(&[0, 1], &slots, "1:+[] =[] -[] | 1 unfinished | 1~[(1, 5)]");
    let gone = [owner(&[0, 1]), ended(gainer(&[(1, 4)], &[]))];
    both_modes(&[0, 1], &gone, "1:gone | 1 unfinished | ");
}

/// Nobody works on what its owner cannot process: a warm-up would only make that longer.
#[test]
fn what_its_owner_cannot_process_is_taken_away_at_once() {
    let mut failing = owner(&[0, 1]);
    failing.warmth.failing = BTreeSet::from([1]);
    let slots = [failing, gainer(&[], &[])];
    assert_eq!(
        exclusively(&[0, 1], &slots),
        "0:+[] =[0] -[1] | 1 unfinished | 0~[]"
    );
}

/// A big rebalance in one step stops everything at once.
#[test]
fn moves_beyond_the_bound_wait_for_those_on_their_way() {
    let two = |slots: &[Slot]| told(Mode::Exclusive, Some(2), &[1, 1, 1], slots);
    assert_eq!(
        two(&[owner(&[0, 1, 2]), gainer(&[], &[])]),
        "1:+[] =[] -[] | 3 unfinished | 1~[(0, 5), (1, 5)]"
    );
    let one_ready = gainer(&[(0, 4), (1, 4)], &[(0, 4, false)]);
    assert_eq!(
        two(&[owner(&[0, 1, 2]), one_ready]),
        "0:+[] =[1, 2] -[0] | 3 unfinished | 0~[]",
        "the next begins when the first is there"
    );
    let ready = gainer(&[(0, 3), (1, 3)], &[(0, 3, false)]);
    assert_eq!(
        two(&[slot(&[1, 2], &[(0, 4)], 4, &[]), ready]),
        "1:+[0] =[] -[] | 2 unfinished | 1~[(1, 3)]",
        "it counts until it is granted"
    );
    assert_eq!(
        two(&[owner(&[1, 2]), warm(owner(&[0]), &[(1, 3)], &[])]),
        "1:+[] =[0] -[] | 2 unfinished | 1~[(1, 3), (2, 5)]"
    );
    let cold = [owner(&[0, 1, 2]), owner(&[])];
    assert_eq!(two(&cold), "0:+[] =[2] -[0, 1] | 3 unfinished | 0~[]");
    assert_eq!(
        told(Mode::Overlap, Some(2), &[1, 1, 1], &cold),
        "0:+[] =[2] -[0, 1] 1:+[0, 1] =[] -[] | 1 unfinished | 0~[] 1~[]"
    );
}

/// What nobody holds any more must not wait for a bound that protects what is held.
#[test]
fn the_bound_holds_up_no_partition_without_an_owner() {
    let slots = [dead(&[0, 1, 2]), owner(&[])];
    assert_eq!(
        told(Mode::Exclusive, Some(1), &[1, 1, 1], &slots),
        "0:gone 1:+[0, 1, 2] =[] -[] | 0 unfinished | 1~[]"
    );
}

//! Whatever its durations are, a configuration is refused by name, or a core works with it.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{counts, secs};
use crate::config::{Config, ConfigBuilder, Preset};
use crate::core::tests::world::World;
use crate::io::event::{Event, StopMode};
use crate::model::state::State;
use crate::resilience::backoff::RetryPolicy;
use crate::resilience::breaker::BreakerSettings;

type Set = fn(ConfigBuilder, Duration) -> ConfigBuilder;

/// Every duration that can be set.
const DURATIONS: [(&str, Set); 26] = [
    ("heartbeat_interval", ConfigBuilder::heartbeat_interval),
    ("lease", ConfigBuilder::lease),
    ("detect_within", ConfigBuilder::detect_within),
    ("lease_margin", ConfigBuilder::lease_margin),
    ("request_timeout", ConfigBuilder::request_timeout),
    ("election_timeout", ConfigBuilder::election_timeout),
    ("election_jitter", ConfigBuilder::election_jitter),
    ("cold_start_window", ConfigBuilder::cold_start_window),
    ("planned_scale_window", ConfigBuilder::planned_scale_window),
    (
        "emergency_grace_period",
        ConfigBuilder::emergency_grace_period,
    ),
    (
        "recovery_grace_period",
        ConfigBuilder::recovery_grace_period,
    ),
    (
        "min_rebalance_interval",
        ConfigBuilder::min_rebalance_interval,
    ),
    ("operation_timeout", ConfigBuilder::operation_timeout),
    ("startup_timeout", ConfigBuilder::startup_timeout),
    ("shutdown_timeout", ConfigBuilder::shutdown_timeout),
    ("max_hold", ConfigBuilder::max_hold),
    ("drain_timeout", ConfigBuilder::drain_timeout),
    ("handoff_timeout", ConfigBuilder::handoff_timeout),
    ("apply_timeout", ConfigBuilder::apply_timeout),
    ("acknowledge_delay", ConfigBuilder::acknowledge_delay),
    ("reconcile_interval", ConfigBuilder::reconcile_interval),
    ("refresh_interval", ConfigBuilder::refresh_interval),
    ("probe_interval", ConfigBuilder::probe_interval),
    ("suspect_after", ConfigBuilder::suspect_after),
    ("retry", |builder, duration| {
        let initial = duration.clamp(Duration::from_nanos(1), secs(1));
        let policy = RetryPolicy::builder().initial(initial);
        let policy = policy.maximum(duration.max(initial)).build();
        builder.retry(policy.expect("coherent"))
    }),
    ("circuit_breaker", |builder, duration| {
        let timeout = duration.max(Duration::from_nanos(1));
        builder.circuit_breaker(BreakerSettings::new(5, 2, timeout).expect("coherent"))
    }),
];

fn built(settings: &[(usize, Duration)], preset: Preset) -> Result<ConfigBuilder, String> {
    let mut builder = Config::builder("g").preset(preset).expected_workers(1);
    for (index, duration) in settings {
        builder = DURATIONS[*index].1(builder, *duration);
    }
    let config = builder.clone().build().map_err(|error| error.to_string())?;
    let bounds = [config.convergence_bound(), config.recovery_bound()];
    assert!(bounds.into_iter().all(|bound| bound < Duration::MAX));
    Ok(builder)
}

/// A worker starts, another joins, the first leaves, all within a time in which they may do little.
fn works(builder: &ConfigBuilder) {
    let mut world = World::new(4);
    world.start(|_| builder.clone());
    world.run(secs(10));
    world.start(|_| builder.clone());
    world.run(secs(10));
    let mode = StopMode::Restart {
        hold: Duration::MAX,
    };
    world.tell(0, Event::Stop { mode });
    world.run(secs(10));
    world.tell(1, Event::ClockJumped { by: None });
    let mode = StopMode::Handoff;
    world.tell(1, Event::Stop { mode });
    world.run(secs(10));
}

/// `Duration::MAX` is what people write for "no limit": it ended the process, or the whole group when
/// the first worker joined.
#[test]
fn the_longest_and_the_shortest_of_each_duration_are_refused_by_name_or_work() {
    let extremes = [
        Duration::MAX,
        Duration::from_nanos(u64::MAX),
        secs(365 * 86_400 + 1),
        Duration::from_nanos(1),
        Duration::ZERO,
    ];
    for (index, (name, _)) in DURATIONS.into_iter().enumerate() {
        for (place, duration) in extremes.into_iter().enumerate() {
            match built(&[(index, duration)], Preset::Fast) {
                Ok(builder) => {
                    assert!(place > 2, "{name} = {duration:?} has an upper bound");
                    works(&builder);
                }
                Err(error) => assert!(error.contains(name), "{name} = {duration:?}: {error}"),
            }
        }
    }
}

/// What the bound says is as good as never has to work: nobody waits for it where nothing is amiss.
#[test]
fn a_year_where_it_is_allowed_holds_up_nothing_that_goes_well() {
    let year = secs(365 * 86_400);
    let generous = |builder: ConfigBuilder| {
        let builder = builder.preset(Preset::Fast).expected_workers(2);
        let builder = builder.operation_timeout(year).startup_timeout(year);
        let builder = builder.shutdown_timeout(year).drain_timeout(year);
        let builder = builder.handoff_timeout(year).apply_timeout(year);
        let builder = builder.refresh_interval(year).reconcile_interval(year);
        builder.cold_start_window(year).min_rebalance_interval(year)
    };
    let mut world = World::new(4);
    world.start(generous);
    world.start(generous);
    world.run(secs(10));
    assert_eq!(counts(&world), [2, 2]);
    let mode = StopMode::Handoff;
    world.tell(0, Event::Stop { mode });
    world.run(secs(10));
    assert_eq!(world.nodes[0].core.status().state, State::Shutdown);
    assert_eq!(counts(&world), [0, 4]);
}

fn durations() -> impl Strategy<Value = Duration> {
    prop_oneof![
        1 => Just(Duration::MAX),
        1 => Just(Duration::ZERO),
        1 => any::<u64>().prop_map(Duration::from_nanos),
        2 => any::<u64>().prop_map(Duration::from_secs),
        4 => (1_u64..5_000).prop_map(Duration::from_millis),
        4 => (1_u64..40_000_000).prop_map(Duration::from_secs),
    ]
}

fn settings() -> impl Strategy<Value = Vec<(usize, Duration)>> {
    vec((0..DURATIONS.len(), durations()), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Settings that are each fine can overflow together, and an error that names none of those
    /// that were made sends people looking in the wrong place.
    #[test]
    fn any_durations_are_refused_by_the_name_of_one_that_was_set_or_work(
        settings in settings(),
        preset in prop_oneof![Just(Preset::Default), Just(Preset::Fast), Just(Preset::Patient)],
    ) {
        match built(&settings, preset) {
            Ok(builder) => works(&builder),
            Err(error) => {
                let named = settings.iter().any(|(index, _)| error.contains(DURATIONS[*index].0));
                prop_assert!(named, "{}", error);
            }
        }
    }
}

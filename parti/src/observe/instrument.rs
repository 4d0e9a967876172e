//! Instruments: handles of the `metrics` facade, or nothing at all without the feature `metrics`.
//!
//! They are separate so that the code that measures exists once. What always holds: a handle is
//! looked up when a manager is built and never again, so that recording costs an atomic operation,
//! or a branch when no recorder is installed.

use crate::observe::catalogue::{CATALOGUE, Metric};
#[cfg(feature = "metrics")]
use crate::observe::catalogue::{MetricKind, MetricUnit};

#[cfg(feature = "metrics")]
pub(crate) use ::metrics::{Counter, Gauge, Histogram};
#[cfg(not(feature = "metrics"))]
pub(crate) use nothing::{Counter, Gauge, Histogram};

/// The values of a metric's own labels, in the order of the catalogue.
type Values<'a> = &'a [&'a str];

/// Makes instruments that carry the labels of one manager.
#[derive(Clone, Debug)]
pub(crate) struct Instruments {
    labels: Vec<(String, String)>,
}

impl Instruments {
    /// Instruments of this group, with labels the user added.
    pub(crate) fn new(group: &str, extra: &[(String, String)]) -> Self {
        let own = ("group".to_owned(), group.to_owned());
        Self {
            labels: std::iter::once(own).chain(extra.iter().cloned()).collect(),
        }
    }

    /// The first of these names that a label has already: one of the library's own, of which a recorder
    /// would keep either, one of Prometheus' own, or an earlier one.
    pub(crate) fn taken(extra: &[(String, String)]) -> Option<&str> {
        let own = CATALOGUE.iter().flat_map(|metric| metric.labels);
        let own: Vec<_> = own.chain(&["group", "le", "quantile"]).collect();
        let names = extra.iter().map(|(name, _)| name.as_str());
        let is_taken = |&(index, name): &(usize, &str)| {
            let earlier = &extra[..index];
            own.iter().any(|taken| **taken == name) || earlier.iter().any(|(n, _)| n == name)
        };
        names.enumerate().find(is_taken).map(|(_, name)| name)
    }

    /// Tells the recorder what each metric means.
    #[cfg(feature = "metrics")]
    pub(crate) fn describe() {
        for metric in CATALOGUE {
            let unit = match metric.unit {
                MetricUnit::Seconds => metrics::Unit::Seconds,
                MetricUnit::Count | MetricUnit::Boolean => metrics::Unit::Count,
            };
            let (name, meaning) = (metric.name, metric.meaning);
            match metric.kind {
                MetricKind::Counter => metrics::describe_counter!(name, unit, meaning),
                MetricKind::Gauge => metrics::describe_gauge!(name, unit, meaning),
                MetricKind::Histogram => metrics::describe_histogram!(name, unit, meaning),
            }
        }
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn counter(&self, metric: &Metric, values: Values<'_>) -> Counter {
        metrics::counter!(metric.name, self.labels(metric, values))
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn gauge(&self, metric: &Metric, values: Values<'_>) -> Gauge {
        metrics::gauge!(metric.name, self.labels(metric, values))
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn histogram(&self, metric: &Metric, values: Values<'_>) -> Histogram {
        metrics::histogram!(metric.name, self.labels(metric, values))
    }

    #[cfg(feature = "metrics")]
    fn labels(&self, metric: &Metric, values: Values<'_>) -> Vec<metrics::Label> {
        debug_assert_eq!(metric.labels.len(), values.len(), "{}", metric.name);
        let common = self.labels.iter().cloned();
        let common = common.map(|(name, value)| metrics::Label::new(name, value));
        let own = metric.labels.iter().zip(values);
        let own = own.map(|(&name, &value)| metrics::Label::new(name, value.to_owned()));
        common.chain(own).collect()
    }
}

/// Without the feature nothing is kept, and all of it is optimised away.
#[cfg(not(feature = "metrics"))]
#[allow(clippy::unused_self, reason = "the shape of the real ones")]
impl Instruments {
    pub(crate) const fn describe() {}

    pub(crate) fn counter(&self, metric: &Metric, _: Values<'_>) -> Counter {
        let (_, _) = (&self.labels, metric);
        Counter
    }

    pub(crate) fn gauge(&self, _: &Metric, _: Values<'_>) -> Gauge {
        Gauge
    }

    pub(crate) fn histogram(&self, _: &Metric, _: Values<'_>) -> Histogram {
        Histogram
    }
}

/// One instrument for each value of a label.
#[derive(Debug)]
pub(crate) struct ByLabel<I>(Vec<(&'static str, I)>);

impl<I> ByLabel<I> {
    pub(crate) fn new(
        values: impl IntoIterator<Item = &'static str>,
        make: impl Fn(&'static str) -> I,
    ) -> Self {
        Self(
            values
                .into_iter()
                .map(|value| (value, make(value)))
                .collect(),
        )
    }

    /// The instrument of a value; `None` for one that was not foreseen, which is not measured and
    /// fails tests.
    pub(crate) fn get(&self, value: &str) -> Option<&I> {
        let found = self.0.iter().find(|(known, _)| *known == value);
        debug_assert!(found.is_some(), "nothing measures the value {value:?}");
        found.map(|(_, instrument)| instrument)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &I)> {
        self.0
            .iter()
            .map(|(value, instrument)| (*value, instrument))
    }
}

#[cfg(not(feature = "metrics"))]
mod nothing {
    //! Instruments that measure nothing.
    #![allow(clippy::unused_self, reason = "the shape of the real ones")]

    #[derive(Clone, Debug)]
    pub(crate) struct Counter;
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Gauge;
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Histogram;

    impl Counter {
        pub(crate) const fn increment(&self, _: u64) {}
    }

    impl Gauge {
        pub(crate) fn set(&self, _: f64) {}
    }

    impl Histogram {
        pub(crate) fn record(&self, _: std::time::Duration) {}
        pub(crate) fn record_many(&self, _: std::time::Duration, _: usize) {}
    }
}

//! A subscriber that keeps what is logged, as data.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

pub(crate) type Fields = BTreeMap<String, String>;

/// An event.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) level: Level,
    pub(crate) fields: Fields,
    /// The names of the spans around it, the outermost first.
    pub(crate) scope: Vec<&'static str>,
}

/// A span.
#[derive(Clone, Debug)]
pub(crate) struct SpanLine {
    id: u64,
    pub(crate) name: &'static str,
    pub(crate) fields: Fields,
    pub(crate) closed: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) lines: Vec<Line>,
    pub(crate) spans: Vec<SpanLine>,
}

/// Everything that is logged on this thread while the guard lives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Capture(Arc<Mutex<Kept>>);

impl Capture {
    pub(crate) fn begin() -> (Self, DefaultGuard) {
        let capture = Self::default();
        let subscriber = tracing_subscriber::registry().with(capture.clone());
        (capture, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fields of the events with this message.
    pub(crate) fn said(&self, message: &str) -> Vec<Fields> {
        let kept = self.kept();
        let lines = kept.lines.iter().filter(|line| line.is(message));
        lines.map(|line| line.fields.clone()).collect()
    }

    /// The fields of the spans of this name that have ended.
    pub(crate) fn spans(&self, name: &str) -> Vec<Fields> {
        let kept = self.kept();
        let spans = kept
            .spans
            .iter()
            .filter(|span| span.name == name && span.closed);
        spans.map(|span| span.fields.clone()).collect()
    }
}

impl Line {
    pub(crate) fn is(&self, message: &str) -> bool {
        self.fields
            .get("message")
            .is_some_and(|said| said == message)
    }
}

struct Taker<'a>(&'a mut Fields);

impl Visit for Taker<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Capture {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, _: Context<'_, S>) {
        let mut fields = Fields::new();
        attributes.record(&mut Taker(&mut fields));
        let (id, name, closed) = (id.into_u64(), attributes.metadata().name(), false);
        self.kept().spans.push(SpanLine {
            id,
            name,
            fields,
            closed,
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut kept = self.kept();
        let span = kept
            .spans
            .iter_mut()
            .rev()
            .find(|span| span.id == id.into_u64());
        values.record(&mut Taker(&mut span.expect("a known span").fields));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::new();
        event.record(&mut Taker(&mut fields));
        let scope = context.event_scope(event).into_iter().flatten();
        let mut scope: Vec<_> = scope.map(|span| span.name()).collect();
        scope.reverse();
        let level = *event.metadata().level();
        self.kept().lines.push(Line {
            level,
            fields,
            scope,
        });
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        let mut kept = self.kept();
        let span = kept
            .spans
            .iter_mut()
            .rev()
            .find(|span| span.id == id.into_u64());
        span.expect("a known span").closed = true;
    }
}

//! The spans of a worker in OpenTelemetry, by the ordinary layer of `tracing`.
//!
//! Nothing in `parti` knows of OpenTelemetry: its spans are `tracing` spans, and
//! `tracing-opentelemetry` hands them on. This example prints them; a real program gives the provider
//! an OTLP exporter instead of [`Print`] and changes nothing else.
//!
//! ```sh
//! cargo run --example otel
//! ```

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use parti::sources::StaticSource;
use parti::store::LocalStore;
use parti::{
    Config, Guard, HandlerError, Manager, PartitionHandler, PartitionKey, Preset, RevokeCause,
    StopMode,
};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Prints each span with its length and attributes.
#[derive(Debug)]
struct Print;

impl SpanExporter for Print {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        for span in batch {
            let took = span
                .end_time
                .duration_since(span.start_time)
                .unwrap_or(Duration::ZERO);
            let own = span
                .attributes
                .iter()
                .map(|attribute| format!("{}={}", attribute.key, attribute.value));
            let own = own.collect::<Vec<_>>().join(" ");
            println!(
                "{:<10} {:>9.3} ms  {own}",
                span.name,
                took.as_secs_f64() * 1e3
            );
        }
        Ok(())
    }
}

/// Work that does nothing.
struct Work;

#[parti::async_trait]
impl PartitionHandler for Work {
    async fn on_assigned(&self, _: &PartitionKey, _: Guard) -> Result<(), HandlerError> {
        Ok(())
    }
    async fn on_revoked(&self, _: &PartitionKey, _: Guard, _: RevokeCause) {}
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(Print)
        .build();
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("parti"))
        .with_tracked_inactivity(false)
        .with_target(false)
        .with_location(false)
        .with_threads(false);
    let only_ours = Targets::new().with_target("parti", LevelFilter::INFO);
    tracing_subscriber::registry()
        .with(spans)
        .with(only_ours)
        .init();

    let store = LocalStore::new();
    let mut workers = Vec::new();
    for expected in [1, 2] {
        let config = Config::builder("traced").preset(Preset::Fast);
        let config = config.expected_workers(expected).build()?;
        let source = StaticSource::numbered("orders", 8)?;
        let worker =
            Manager::builder(config, source, Work).store(std::sync::Arc::new(store.clone()));
        let worker = worker.start().await?;
        worker.wait_assigned().await?;
        workers.push(worker);
    }
    for worker in workers {
        worker.stop(StopMode::Handoff).await?;
    }
    provider.shutdown()?;
    Ok(())
}

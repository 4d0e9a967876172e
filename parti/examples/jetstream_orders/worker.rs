//! One worker: handles orders by telling the sink, and leaves on SIGTERM.

use std::time::Duration;

use parti::jetstream::Partitioned;
use parti::nats::async_nats;
use parti::{Config, HandlerError, Manager, Mode, Preset};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::{Arguments, Outcome};

/// The consumption of a worker.
pub(crate) async fn orders(
    arguments: &Arguments,
    client: async_nats::Client,
) -> Outcome<Partitioned> {
    let context = async_nats::jetstream::new(client.clone());
    let name = &arguments.name;
    let sink = format!("sink.{name}");
    let orders = Partitioned::builder(context, name)
        .partitions(arguments.partitions)
        .transform(&format!("{name}.*"))
        .retry_pauses(Duration::from_millis(20), Duration::from_millis(500))
        .attempts(1000)
        .on_message(move |message| {
            let (client, sink) = (client.clone(), sink.clone());
            let effect = json!({
                "partition": message.partition(),
                "token": message.token().get(),
                "sequence": message.sequence(),
                "key": message.subject().rsplit('.').next(),
                "number": String::from_utf8_lossy(message.payload()).parse::<u64>().ok(),
                "may_repeat": message.may_repeat(),
            });
            async move {
                let answer = client.request(sink, effect.to_string().into()).await?;
                match &*answer.payload {
                    b"stored" | b"repeated" => Ok(()),
                    other => Err(HandlerError::new(String::from_utf8_lossy(other))),
                }
            }
        })
        .build()
        .await?;
    Ok(orders)
}

pub(crate) async fn run(arguments: &Arguments) -> Outcome<()> {
    let url = arguments.nats.clone().unwrap_or_default();
    let client = async_nats::connect(&url).await?;
    let orders = orders(arguments, client).await?;
    let name = &arguments.name;
    let lease = Duration::from_secs(2);
    let mut config = Config::builder(name).preset(Preset::Fast).lease(lease);
    if arguments.fenced {
        config = config.mode(Mode::Fenced).sinks_compare_tokens(true);
    }
    let config = config.build()?;
    let manager = Manager::builder(config, orders.source(), orders);
    let manager = manager.nats(&url).start().await?;
    let mut terminate = signal(SignalKind::terminate())?;
    manager.run_until(terminate.recv()).await?;
    Ok(())
}

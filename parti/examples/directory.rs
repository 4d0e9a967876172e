//! Prints who owns what in a group, and again whenever something changes:
//!
//! `cargo run --example directory -- nats://127.0.0.1:4222 orders`

use std::error::Error;
use std::time::Duration;

use parti::GroupName;
use parti::directory::{Directory, PartitionState, View};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(group)) = (arguments.next(), arguments.next()) else {
        return Err("usage: directory URL GROUP".into());
    };
    let opened = Directory::nats(&url, &GroupName::new(&group)?).await;
    let directory = opened.map_err(|error| error.to_string())?;
    let complete = directory.wait_for(|directory| directory.as_of().is_some());
    tokio::time::timeout(Duration::from_secs(10), complete).await?;
    let mut changes = directory.changes();
    loop {
        print(&directory.view());
        match changes.next().await {
            Some(change) => println!("\n{change:?}"),
            None => return Ok(()),
        }
    }
}

fn print(view: &View) {
    if let Some(loss) = &view.loss {
        println!("the history was lost: {}", loss.what);
    }
    if let Some(leading) = &view.leading {
        let (leader, lasting) = (&leading.leader, leading.lasting);
        println!("term {} of {leader:?} for {lasting:?}", leading.term);
    }
    for worker in &view.workers {
        let (id, state, silent) = (&worker.worker, worker.state, worker.silent);
        println!(
            "{id}: {} partitions, {state:?}, silent for {silent:?}",
            worker.granted
        );
    }
    for handoff in &view.handoffs {
        let (partition, from, hold_up) = (&handoff.partition, &handoff.from, handoff.hold_up);
        println!("{partition}: {from} holds it up: {hold_up:?}");
    }
    for partition in &view.partitions {
        if let PartitionState::Unowned { lasting, was } = &partition.state {
            println!(
                "{}: nobody's for {lasting:?}, was {was:?}",
                partition.partition
            );
        }
    }
    for unreadable in &view.unreadable {
        println!("{} cannot be read: {}", unreadable.key, unreadable.reason);
    }
}

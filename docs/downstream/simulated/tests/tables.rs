//! The same handler on SQLite, in real time: counts go on where the worker before left them.

use std::time::Duration;

use parti::sources::StaticSource;
use parti::{Config, Manager, Preset, StopMode};
use simulated::{Meter, Tables};

/// A ledger that only the simulator has seen may not even speak SQL.
#[tokio::test]
async fn a_successor_goes_on_where_the_one_before_left() {
    let file = std::env::temp_dir().join(format!("parti-meter-{}.db", std::process::id()));
    let tables = Tables(file.display().to_string());
    let mut reached = 0;
    for _ in 0..2 {
        let config = Config::builder("meters")
            .preset(Preset::Fast)
            .expected_workers(1);
        let source = StaticSource::numbered("tenant", 1).expect("valid");
        let store = file.with_extension("group");
        let worker = Manager::builder(
            config.build().expect("valid"),
            source,
            Meter(tables.clone()),
        );
        let worker = worker.sqlite(store).start().await.expect("starts");
        let before = reached;
        let waiting = async {
            while reached < before + 3 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                reached = count(&tables).unwrap_or(reached);
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
        waited.expect("within a minute");
        worker.stop(StopMode::Handoff).await.expect("stops");
    }
    for extension in ["db", "group"] {
        let _ = std::fs::remove_file(file.with_extension(extension));
    }
}

fn count(tables: &Tables) -> Option<u64> {
    let database = parti::fence::sqlite::rusqlite::Connection::open(&tables.0).ok()?;
    let sql = "SELECT max(count) FROM counts";
    database.query_row(sql, [], |row| row.get(0)).ok()
}

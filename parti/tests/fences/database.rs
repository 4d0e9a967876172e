//! PostgreSQL as what is written to: the table, a writer with a transaction, and one with a single statement.

use parti::fence::{ADMIT, TABLE};
use parti_core::Token;
use parti_testing::rig::postgres_server::USER;
use tokio_postgres::{Client, Config, Error, NoTls};

use super::writer::{Outcome, Trouble};

/// Connects and drives the connection; inside a runtime.
async fn connect(port: u16) -> Client {
    let mut config = Config::new();
    config.host("127.0.0.1").port(port).user(USER);
    let (client, connection) = config
        .dbname("postgres")
        .connect(NoTls)
        .await
        .expect("there");
    tokio::spawn(connection);
    client
}

pub(crate) async fn prepare(port: u16, name: &str) {
    let rows = format!("CREATE TABLE {name} (number BIGSERIAL PRIMARY KEY, token BIGINT)");
    let client = connect(port).await;
    client
        .batch_execute(&format!("{TABLE}; {rows}"))
        .await
        .expect("written");
}

pub(crate) async fn tokens(port: u16, name: &str) -> Vec<u64> {
    let select = format!("SELECT token FROM {name} ORDER BY number");
    let rows = connect(port).await.query(&select, &[]).await.expect("read");
    rows.iter()
        .map(|row| row.get::<_, i64>(0).unsigned_abs())
        .collect()
}

/// Each write is a transaction of its own, or, without one, a single statement.
pub(crate) fn write(
    port: u16,
    name: &str,
    token: Token,
    transaction: bool,
) -> impl FnMut() -> Outcome {
    // With a thread that drives the connection also while nothing is written.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut client = runtime.block_on(connect(port));
    let name = name.to_owned();
    move || {
        let written = runtime.block_on(async {
            if transaction {
                in_transaction(&mut client, &name, token).await
            } else {
                in_one_statement(&client, &name, token).await
            }
        });
        match written {
            Ok(true) => Ok(()),
            Ok(false) => Err(Trouble::Stale),
            Err(error) => Err(Trouble::Other(error.to_string())),
        }
    }
}

async fn in_transaction(client: &mut Client, name: &str, token: Token) -> Result<bool, Error> {
    let token = i64::try_from(token.get()).expect("small");
    let change = client.transaction().await?;
    if change.execute(ADMIT, &[&name, &token]).await? == 0 {
        return Ok(false);
    }
    let insert = format!("INSERT INTO {name} (token) VALUES ($1)");
    change.execute(&insert, &[&token]).await?;
    change.commit().await?;
    Ok(true)
}

async fn in_one_statement(client: &Client, name: &str, token: Token) -> Result<bool, Error> {
    let token = i64::try_from(token.get()).expect("small");
    let sql = format!(
        "WITH admitted AS ({ADMIT} RETURNING token) INSERT INTO {name} (token) SELECT token FROM admitted"
    );
    Ok(client.execute(&sql, &[&name, &token]).await? > 0)
}

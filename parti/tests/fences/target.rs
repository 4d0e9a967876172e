//! What is written to, and which tokens have written, in their order.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt as _;
use parti::fence;
use parti::fence::nats::TOKEN;
use parti::fence::sqlite::rusqlite::Connection;
use parti::nats::async_nats;
use parti::nats::async_nats::jetstream::consumer::{AckPolicy, pull};
use parti::nats::async_nats::jetstream::stream;

use super::objects::Objects;
use super::{database, writer};

pub(crate) enum Target {
    Table {
        path: PathBuf,
        is_fenced: bool,
    },
    File(PathBuf),
    Key {
        url: String,
        bucket: String,
    },
    Subject {
        url: String,
        stream: String,
    },
    /// Rows in PostgreSQL, written by one of two ways.
    Rows {
        port: u16,
        name: String,
        way: &'static str,
    },
    Object {
        store: Objects,
        key: String,
    },
}

impl Target {
    pub(crate) fn table(round: u64) -> Self {
        let path = path("table", round);
        Self::Table {
            path,
            is_fenced: true,
        }
    }

    pub(crate) fn table_without_fence(round: u64) -> Self {
        let path = path("bare", round);
        Self::Table {
            path,
            is_fenced: false,
        }
    }

    pub(crate) fn file(round: u64) -> Self {
        Self::File(path("file", round))
    }

    pub(crate) fn key(url: &str, round: u64) -> Self {
        let (url, bucket) = (url.to_owned(), format!("round-{round}"));
        Self::Key { url, bucket }
    }

    pub(crate) fn subject(url: &str, round: u64) -> Self {
        let (url, stream) = (url.to_owned(), format!("round-{round}"));
        Self::Subject { url, stream }
    }

    /// `way` is "transaction" or "statement".
    pub(crate) fn rows(port: u16, way: &'static str, round: u64) -> Self {
        let name = format!("written_by_{way}_{round}");
        Self::Rows { port, name, way }
    }

    pub(crate) fn object(store: &Objects, round: u64) -> Self {
        let (store, key) = (store.clone(), format!("round-{round}"));
        Self::Object { store, key }
    }

    pub(crate) const fn is_fenced(&self) -> bool {
        !matches!(
            self,
            Self::Table {
                is_fenced: false,
                ..
            }
        )
    }

    /// Whether a writer that stands still keeps nobody else from writing: each write is one request.
    pub(crate) fn is_never_locked(&self) -> bool {
        match self {
            Self::Rows { way, .. } => *way == "statement",
            Self::Object { .. } => true,
            Self::Table { .. } | Self::File(_) | Self::Key { .. } | Self::Subject { .. } => false,
        }
    }

    /// What a writer has to know.
    pub(crate) fn variables(&self) -> [(&'static str, String); 3] {
        let (kind, place, name) = match self {
            Self::Table {
                path,
                is_fenced: true,
            } => ("table", show(path), ""),
            Self::Table {
                path,
                is_fenced: false,
            } => ("table without fence", show(path), ""),
            Self::File(path) => ("file", show(path), ""),
            Self::Key { url, bucket } => ("key", url.clone(), bucket.as_str()),
            Self::Subject { url, stream } => ("subject", url.clone(), stream.as_str()),
            Self::Rows { port, name, way } => (*way, port.to_string(), name.as_str()),
            Self::Object { store, key } => ("object", store.url(), key.as_str()),
        };
        [
            (writer::KIND, kind.to_owned()),
            (writer::PLACE, place),
            (writer::NAME, name.to_owned()),
        ]
    }

    pub(crate) fn prepare(&self) {
        match self {
            Self::Table { path, .. } => {
                let connection = Connection::open(path).expect("opens");
                fence::sqlite::prepare(&connection).expect("written");
                let sql = "PRAGMA journal_mode = WAL;
                           CREATE TABLE written (number INTEGER PRIMARY KEY, token INTEGER)";
                connection.execute_batch(sql).expect("written");
            }
            Self::File(_) | Self::Object { .. } => {}
            Self::Rows { port, name, .. } => block_on(database::prepare(*port, name)),
            Self::Key { url, .. } | Self::Subject { url, .. } => {
                // With all its history, so that each write of a key can be judged.
                let (name, subjects) = self.stream();
                block_on(async {
                    let client = async_nats::connect(url).await.expect("connects");
                    let config = stream::Config {
                        name,
                        subjects: vec![subjects],
                        ..stream::Config::default()
                    };
                    let context = async_nats::jetstream::new(client);
                    context.create_stream(config).await.expect("created");
                });
            }
        }
    }

    fn stream(&self) -> (String, String) {
        match self {
            Self::Key { bucket, .. } => (format!("KV_{bucket}"), format!("$KV.{bucket}.>")),
            Self::Subject { stream, .. } => (stream.clone(), format!("{stream}.>")),
            Self::Table { .. } | Self::File(_) | Self::Rows { .. } | Self::Object { .. } => {
                unreachable!("not on NATS")
            }
        }
    }

    /// The tokens of all writes, in the order in which they took effect.
    pub(crate) fn tokens(&self) -> Vec<u64> {
        match self {
            Self::Table { path, .. } => {
                let connection = Connection::open(path).expect("opens");
                let sql = "SELECT token FROM written ORDER BY number";
                let mut select = connection.prepare(sql).expect("there");
                let rows = select
                    .query_map([], |row| row.get::<_, i64>(0))
                    .expect("read");
                rows.map(|token| token.expect("a number").unsigned_abs())
                    .collect()
            }
            Self::File(path) => {
                let content = std::fs::read_to_string(path).expect("there");
                content
                    .lines()
                    .map(|line| line.parse().expect("a number"))
                    .collect()
            }
            Self::Rows { port, name, .. } => block_on(database::tokens(*port, name)),
            Self::Object { store, key } => store.tokens(key),
            Self::Key { url, .. } | Self::Subject { url, .. } => {
                block_on(messages(url, &self.stream().0))
            }
        }
    }

    pub(crate) fn clean_up(&self) {
        if let Self::Table { path, .. } | Self::File(path) = self {
            for rest in ["", "-wal", "-shm", "-fence", "-next"] {
                let _ = std::fs::remove_file(format!("{}{rest}", path.display()));
            }
        }
    }
}

async fn messages(url: &str, stream: &str) -> Vec<u64> {
    let client = async_nats::connect(url).await.expect("connects");
    let stream = async_nats::jetstream::new(client).get_stream(stream).await;
    let stream = stream.expect("there");
    let count = usize::try_from(stream.cached_info().state.messages).expect("a few");
    let config = pull::Config {
        ack_policy: AckPolicy::None,
        headers_only: true,
        inactive_threshold: Duration::from_secs(60),
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await.expect("created");
    let messages = consumer.messages().await.expect("begins");
    let tokens = messages.take(count).map(|message| {
        let message = message.expect("comes");
        let headers = message.headers.as_ref().expect("has headers");
        headers
            .get(TOKEN)
            .expect("has a token")
            .as_str()
            .parse::<u64>()
            .expect("a number")
    });
    tokens.collect().await
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(future)
}

fn path(name: &str, round: u64) -> PathBuf {
    let name = format!("parti-fence-{name}-{}-{round}", std::process::id());
    std::env::temp_dir().join(name)
}

fn show(path: &std::path::Path) -> String {
    path.display().to_string()
}

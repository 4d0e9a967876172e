//! The stream in memory that the simulation uses is held to a real server, by the same cases.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Message, RequestErrorKind};
use futures_util::StreamExt as _;
use parti_nats::consume::{Cursor, Found, Retention, StreamFacts, Wrote};
use parti_testing::rig::nats_server::{NatsServer, ServerOptions};
use parti_testing::streams::cases::{self, Case};
use parti_testing::streams::{Answer, Item, Release, Request};
use serde_json::{Value, json};
use tokio::time::timeout;

/// One stream and one bucket on a real server.
struct Real {
    client: Client,
    stream: String,
    retention: Retention,
}

impl Real {
    async fn new(client: &Client, number: usize, retention: Retention) -> Self {
        let stream = format!("S{number}");
        let kind = match retention {
            Retention::Limits => "limits",
            Retention::WorkQueue => "workqueue",
            Retention::Interest => "interest",
        };
        let real = Self {
            client: client.clone(),
            stream,
            retention,
        };
        let name = &real.stream;
        let config = json!({ "name": name, "subjects": [format!("{name}.>")], "storage": "file",
            "retention": kind });
        real.api(format!("STREAM.CREATE.{name}"), config).await;
        let config = json!({ "name": format!("C{name}"), "subjects": [format!("C{name}.>")],
            "storage": "file", "max_msgs_per_subject": 1 });
        real.api(format!("STREAM.CREATE.C{name}"), config).await;
        real
    }

    async fn api(&self, method: String, body: Value) -> Value {
        let subject = format!("$JS.API.{method}");
        let answer = self.client.request(subject, body.to_string().into()).await;
        serde_json::from_slice(&answer.expect("an answer").payload).expect("JSON")
    }

    async fn serve(&self, request: Request) -> Answer {
        let stream = &self.stream;
        match request {
            Request::Publish { partition, number } => {
                let subject = format!("{stream}.{partition}");
                let sent = self.client.request(subject, number.to_string().into());
                let stored: Value = json_of(&sent.await.expect("it is stored"));
                Answer::Published(stored["seq"].as_u64().expect("a sequence"))
            }
            Request::Facts => Answer::Facts(self.facts().await),
            Request::Contents => self.contents().await,
            Request::Load { partition } => self.load(partition).await,
            Request::Store {
                partition,
                cursor,
                expected,
            } => self.store(partition, &cursor, expected).await,
            Request::List => {
                let names = self.api(format!("CONSUMER.NAMES.{stream}"), json!({}));
                let names = names.await["consumers"].as_array().cloned();
                let text = |name: &Value| name.as_str().expect("a name").to_owned();
                let mut names: Vec<_> = names.unwrap_or_default().iter().map(text).collect();
                names.sort();
                Answer::Names(names)
            }
            Request::Floor(names) => self.floor(&names).await,
            Request::Delete(names) => {
                for name in names {
                    self.api(format!("CONSUMER.DELETE.{stream}.{name}"), json!({}))
                        .await;
                }
                Answer::Deleted
            }
            Request::Create {
                name,
                partition,
                after,
            } => self.create(&name, partition, after).await,
            Request::Pull { name, batch } => self.pull(&name, batch).await,
            Request::Acknowledge {
                name,
                sequence,
                number,
            } => {
                let subject = format!("$JS.ACK.{stream}.{name}.1.{sequence}.{number}.0.0");
                match self.client.request(subject, "+ACK".into()).await {
                    Ok(_) => Answer::Acknowledged,
                    Err(error) if error.kind() == RequestErrorKind::NoResponders => Answer::Gone,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    async fn facts(&self) -> StreamFacts {
        let info = self.api(format!("STREAM.INFO.{}", self.stream), json!({}));
        let info = info.await;
        let number = |name: &str| info["state"][name].as_u64().expect("a number");
        StreamFacts {
            created: info["created"].as_str().expect("a time").to_owned(),
            first: number("first_seq"),
            last: number("last_seq"),
        }
    }

    async fn contents(&self) -> Answer {
        let method = format!("STREAM.MSG.GET.{}", self.stream);
        let mut items = Vec::new();
        for sequence in 1..=self.facts().await.last {
            let got = self.api(method.clone(), json!({ "seq": sequence })).await;
            if got.get("error").is_none() {
                let message = &got["message"];
                let subject = message["subject"].as_str().expect("a subject");
                let payload = base64(message["data"].as_str().unwrap_or_default());
                items.push(item(sequence, subject, &payload));
            }
        }
        Answer::Contents(items)
    }

    fn cursor_subject(&self, partition: u32) -> String {
        format!("C{}.{partition}", self.stream)
    }

    async fn load(&self, partition: u32) -> Answer {
        let method = format!("STREAM.MSG.GET.C{}", self.stream);
        let body = json!({ "last_by_subj": self.cursor_subject(partition) });
        let got = self.api(method.clone(), body).await;
        let Some(revision) = got["message"]["seq"].as_u64() else {
            return Answer::Found(Found::Never);
        };
        let bytes = base64(got["message"]["data"].as_str().unwrap_or_default());
        let cursor = Cursor::decode(&bytes).expect("a cursor");
        Answer::Found(Found::Cursor { revision, cursor })
    }

    async fn store(&self, partition: u32, cursor: &Cursor, expected: u64) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", expected.to_string());
        let subject = self.cursor_subject(partition);
        let sent = self
            .client
            .request_with_headers(subject, headers, cursor.encode().into());
        let stored: Value = json_of(&sent.await.expect("an answer"));
        let revision = stored["seq"].as_u64().unwrap_or_default();
        let wrote = if stored.get("error").is_some() {
            Wrote::Refused
        } else {
            Wrote::Stored { revision }
        };
        Answer::Wrote(wrote)
    }

    async fn floor(&self, names: &[String]) -> Answer {
        let mut least: Option<u64> = None;
        for name in names {
            let info = self.api(format!("CONSUMER.INFO.{}.{name}", self.stream), json!({}));
            let info = info.await;
            if info.get("error").is_some() {
                continue;
            }
            let floor = info["ack_floor"]["stream_seq"].as_u64().unwrap_or_default();
            let start = info["config"]["opt_start_seq"].as_u64().unwrap_or_default();
            let floor = floor.max(start.saturating_sub(1));
            least = Some(least.map_or(floor, |least| least.min(floor)));
        }
        Answer::Floor(least)
    }

    /// As production creates them.
    async fn create(&self, name: &str, partition: Option<u32>, after: u64) -> Answer {
        let stream = &self.stream;
        let filter = partition.map_or_else(|| ">".to_owned(), |partition| partition.to_string());
        let mut config = json!({ "name": name, "filter_subject": format!("{stream}.{filter}"),
            "replay_policy": "instant" });
        let more = match self.retention {
            Retention::Limits => json!({ "deliver_policy": "by_start_sequence",
                "opt_start_seq": after + 1, "ack_policy": "none", "mem_storage": true,
                "num_replicas": 1, "inactive_threshold": 30_000_000_000_u64 }),
            Retention::WorkQueue => json!({ "durable_name": name, "deliver_policy": "all",
                "ack_policy": "explicit", "max_ack_pending": -1, "ack_wait": 30_000_000_000_u64 }),
            Retention::Interest => json!({ "durable_name": name, "ack_policy": "all",
                "deliver_policy": "by_start_sequence", "opt_start_seq": after + 1,
                "max_ack_pending": -1, "ack_wait": 30_000_000_000_u64 }),
        };
        for (key, value) in more.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        let body = json!({ "stream_name": stream, "action": "create", "config": config });
        let made = self.api(format!("CONSUMER.CREATE.{stream}.{name}"), body);
        match made.await["error"]["err_code"].as_u64() {
            None => Answer::Created,
            Some(10100) => Answer::NotUnique,
            Some(other) => panic!("{name}: error {other}"),
        }
    }

    async fn pull(&self, name: &str, batch: usize) -> Answer {
        let inbox = self.client.new_inbox();
        let mut messages = self
            .client
            .subscribe(inbox.clone())
            .await
            .expect("an inbox");
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{name}", self.stream);
        let body = json!({ "batch": batch, "no_wait": true }).to_string();
        let sent = self.client.publish_with_reply(subject, inbox, body.into());
        sent.await.expect("it is sent");
        let mut delivered = Vec::new();
        while delivered.len() < batch {
            let next = timeout(Duration::from_secs(10), messages.next()).await;
            let message = next.expect("an answer").expect("a message");
            match message.status.map(|status| status.as_u16()) {
                None => delivered.push(delivery(&message)),
                Some(503) => return Answer::Gone,
                Some(_) => break,
            }
        }
        Answer::Delivered(delivered)
    }
}

/// The number in the consumer, and the message.
fn delivery(message: &Message) -> (u64, Item) {
    let reply = message.reply.as_ref().expect("where to acknowledge");
    let mut numbers = reply
        .split('.')
        .skip(5)
        .map(|word| word.parse().expect("a number"));
    let (sequence, number) = (numbers.next(), numbers.next());
    let sequence = sequence.expect("a sequence");
    let of = item(sequence, &message.subject, &message.payload);
    (number.expect("a number"), of)
}

fn item(sequence: u64, subject: &str, payload: &[u8]) -> Item {
    let partition = subject.rsplit('.').next().unwrap_or_default();
    let number = std::str::from_utf8(payload).expect("text");
    Item {
        sequence,
        partition: partition.parse().expect("a partition"),
        number: number.parse().expect("a number"),
    }
}

fn json_of(message: &Message) -> Value {
    serde_json::from_slice(&message.payload).expect("JSON")
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    let decoded = base64::engine::general_purpose::STANDARD.decode(text);
    decoded.expect("base64")
}

/// A stream in memory that is kinder than the real one hides what production meets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_server_answers_the_cases_of_the_stream_in_memory() {
    let server = NatsServer::start(ServerOptions::default());
    let server = server.unwrap_or_else(|error| panic!("{error}"));
    let client = async_nats::connect(server.url()).await;
    let client = client.expect("a connection");
    let version = client.server_info().version;
    let mut numbers = version
        .split('.')
        .map_while(|word| word.parse::<u32>().ok());
    let release = match (numbers.next(), numbers.next()) {
        (Some(0..=1), _) | (Some(2), Some(0..=13)) => Release::Before214,
        _ => Release::Since214,
    };
    for (number, case) in cases::all(release).into_iter().enumerate() {
        let Case {
            name,
            retention,
            steps,
        } = case;
        let real = Real::new(&client, number, retention).await;
        for (index, (request, wanted)) in steps.into_iter().enumerate() {
            let answer = real.serve(request.clone()).await;
            assert_eq!(answer, wanted, "{name}, step {index}: {request:?}");
        }
    }
}

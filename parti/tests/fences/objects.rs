//! A store of objects as what is written to: the least of S3 that conditional writes need, in this process.
//!
//! Its ETags are hashes of the content, as those of S3 are for most objects: the hardest case for a fence. It
//! keeps every version that it took, so that each can be judged.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{ETAG, IF_MATCH, IF_NONE_MATCH, LAST_MODIFIED};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use parti::fence::object::object_store::aws::AmazonS3Builder;
use parti::fence::object::object_store::{ClientOptions, ObjectStore};
use parti::fence::object::{FencedObject, ObjectError};
use parti_core::Token;

use super::writer::{Outcome, Trouble};

/// What the store took, in its order.
#[derive(Debug, Default)]
struct Kept {
    versions: BTreeMap<String, Vec<Bytes>>,
    requests: usize,
}

/// The store. It ends with the process of the test.
#[derive(Clone, Debug)]
pub(crate) struct Objects {
    port: u16,
    kept: Arc<Mutex<Kept>>,
}

impl Objects {
    pub(crate) fn start() -> Self {
        let kept = Arc::<Mutex<Kept>>::default();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        listener.set_nonblocking(true).expect("set");
        let port = listener.local_addr().expect("bound").port();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&kept));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("bound");
                axum::serve(listener, router).await
            })
        });
        Self { port, kept }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn requests(&self) -> usize {
        self.kept.lock().expect("whole").requests
    }

    /// The tokens of all writes of an object, read from what the store took.
    pub(crate) fn tokens(&self, key: &str) -> Vec<u64> {
        let kept = self.kept.lock().expect("whole");
        let versions = kept.versions.get(&format!("/bucket/{key}"));
        let token = |version: &Bytes| {
            let text = std::str::from_utf8(version).expect("text");
            let (line, content) = text.split_once('\n').expect("a line");
            assert_eq!(content, "x");
            line.strip_prefix("parti-fence ")
                .and_then(|token| token.parse().ok())
        };
        let tokens = versions.into_iter().flatten().map(token);
        tokens.map(|token| token.expect("a token")).collect()
    }
}

async fn answer(
    State(kept): State<Arc<Mutex<Kept>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut kept = kept.lock().expect("whole");
    kept.requests += 1;
    let versions = kept.versions.entry(uri.path().to_owned()).or_default();
    let there = versions.last().map(etag);
    if method == Method::GET {
        return match (versions.last(), there) {
            (Some(version), Some(tag)) => {
                let date = "Tue, 01 Dec 2026 00:00:00 GMT".to_owned();
                ([(ETAG, tag), (LAST_MODIFIED, date)], version.clone()).into_response()
            }
            _ => StatusCode::NOT_FOUND.into_response(),
        };
    }
    let said = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let fits = match (said(IF_MATCH), said(IF_NONE_MATCH)) {
        (Some(_), None) if there.is_none() => return StatusCode::NOT_FOUND.into_response(),
        (Some(tag), None) => there.as_deref() == Some(tag),
        (None, Some("*")) => there.is_none(),
        (None, None) => true,
        _ => return StatusCode::NOT_IMPLEMENTED.into_response(),
    };
    if method != Method::PUT || !fits {
        return StatusCode::PRECONDITION_FAILED.into_response();
    }
    let tag = etag(&body);
    versions.push(body);
    [(ETAG, tag)].into_response()
}

fn etag(version: &Bytes) -> String {
    let mut hasher = DefaultHasher::new();
    version.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

/// The client that programs use for S3.
pub(crate) fn client(url: &str) -> Arc<dyn ObjectStore> {
    // It is built with TLS, which this server does without. Another test may have chosen already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let builder = AmazonS3Builder::new()
        .with_endpoint(url)
        .with_bucket_name("bucket")
        .with_skip_signature(true)
        .with_client_options(ClientOptions::new().with_allow_http(true));
    Arc::new(builder.build().expect("valid"))
}

pub(crate) fn write(url: &str, key: &str, token: Token) -> impl FnMut() -> Outcome + use<> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let taking = FencedObject::take_over(client(url), key.into(), token);
    let mut object = runtime.block_on(taking).expect("taken over");
    move || {
        let written = runtime.block_on(object.write(b"x"));
        written.map_err(|error| match error {
            ObjectError::Stale(_) => Trouble::Stale,
            ObjectError::Unknown(_) => Trouble::Again,
            other @ (ObjectError::Unfenced(_) | ObjectError::Failed(_) | _) => {
                Trouble::Other(other.to_string())
            }
        })
    }
}

//! TLS with a certificate authority of one's own, of the server alone and of both sides.

use std::fs;
use std::path::PathBuf;

use async_nats::ConnectOptions;
use parti_core::Expect;
use parti_nats::{NatsStore, OpenError, async_nats};
use parti_testing::rig::nats_server::ServerOptions;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::support::{Log, get, group, options, put, start, write};

/// A folder with the files of a certificate authority, a server and a client.
struct Files(PathBuf);

impl Drop for Files {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

impl Files {
    fn new(name: &str) -> Self {
        let folder = format!("parti-tls-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(&folder).expect("a folder");
        let files = Self(folder);
        let mut authority = CertificateParams::new(Vec::new()).expect("valid");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        files.put(
            "ca.pem",
            &authority.self_signed(&key).expect("signed").pem(),
        );
        let issuer = Issuer::new(authority, key);
        for (name, host) in [("server", "127.0.0.1"), ("client", "worker")] {
            let params = CertificateParams::new(vec![host.to_owned()]).expect("valid");
            let key = KeyPair::generate().expect("a key");
            let certificate = params.signed_by(&key, &issuer).expect("signed");
            files.put(&format!("{name}.pem"), &certificate.pem());
            files.put(&format!("{name}.key"), &key.serialize_pem());
        }
        files
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A server with these files, which asks for the client's certificate or does not.
    fn server(&self, mutual: bool) -> ServerOptions {
        let (certificate, key) = (self.path("server.pem"), self.path("server.key"));
        let ca = self.path("ca.pem");
        ServerOptions::default().config(&format!(
            "tls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {ca:?}, \
             verify: {mutual}, timeout: 10 }}"
        ))
    }

    fn client(&self) -> ConnectOptions {
        ConnectOptions::new().add_root_certificates(self.path("ca.pem"))
    }
}

async fn refusal(connect: ConnectOptions, url: &str) -> String {
    let opened = NatsStore::connect_with(connect, url, &group(), options()).await;
    let error = opened.map(drop).expect_err("not trusted");
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
    error.to_string()
}

/// A group on an encrypted server, and a client that must not be talked into an unencrypted or a
/// strange one.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_certificate_of_an_own_authority_is_trusted_only_with_it() {
    let files = Files::new("own");
    let server = start(files.server(false));
    let url = format!("tls://{}", server.address());
    let opened = NatsStore::connect_with(files.client(), &url, &group(), options()).await;
    let store = opened.unwrap_or_else(|error| panic!("{error}"));
    write(&store, put("a", "1", Expect::Absent)).await;
    assert!(get(&store, "a").await.is_some());

    let unknown = refusal(ConnectOptions::new(), &url).await;
    assert!(unknown.contains("UnknownIssuer"), "{unknown}");
    let other = Files::new("other");
    let strange = refusal(other.client(), &url).await;
    assert!(strange.contains("certificate"), "{strange}");
    let plain = start(ServerOptions::default());
    let plain = format!("tls://{}", plain.address());
    refusal(files.client(), &plain).await;
}

/// Who has no certificate must not get in, and who has one must.
#[tokio::test]
async fn with_certificates_of_both_sides_a_client_without_one_is_refused() {
    let (log, _guard) = Log::begin();
    let files = Files::new("mutual");
    let server = start(files.server(true));
    let url = format!("tls://{}", server.address());
    let known = files
        .client()
        .add_client_certificate(files.path("client.pem"), files.path("client.key"));
    let opened = NatsStore::connect_with(known, &url, &group(), options()).await;
    let store = opened.unwrap_or_else(|error| panic!("{error}"));
    write(&store, put("a", "1", Expect::Absent)).await;
    refusal(files.client(), &url).await;

    let key = fs::read_to_string(files.path("client.key")).expect("there");
    let secret = key.lines().nth(1).expect("a body");
    assert!(!log.text().contains(secret), "a private key in the log");
}

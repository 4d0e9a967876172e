//! The servers' addresses: parsed, shown without credentials, and the credentials taken out.
//!
//! It is separate because a password may stand in an address. What always holds: nothing here can
//! be printed with it.

use std::fmt;

use async_nats::{ConnectErrorKind, ConnectOptions, ServerAddr};

use crate::settings::error::OpenError;

/// The servers to try, without user and password: the client writes addresses into its log.
pub(crate) struct Addresses {
    pub(crate) servers: Vec<ServerAddr>,
    shown: String,
    login: Option<Login>,
}

/// What the first address that has one logs in with.
enum Login {
    Password { user: String, password: String },
    Token(String),
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Addresses {
    pub(crate) fn parse(url: &str) -> Result<Self, OpenError> {
        let parsed = url
            .split(',')
            .map(|part| part.trim().parse::<ServerAddr>())
            .collect::<Result<Vec<_>, _>>();
        let Ok(servers) = parsed else {
            let address = if url.contains('@') {
                "(withheld, it holds credentials)".to_owned()
            } else {
                format!("{url:?}")
            };
            return Err(OpenError::InvalidAddress { address });
        };
        let shown: Vec<_> = servers
            .iter()
            .map(|server| format!("{}:{}", server.host(), server.port()))
            .collect();
        let login = servers.iter().find_map(login);
        let servers = servers.into_iter().map(stripped).collect();
        Ok(Self {
            servers,
            shown: shown.join(","),
            login,
        })
    }

    /// Sets the user and password, or the token, of the first address that has one: the client
    /// itself does not look at them.
    pub(crate) fn authenticate(&self, connect: ConnectOptions) -> ConnectOptions {
        match &self.login {
            None => connect,
            Some(Login::Password { user, password }) => {
                connect.user_and_password(user.clone(), password.clone())
            }
            Some(Login::Token(token)) => connect.token(token.clone()),
        }
    }

    pub(crate) fn unreachable(&self, reason: String) -> OpenError {
        OpenError::Unreachable {
            address: self.shown.clone(),
            reason,
        }
    }

    pub(crate) fn refusal(&self, kind: ConnectErrorKind, reason: String) -> OpenError {
        match kind {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                OpenError::Unauthorized {
                    address: self.shown.clone(),
                    reason,
                }
            }
            ConnectErrorKind::ServerParse
            | ConnectErrorKind::Dns
            | ConnectErrorKind::TimedOut
            | ConnectErrorKind::Tls
            | ConnectErrorKind::Io
            | ConnectErrorKind::MaxReconnects => self.unreachable(reason),
        }
    }
}

fn login(server: &ServerAddr) -> Option<Login> {
    let user = decoded(server.username()?);
    Some(match server.password().map(decoded) {
        Some(password) => Login::Password { user, password },
        None => Login::Token(user),
    })
}

/// The address without user and password. An address that can have none is one without.
fn stripped(server: ServerAddr) -> ServerAddr {
    let mut url = server.clone().into_inner();
    let _ = url.set_password(None).and_then(|()| url.set_username(""));
    ServerAddr::from_url(url).unwrap_or(server)
}

/// A part of an address with its `%41` made `A` again.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = tail.get(..2).filter(|_| *first == b'%');
        let escaped = escaped.and_then(|hex| std::str::from_utf8(hex).ok());
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A password in a log is a password lost.
    #[test]
    fn no_error_and_no_debug_output_repeats_credentials() {
        let secret = "hunter2";
        for url in [
            "nats://user:hunter2@host:port",
            "nats://hunter2@",
            "nats://a:1,http://user:hunter2@host",
        ] {
            let error = Addresses::parse(url).expect_err(url);
            let text = format!("{error} {error:?}");
            assert!(!text.contains(secret), "{text}");
        }
        let addresses = Addresses::parse("nats://u:hunter2@h1:4222, tls://hunter2@h2").expect("ok");
        assert_eq!(addresses.shown, "h1:4222,h2:4222");
        let given = format!("{:?}", addresses.servers);
        assert!(
            !given.contains(secret),
            "the client logs what it is given: {given}"
        );
        let error = addresses.refusal(ConnectErrorKind::AuthorizationViolation, "no".to_owned());
        assert!(!format!("{error} {error:?}").contains(secret));
    }

    /// An address nobody can read must be shown, or nobody can correct it.
    #[test]
    fn a_bad_address_without_credentials_is_shown() {
        let error = Addresses::parse("nats://host:port")
            .expect_err("bad")
            .to_string();
        assert!(error.contains("nats://host:port"), "{error}");
    }

    /// A password with a special character must arrive as it is.
    #[test]
    fn escapes_in_credentials_are_undone() {
        let cases = [
            ("plain", "plain"),
            ("p%40ss%2F", "p@ss/"),
            ("100%", "100%"),
            ("%zz", "%zz"),
        ];
        for (text, expected) in cases {
            assert_eq!(decoded(text), expected, "{text}");
        }
    }
}

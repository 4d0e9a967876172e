//! The way to a group: from arguments and contexts to a connection, and to a store that only reads.
//!
//! It is separate because the errors people make most are made here. What always holds: a bucket is
//! never created, and an unknown group is answered with those there are.

mod context;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parti::nats::async_nats::ConnectOptions;
use parti::nats::async_nats::jetstream::{self, Context as JetStream};
use parti::nats::{NatsConnection, NatsOptions, OpenError};
use parti::store::{SqliteOptions, SqliteStore, Store, StoreErrorKind};
use parti_core::GroupName;

use crate::args::{Arguments, Command, Connection};
use crate::failure::{Exit, Failure};
use crate::names::nearest;
use context::Context;

/// Where a server is looked for when nothing says where.
const DEFAULT_SERVER: &str = "nats://127.0.0.1:4222";

/// What is said of a server, or a file, without any.
pub(crate) const NO_GROUP: &str = "there is no group on this server";

/// What a server's address begins with when it is a file of this machine.
const FILE: &str = "file:";

/// Where groups keep their records.
pub(crate) enum Server {
    Nats(Box<NatsConnection>),
    File(PathBuf, SqliteOptions),
}

impl Server {
    /// The groups that are there.
    pub(crate) async fn groups(&self) -> Result<Vec<GroupName>, Failure> {
        Ok(match self {
            Self::Nats(connection) => connection.groups().await?,
            Self::File(path, options) => SqliteStore::groups(path, *options).await?,
        })
    }

    /// Opens a group; with its bucket's name, where it has one. `None`: there is none of this name.
    pub(crate) async fn group(
        &self,
        group: &GroupName,
    ) -> Result<Option<(Arc<dyn Store>, Option<String>)>, Failure> {
        match self {
            Self::Nats(connection) => match connection.group(group).await {
                Err(OpenError::NoBucket { .. }) => Ok(None),
                Err(error) => Err(error.into()),
                Ok(store) => {
                    let bucket = store.bucket().to_owned();
                    Ok(Some((Arc::new(store), Some(bucket))))
                }
            },
            Self::File(path, options) => match SqliteStore::existing(path, group, *options).await {
                Err(error) if error.kind == StoreErrorKind::Missing => Ok(None),
                Err(error) => Err(error.into()),
                Ok(store) => Ok(Some((Arc::new(store), None))),
            },
        }
    }
}

/// Connects to the server, to read.
pub(crate) async fn server(connection: &Connection) -> Result<Server, Failure> {
    open(connection, NatsOptions::default().read_only()).await
}

async fn open(connection: &Connection, options: NatsOptions) -> Result<Server, Failure> {
    let limit = connection.timeout();
    let server = connection.server.as_deref();
    if let Some(path) = server.and_then(|server| server.strip_prefix(FILE)) {
        let options = SqliteOptions::default().request_timeout(limit);
        // `file://` and an absolute path is the same file.
        let path = path.strip_prefix("//").unwrap_or(path);
        return Ok(Server::File(PathBuf::from(path), options));
    }
    let context = context(connection)?;
    let mut options = options.request_timeout(limit).connect_timeout(limit);
    if let Some(prefix) = &connection.bucket_prefix {
        options = options.bucket_prefix(prefix);
    }
    if let Some(domain) = connection.js_domain.as_ref().or(context.domain.as_ref()) {
        options = options.domain(domain);
    } else if let Some(prefix) = &context.api_prefix {
        options = options.api_prefix(prefix);
    }
    let url = server.or(context.url.as_deref()).unwrap_or(DEFAULT_SERVER);
    let login = login(connection, &context)?;
    let connection = NatsConnection::open(login, url, options).await?;
    Ok(Server::Nats(Box::new(connection)))
}

/// Connects to the server, for what is no group: streams and what consumes them.
pub(crate) async fn jetstream(connection: &Connection) -> Result<JetStream, Failure> {
    let Server::Nats(there) = server(connection).await? else {
        let message = "a file of this machine has no streams: give the address of a server";
        return Err(Failure::new(Exit::Usage, message));
    };
    let context = context(connection)?;
    let client = there.client().clone();
    let domain = connection.js_domain.as_ref().or(context.domain.as_ref());
    Ok(match (domain, &context.api_prefix) {
        (Some(domain), _) => jetstream::with_domain(client, domain),
        (None, Some(prefix)) => jetstream::with_prefix(client, prefix),
        (None, None) => jetstream::new(client),
    })
}

/// Opens the group that is meant, to read it.
pub(crate) async fn group(arguments: &Arguments) -> Result<Arc<dyn Store>, Failure> {
    group_of(arguments, NatsOptions::default().read_only()).await
}

/// The group that is meant, by name.
pub(crate) async fn name(arguments: &Arguments) -> Result<GroupName, Failure> {
    meant(arguments, &server(&arguments.connection).await?).await
}

/// Opens the group that is meant, to write a request or an order.
pub(crate) async fn group_to_change(arguments: &Arguments) -> Result<Arc<dyn Store>, Failure> {
    group_of(arguments, NatsOptions::default().existing_only()).await
}

async fn group_of(arguments: &Arguments, options: NatsOptions) -> Result<Arc<dyn Store>, Failure> {
    let server = open(&arguments.connection, options).await?;
    let group = meant(arguments, &server).await?;
    match server.group(&group).await? {
        Some((store, _)) => Ok(store),
        None => Err(unknown(&server, &group).await),
    }
}

async fn meant(arguments: &Arguments, server: &Server) -> Result<GroupName, Failure> {
    let said = if let Command::Status { name: Some(name) } = &arguments.command {
        Some(name)
    } else {
        arguments.group.as_ref()
    };
    let said = said.map(|name| {
        let group = GroupName::new(name);
        group.map_err(|error| Failure::new(Exit::Usage, format!("group {name:?}: {error}")))
    });
    match said.transpose()? {
        Some(group) => Ok(group),
        None => only_one(&server.groups().await?),
    }
}

fn only_one(groups: &[GroupName]) -> Result<GroupName, Failure> {
    match groups {
        [group] => Ok(group.clone()),
        [] => Err(Failure::new(Exit::NotThere, NO_GROUP)),
        several => {
            let message = format!(
                "which group? name one with --group: {}",
                nearest("", several)
            );
            Err(Failure::new(Exit::Usage, message))
        }
    }
}

async fn unknown(server: &Server, group: &GroupName) -> Failure {
    let known = match server.groups().await {
        Ok(groups) if groups.is_empty() => NO_GROUP.to_owned(),
        Ok(groups) => format!("there are: {}", nearest(group.as_str(), &groups)),
        Err(error) => format!("which there are cannot be said: {}", error.message),
    };
    Failure::new(
        Exit::NotThere,
        format!("there is no group {group}; {known}"),
    )
}

/// The context that counts: the one that is named, or the selected one when no server is named
/// either. A server that is named by hand is not given the password of another one.
fn context(connection: &Connection) -> Result<Context, Failure> {
    let Some(home) = context::home() else {
        return Ok(Context::default());
    };
    match (&connection.context, &connection.server) {
        (Some(name), _) => Context::named(&home, name),
        (None, None) => match context::selected(&home) {
            Some(name) => Context::named(&home, &name),
            None => Ok(Context::default()),
        },
        (None, Some(_)) => Ok(Context::default()),
    }
}

/// How the client logs in.
fn login(connection: &Connection, context: &Context) -> Result<ConnectOptions, Failure> {
    let mut login = ConnectOptions::new().name("parti");
    if let Some(file) = connection.creds.as_ref().or(context.creds.as_ref()) {
        let credentials = login.credentials(&read(file)?);
        login = credentials.map_err(|error| {
            let message = format!("{} holds no credentials: {error}", file.display());
            Failure::new(Exit::Usage, message)
        })?;
    } else if let Some(file) = connection.nkey.as_ref().or(context.nkey.as_ref()) {
        login = login.nkey(read(file)?.trim().to_owned());
    } else if let Some(user) = connection.user.as_ref().or(context.user.as_ref()) {
        let password = connection.password.as_ref().or(context.password.as_ref());
        login = match password {
            Some(password) => login.user_and_password(user.clone(), password.clone()),
            None => login.token(user.clone()),
        };
    } else if let Some(token) = &context.token {
        login = login.token(token.clone());
    }
    if let Some(file) = connection.tlsca.as_ref().or(context.ca.as_ref()) {
        read(file)?;
        login = login.add_root_certificates(file.clone());
    }
    let certificate = connection.tlscert.as_ref().or(context.cert.as_ref());
    let key = connection.tlskey.as_ref().or(context.key.as_ref());
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            read(certificate)?;
            read(key)?;
            login = login.add_client_certificate(certificate.clone(), key.clone());
        }
        (None, None) => {}
        (Some(_), None) | (None, Some(_)) => {
            let message = "a client certificate is two files: give --tlscert and --tlskey";
            return Err(Failure::new(Exit::Usage, message));
        }
    }
    if context.tls_first {
        login = login.tls_first();
    }
    let inbox = connection.inbox_prefix.as_ref();
    if let Some(prefix) = inbox.or(context.inbox_prefix.as_ref()) {
        login = login.custom_inbox_prefix(prefix);
    }
    Ok(login)
}

fn read(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| {
        let message = format!("cannot read {}: {error}", file.display());
        Failure::new(Exit::Usage, message)
    })
}

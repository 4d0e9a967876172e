//! The contexts of the command line `nats`, as its files keep them.
//!
//! It is separate because it is somebody else's format. What always holds: what cannot be read or is not
//! supported is named, and no password is repeated.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::failure::{Exit, Failure};
use crate::names::nearest;

/// What a context says.
#[derive(Default)]
pub(super) struct Context {
    pub(super) url: Option<String>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) token: Option<String>,
    pub(super) creds: Option<PathBuf>,
    pub(super) nkey: Option<PathBuf>,
    pub(super) ca: Option<PathBuf>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) domain: Option<String>,
    pub(super) api_prefix: Option<String>,
    pub(super) inbox_prefix: Option<String>,
    pub(super) tls_first: bool,
}

/// Where contexts are kept.
pub(super) fn home() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    let config = set("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.or_else(|| Some(PathBuf::from(set("HOME")?).join(".config")))?;
    Some(config.join("nats"))
}

/// The context that is selected, if one is.
pub(super) fn selected(home: &Path) -> Option<String> {
    let name = fs::read_to_string(home.join("context.txt")).ok()?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

impl Context {
    /// Reads a context.
    pub(super) fn named(home: &Path, name: &str) -> Result<Self, Failure> {
        let known = names(home);
        if !known.iter().any(|known| known == name) {
            let known = match &known[..] {
                [] => format!("there is none in {}", home.display()),
                known => format!("there are: {}", nearest(name, known)),
            };
            let message = format!("there is no context {name:?} of nats; {known}");
            return Err(Failure::new(Exit::Usage, message));
        }
        let file = home.join("context").join(format!("{name}.json"));
        let text = fs::read_to_string(&file).map_err(|error| error.to_string());
        let read = text.and_then(|text| Self::read(&text));
        read.map_err(|why| {
            let message = format!("context {name:?} ({}): {why}", file.display());
            Failure::new(Exit::Usage, message)
        })
    }

    fn read(text: &str) -> Result<Self, String> {
        let fields: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let said = |name: &str| {
            let value = fields[name].as_str().map(str::trim);
            value.filter(|value| !value.is_empty()).map(str::to_owned)
        };
        let unsupported = ["nsc", "user_jwt", "socks_proxy"];
        if let Some(name) = unsupported.into_iter().find(|name| said(name).is_some()) {
            return Err(format!("{name} is not supported; give --creds or --nkey"));
        }
        let file = |name: &str| said(name).map(expanded);
        Ok(Self {
            url: said("url"),
            user: said("user"),
            password: said("password"),
            token: said("token"),
            creds: file("creds"),
            nkey: file("nkey"),
            ca: file("ca"),
            cert: file("cert"),
            key: file("key"),
            domain: said("jetstream_domain"),
            api_prefix: said("jetstream_api_prefix"),
            inbox_prefix: said("inbox_prefix"),
            tls_first: fields["tls_first"].as_bool().unwrap_or_default(),
        })
    }
}

/// A path with its `~` made the home directory.
fn expanded(path: String) -> PathBuf {
    match (path.strip_prefix("~/"), env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        (_, _) => PathBuf::from(path),
    }
}

/// The contexts there are.
fn names(home: &Path) -> Vec<String> {
    let Ok(files) = fs::read_dir(home.join("context")) else {
        return Vec::new();
    };
    let mut names: Vec<String> = files
        .filter_map(|file| {
            let name = file.ok()?.file_name().into_string().ok()?;
            name.strip_suffix(".json").map(str::to_owned)
        })
        .collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A context in the form in which `nats context add` writes it.
    #[test]
    fn a_context_is_read_and_what_is_not_supported_is_named() {
        let text = r#"{"description":"","url":"nats://h:4222","token":"","user":"u","password":"p",
            "creds":"","nkey":"/k","cert":"","key":"","ca":"/ca","nsc":"","jetstream_domain":"hub",
            "jetstream_api_prefix":"","jetstream_event_prefix":"","inbox_prefix":"_I","tls_first":true}"#;
        let context = Context::read(text).unwrap_or_default();
        assert_eq!(context.url.as_deref(), Some("nats://h:4222"));
        assert_eq!(context.user.as_deref(), Some("u"));
        assert_eq!((context.token, context.creds), (None, None));
        assert_eq!(context.nkey, Some(PathBuf::from("/k")));
        assert_eq!(context.domain.as_deref(), Some("hub"));
        assert!(context.tls_first);
        for (text, named) in [
            (r#"{"nsc":"nsc://o/a/u"}"#, "nsc"),
            ("[", "EOF"),
            (r#"{"password":"hunter2","user_jwt":"x"}"#, "user_jwt"),
        ] {
            let error = Context::read(text).err().unwrap_or_default();
            assert!(error.contains(named), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}

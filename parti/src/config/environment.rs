//! Settings from environment variables: `PARTI_LEASE=6s` is the setting `lease`.
//!
//! It is a format of serde like any other, so that there is one list of settings. What always holds:
//! only variables that are the name of a setting are looked at, and an error names variable and setting.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::{MapDeserializer, StrDeserializer};
use serde::de::{Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::{Deserialize as _, forward_to_deserialize_any};

use super::settings::{Settings, SettingsError};

impl Settings {
    /// The settings in the environment variables of this process that begin with `prefix`, as a rule
    /// `PARTI`: `PARTI_GROUP`, `PARTI_LEASE` and so on, each named after its setting in capitals.
    ///
    /// A setting within another has two underscores, `PARTI_RETRY__ATTEMPTS`. Labels are
    /// `PARTI_LABELS=zone=a,rack=7`. Other variables are left alone, since Kubernetes sets such as
    /// `PARTI_SERVICE_HOST` itself.
    ///
    /// # Errors
    /// [`SettingsError`], which names the variable and the setting; so do those of [`Settings::build`].
    pub fn from_env(prefix: &str) -> Result<Self, SettingsError> {
        let own = |name: &std::ffi::OsString| name.to_string_lossy().starts_with(prefix);
        let vars = std::env::vars_os().filter(|(name, _)| own(name));
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Self::from_vars(prefix, vars.map(|(name, value)| (text(name), text(value))))
    }

    /// As [`Settings::from_env`], of variables that are given.
    ///
    /// ```
    /// use parti::config::Settings;
    ///
    /// let vars = [("PARTI_GROUP", "orders"), ("PARTI_LEASE", "9s")];
    /// let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
    /// assert_eq!(Settings::from_vars("PARTI", vars)?.build()?.lease().as_secs(), 9);
    /// # Ok::<(), parti::config::SettingsError>(())
    /// ```
    ///
    /// # Errors
    /// [`SettingsError`], which names the variable and the setting; so do those of [`Settings::build`].
    pub fn from_vars(
        prefix: &str,
        vars: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let vars = vars.into_iter().collect();
        let root = Variable {
            vars: &vars,
            prefix,
            setting: String::new(),
        };
        let read = Self::deserialize(root);
        let mut settings = read.map_err(|error: SettingsError| error.of_variable(prefix))?;
        settings.variables = Some(prefix.to_owned());
        Ok(settings)
    }
}

impl SettingsError {
    /// The error with the variable that its setting is from.
    pub(super) fn of_variable(self, prefix: &str) -> Self {
        let setting = match &self {
            Self::Variable { .. } => return self,
            Self::Value { name, .. } | Self::Missing { name } => Some(name.as_str()),
            Self::Config(error) => error.setting(),
            Self::Retry(_) => Some("retry"),
        };
        Self::Variable {
            variable: setting.map_or_else(|| format!("{prefix}_*"), |name| variable(prefix, name)),
            error: Box::new(self),
        }
    }
}

/// The variable of a setting: `retry.attempts` is `PARTI_RETRY__ATTEMPTS`.
fn variable(prefix: &str, setting: &str) -> String {
    format!("{prefix}_{}", setting.replace('.', "__").to_uppercase())
}

impl serde::de::Error for SettingsError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        // The caller knows the setting and completes it.
        let reason = message.to_string();
        let (name, value) = (String::new(), String::new());
        Self::Value {
            name,
            value,
            reason,
        }
    }

    fn missing_field(field: &'static str) -> Self {
        let name = field.to_owned();
        Self::Missing { name }
    }
}

/// A variable that is a setting, or what the names of several begin with.
struct Variable<'a> {
    vars: &'a BTreeMap<String, String>,
    prefix: &'a str,
    /// Its setting; empty for all settings together.
    setting: String,
}

impl<'a> Variable<'a> {
    fn inner(&self, field: &str) -> Self {
        let outer = &self.setting;
        let dot = if outer.is_empty() { "" } else { "." };
        Self {
            setting: format!("{outer}{dot}{field}"),
            ..*self
        }
    }

    /// Whether it or something within it is set.
    fn is_set(&self) -> bool {
        let name = variable(self.prefix, &self.setting);
        let within = format!("{name}__");
        self.vars.contains_key(&name) || self.vars.keys().any(|name| name.starts_with(&within))
    }

    fn value(&self) -> &'a str {
        let value = self.vars.get(&variable(self.prefix, &self.setting));
        value.map_or("", String::as_str)
    }

    /// What text as a value is to the visitor, with the setting's name in the error.
    fn read<T>(
        &self,
        read: impl FnOnce(&'a str) -> Result<T, SettingsError>,
    ) -> Result<T, SettingsError> {
        let value = self.value();
        read(value).map_err(|error| match error {
            SettingsError::Value { name, reason, .. } if name.is_empty() => SettingsError::Value {
                name: self.setting.clone(),
                value: value.to_owned(),
                reason,
            },
            other @ (SettingsError::Value { .. }
            | SettingsError::Missing { .. }
            | SettingsError::Variable { .. }
            | SettingsError::Config(_)
            | SettingsError::Retry(_)) => other,
        })
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident $type:ty, $what:literal;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
            self.read(|text| {
                let value = text.trim().parse::<$type>();
                visitor.$visit(value.map_err(|_| SettingsError::custom(concat!("not ", $what)))?)
            })
        })*
    };
}

impl<'a> IntoDeserializer<'_, SettingsError> for Variable<'a> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Variable<'_> {
    type Error = SettingsError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
        self.read(|text| visitor.visit_str(text))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
        visitor.visit_some(self)
    }

    parsed! {
        deserialize_bool visit_bool bool, "true or false";
        deserialize_u32 visit_u32 u32, "a whole number";
        deserialize_f64 visit_f64 f64, "a number";
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, SettingsError> {
        self.read(|text| {
            let text: StrDeserializer<'_, SettingsError> = text.trim().into_deserializer();
            text.deserialize_enum(name, variants, visitor)
        })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
        self.read(|text| {
            let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
            let pairs = pairs.map(|pair| {
                let pair = pair.split_once('=');
                let pair = pair.map(|(name, value)| (name.trim(), value.trim()));
                pair.ok_or_else(|| SettingsError::custom("labels are such as zone=a,rack=7"))
            });
            let pairs: Vec<(&str, &str)> = pairs.collect::<Result<_, _>>()?;
            visitor.visit_map(MapDeserializer::new(pairs.into_iter()))
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, SettingsError> {
        let set = fields.iter().filter_map(|field| {
            let inner = self.inner(field);
            inner.is_set().then_some((*field, inner))
        });
        visitor.visit_map(MapDeserializer::new(set))
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u64 u128 f32 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct identifier ignored_any
    }
}

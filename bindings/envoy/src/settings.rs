//! What people write: the JSON of a filter, and of a route.

use serde::Deserialize;

use crate::numbers::restored;

/// The settings of a filter; a route may give those of [`Settings::of_route`] anew.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    pub(crate) disabled: Option<bool>,
    pub(crate) policy: Option<PolicySource>,
    pub(crate) pepper_file: Option<String>,
    pub(crate) policy_reload_interval_ms: Option<u64>,
    pub(crate) store: Option<StoreSettings>,
    pub(crate) accounts_file: Option<String>,
    pub(crate) limits: Option<LimitsSettings>,
    pub(crate) expire_interval_ms: Option<u64>,
    pub(crate) peer: Option<Peer>,
    pub(crate) metadata: Option<MetadataNames>,
    pub(crate) metadata_namespace: Option<String>,
    pub(crate) cost: Option<Source>,
    pub(crate) sender: Option<Source>,
    pub(crate) invalid: Option<Source>,
    pub(crate) charge: Option<ResponseSource>,
    pub(crate) replay_headers: Option<Vec<String>>,
    pub(crate) max_request_body: Option<u64>,
    pub(crate) max_response_body: Option<u64>,
    pub(crate) failure_mode_allow: Option<bool>,
}

/// Where a policy comes from.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum PolicySource {
    /// A file, TOML or JSON by its name's end; read again when it changes.
    File(String),
    /// A policy that comes with the library.
    Preset(String),
    /// The policy itself.
    Inline(serde_json::Value),
}

/// Where state is kept.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum StoreSettings {
    /// In this process.
    Memory,
    /// In files of this host.
    Lmdb(LmdbSettings),
    /// On a server of the network.
    Redis(RedisSettings),
}

/// Files of LMDB.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LmdbSettings {
    pub(crate) directory: String,
    #[serde(default)]
    pub(crate) sync: Sync,
    pub(crate) map_bytes: Option<usize>,
}

/// When a commit reaches the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Sync {
    #[default]
    EveryCommit,
    IntervalMs(u64),
    Never,
}

/// A server of Redis. Its URL may have a password: it is in no message.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RedisSettings {
    pub(crate) url: Option<String>,
    pub(crate) url_file: Option<String>,
    pub(crate) connect_timeout_ms: Option<u64>,
    pub(crate) response_timeout_ms: Option<u64>,
}

impl core::fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RedisSettings").finish_non_exhaustive()
    }
}

/// Where limits are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum LimitsSettings {
    /// In the store.
    #[default]
    Store,
    /// In this process's memory.
    Process,
}

/// Whose address a request comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Peer {
    /// The TCP peer's.
    #[default]
    Connection,
    /// The one that Envoy has determined.
    Downstream,
}

/// Which entries of metadata are set.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a list of names, or \"all\"")]
pub(crate) enum MetadataNames {
    /// These.
    Listed(Vec<String>),
    /// `all`.
    All(All),
}

/// The word.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum All {
    All,
}

/// Where a fact about a request comes from.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Source {
    /// A request header; an empty one is none.
    Header(String),
    /// Dynamic metadata of the stream, text or number.
    Metadata { namespace: String, key: String },
    /// Always this.
    Value(serde_json::Value),
}

/// Where a fact about a response comes from.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum ResponseSource {
    /// A response header.
    Header(String),
}

impl Settings {
    /// The settings of a filter.
    ///
    /// # Errors
    /// What is wrong, with its place in the text.
    pub(crate) fn of_filter(json: &[u8]) -> Result<Settings, String> {
        let settings = Settings::read(json)?;
        if settings.policy.is_none() {
            return Err("`policy` is missing: give `file`, `preset` or `inline`".to_owned());
        }
        if settings.store.is_none() {
            return Err("`store` is missing: give `lmdb`, `redis` or \"memory\"".to_owned());
        }
        if settings.accounts_file.is_some() && settings.store != Some(StoreSettings::Memory) {
            return Err("`accounts_file` goes with a store in memory; others are kept with the command line tool".to_owned());
        }
        Ok(settings)
    }

    /// The settings of a route, which override a filter's.
    ///
    /// # Errors
    /// What is wrong, with its place in the text.
    pub(crate) fn of_route(json: &[u8]) -> Result<Settings, String> {
        let settings = Settings::read(json)?;
        let of_filters = [
            ("store", settings.store.is_some()),
            ("accounts_file", settings.accounts_file.is_some()),
            ("limits", settings.limits.is_some()),
            ("expire_interval_ms", settings.expire_interval_ms.is_some()),
            ("peer", settings.peer.is_some()),
            ("metadata", settings.metadata.is_some()),
            ("metadata_namespace", settings.metadata_namespace.is_some()),
        ];
        match of_filters.iter().find(|(_, given)| *given) {
            Some((name, _)) => {
                Err(format!("`{name}` belongs to the filter, a route cannot change it"))
            }
            None if settings.pepper_file.is_some() && settings.policy.is_none() => {
                Err("`pepper_file` of a route goes with a `policy` of its own".to_owned())
            }
            None => Ok(settings),
        }
    }

    fn read(json: &[u8]) -> Result<Settings, String> {
        let text = if json.trim_ascii().is_empty() { b"{}".as_slice() } else { json };
        // A list would be read as members in their order.
        if text.trim_ascii().starts_with(b"[") {
            return Err("the configuration is a JSON object, not a list".to_owned());
        }
        let mut settings = parsed(text).map_err(|error| without_passwords(&error.to_string()))?;
        for (name, source) in [
            ("cost", &mut settings.cost),
            ("sender", &mut settings.sender),
            ("invalid", &mut settings.invalid),
        ] {
            if let Some(source) = source {
                source.check().map_err(|why| format!("`{name}`: {why}"))?;
            }
        }
        Ok(settings)
    }
}

impl Source {
    /// Checks it, and takes the name of a header as Envoy knows it.
    fn check(&mut self) -> Result<(), String> {
        match self {
            Source::Header(name) => {
                *name = header_name(name)?;
                Ok(())
            }
            Source::Metadata { .. } => Ok(()),
            Source::Value(serde_json::Value::String(_) | serde_json::Value::Number(_)) => Ok(()),
            Source::Value(_) => Err("`value` is a text or a number".to_owned()),
        }
    }
}

fn parsed(text: &[u8]) -> Result<Settings, serde_json::Error> {
    let parsed = serde_json::from_slice(text);
    if parsed.is_ok() {
        return parsed;
    }
    let restored = serde_json::from_slice(text).ok().and_then(|value| restored(&value));
    restored.map_or(parsed, |restored| serde_json::from_str(&restored.to_string()))
}

/// A message that repeats a value, without what stands in a URL before its host. A password may have any byte in it, and the scheme may be
/// missing: all goes that is between `://`, or else the value's beginning, and the last `@`.
fn without_passwords(message: &str) -> String {
    let Some((before, host)) = message.rsplit_once('@') else { return message.to_owned() };
    let scheme = before.find("://").map(|at| at.saturating_add("://".len()));
    let value = || before.find(['"', '`']).map(|at| at.saturating_add(1));
    let kept = scheme.or_else(value).and_then(|end| before.get(..end)).unwrap_or_default();
    format!("{kept}{host}")
}

/// A header's name as Envoy knows it: lower-case.
///
/// # Errors
/// It is no name of a header (RFC 9110).
pub(crate) fn header_name(name: &str) -> Result<String, String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(format!("`{name}` is no name of a header"));
    }
    Ok(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter_error(json: &str) -> String {
        Settings::of_filter(json.as_bytes()).map(drop).unwrap_err()
    }

    #[test]
    fn a_filter_names_what_is_missing_or_unknown() {
        assert!(filter_error("").contains("`policy` is missing"));
        assert!(filter_error(" []").contains("not a list"));
        assert!(filter_error(r#"{"policy": {"preset": "x"}}"#).contains("`store` is missing"));
        let unknown = filter_error("{\n \"polcy\": 1}");
        assert!(unknown.contains("`polcy`") && unknown.contains("line 2"), "{unknown}");
        let wrong = filter_error(r#"{"store": {"lmdb": {"directory": "x", "sync": "often"}}}"#);
        assert!(wrong.contains("`often`") && wrong.contains("line 1"), "{wrong}");
        assert!(filter_error(r#"{"cost": {"header": "a b"}}"#).contains("no name of a header"));
        assert!(filter_error(r#"{"cost": {"value": []}}"#).contains("text or a number"));
    }

    #[test]
    fn long_numbers_may_come_as_texts() {
        let json = r#"{"policy": {"preset": "x"}, "max_request_body": "4294967296",
            "store": {"lmdb": {"directory": "7000000000", "map_bytes": "8589934592"}}}"#;
        // A directory is a text, whatever it looks like; the message is about that then.
        assert!(filter_error(json).contains("string"));
        let settings = Settings::of_filter(json.replace("7000000000", "db").as_bytes()).unwrap();
        assert_eq!(settings.max_request_body, Some(1 << 32));
        let Some(StoreSettings::Lmdb(lmdb)) = settings.store else { panic!("no lmdb") };
        assert_eq!(lmdb.map_bytes, Some(1 << 33));
        let json = r#"{"max_request_body": "4294967296", "polcy": 1}"#;
        assert!(filter_error(json).contains("`polcy`"));
    }

    #[test]
    fn a_route_cannot_change_what_belongs_to_the_filter() {
        let error = |json: &str| Settings::of_route(json.as_bytes()).map(drop).unwrap_err();
        assert!(error(r#"{"store": "memory"}"#).contains("`store` belongs to the filter"));
        assert!(error(r#"{"pepper_file": "x"}"#).contains("goes with a `policy`"));
        assert_eq!(Settings::of_route(b"{\"disabled\": true}").unwrap().disabled, Some(true));
    }

    #[test]
    fn a_password_is_in_no_message() {
        let json =
            r#"{"policy": {"preset": "x"}, "store": {"redis": {"url": "redis://u:secret@h"}}}"#;
        let settings = Settings::of_filter(json.as_bytes()).unwrap();
        assert!(!format!("{settings:?}").contains("secret"));
        for wrong in [
            r#"{"store": {"redis": {"url": "redis://u:secret@h", "x": 1}}}"#,
            r#"{"store": {"redis": "redis://u:secret@h"}}"#,
            r#"{"store": "redis://u:secret@h:6379"}"#,
            r#"{"store": {"redis://u:secret@h:6379": {}}, "cost": 1}"#,
            r#"{"store": "u:secret@h:6379"}"#,
            r#"{"store": "redis://u:it's secret@h:6379"}"#,
            r#"{"store": {"redis": "redis://u:a\"secret`@h:6379"}}"#,
            r#"{"store": "redis://u:a`://b secret@h"}"#,
        ] {
            let error = filter_error(wrong);
            assert!(!error.contains("secret"), "{error}");
            assert!(error.contains("line 1"), "{error}");
        }
    }
}

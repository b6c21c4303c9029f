//! The settings of a process: read once, from three places, checked before anything starts.
//!
//! Flags beat the environment, the environment beats the file. Every error names the setting as
//! the person wrote it: `--listen`, `PLIMSOLL_LISTEN`, or `listen` in the file.
//!
//! Not here: what the settings do (`assemble`), and settings of an environment inside the store.

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf};

use plimsoll_engine::{delivery::guard::AllowList, vault::MASTER_KEY_BYTES};

pub(crate) mod file;
pub(crate) mod parse;
mod secret;

pub(crate) use parse::LogFormat;
pub(crate) use secret::Secret;

#[cfg(test)]
mod tests;

/// For how many days the log is kept if nobody says otherwise.
const RETENTION_LOG_DAYS: u32 = 90;

/// Everything that a process can be told, parsed.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The folder that holds the store (SQLite), the master key and the address file.
    pub(crate) data_dir: PathBuf,
    /// Where the HTTP server listens. Port 0 lets the system choose.
    pub(crate) listen: SocketAddr,
    /// A PostgreSQL URL; without it, SQLite in the data directory.
    pub(crate) database_url: Option<Secret<String>>,
    /// The first admin key of an empty store.
    pub(crate) bootstrap_key: Option<Secret<String>>,
    /// Private networks that webhooks may reach all the same.
    pub(crate) allow_destinations: AllowList,
    /// Partitions of a store that does not exist yet; `None` takes the default of the backend.
    pub(crate) partitions: Option<u16>,
    /// For how many days the log is kept; 0 keeps it for ever.
    pub(crate) retention_log_days: u32,
    /// How log lines look.
    pub(crate) log_format: LogFormat,
    /// What is logged: a level, or directives such as `info,plimsoll_engine=debug`.
    pub(crate) log_level: String,
    /// What seals secrets at rest; without it, `<data-dir>/master.key`, made on the first start.
    pub(crate) master_key: Option<Secret<[u8; MASTER_KEY_BYTES]>>,
}

impl Settings {
    /// The settings of a process that was told nothing but where its data lives.
    pub(crate) fn with_data_dir(data_dir: PathBuf) -> Self {
        Self {
            data_dir,
            listen: SocketAddr::from(([127, 0, 0, 1], 8787)),
            database_url: None,
            bootstrap_key: None,
            allow_destinations: AllowList::default(),
            partitions: None,
            retention_log_days: RETENTION_LOG_DAYS,
            log_format: LogFormat::Text,
            log_level: "info".to_owned(),
            master_key: None,
        }
    }
}

/// One setting, whatever layer it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    DataDir,
    Listen,
    DatabaseUrl,
    BootstrapKey,
    AllowDestinations,
    Partitions,
    RetentionLogDays,
    LogFormat,
    LogLevel,
    MasterKey,
}

impl Name {
    pub(crate) const ALL: [Self; 10] = [
        Self::DataDir,
        Self::Listen,
        Self::DatabaseUrl,
        Self::BootstrapKey,
        Self::AllowDestinations,
        Self::Partitions,
        Self::RetentionLogDays,
        Self::LogFormat,
        Self::LogLevel,
        Self::MasterKey,
    ];

    /// The key in the file. The flag and the variable are derived from it.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::DataDir => "data_dir",
            Self::Listen => "listen",
            Self::DatabaseUrl => "database_url",
            Self::BootstrapKey => "bootstrap_key",
            Self::AllowDestinations => "allow_destinations",
            Self::Partitions => "partitions",
            Self::RetentionLogDays => "retention_log_days",
            Self::LogFormat => "log_format",
            Self::LogLevel => "log_level",
            Self::MasterKey => "master_key",
        }
    }

    /// The environment variable.
    pub(crate) fn variable(self) -> String {
        format!("PLIMSOLL_{}", self.key().to_ascii_uppercase())
    }

    /// The flag on the command line.
    fn flag(self) -> String {
        format!("--{}", self.key().replace('_', "-"))
    }
}

/// Where a value was found, for the sentence that refuses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag,
    Variable,
    File(PathBuf),
}

/// What one place says: texts that nobody has checked yet.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) origin: Origin,
    pub(crate) values: BTreeMap<Name, String>,
}

/// Why the settings cannot be used. The sentence is for the person who wrote them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WrongSettings {
    #[error("{setting} {problem}")]
    Value { setting: Setting, problem: String },
    #[error("cannot read the settings file {}: {problem}", path.display())]
    Unreadable { path: PathBuf, problem: std::io::Error },
    #[error("the settings file {} is not TOML: {problem}", path.display())]
    NotToml { path: PathBuf, problem: String },
    #[error(
        "the settings file {} has the unknown setting `{key}`; the settings are {}",
        path.display(),
        Name::ALL.map(Name::key).join(", ")
    )]
    Unknown { path: PathBuf, key: String },
    #[error("the environment variable {0} is not UTF-8")]
    NotUtf8(String),
}

/// A setting as the person wrote it.
#[derive(Debug)]
pub(crate) struct Setting {
    name: Name,
    origin: Origin,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Flag => write!(f, "{}", self.name.flag()),
            Origin::Variable => write!(f, "{}", self.name.variable()),
            Origin::File(path) => write!(f, "`{}` in {}", self.name.key(), path.display()),
        }
    }
}

/// What the environment variables say.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(crate) fn from_environment() -> Result<Layer, WrongSettings> {
    let mut values = BTreeMap::new();
    for name in Name::ALL {
        let variable = name.variable();
        if let Some(value) = std::env::var_os(&variable) {
            let value = value.into_string().map_err(|_| WrongSettings::NotUtf8(variable))?;
            values.insert(name, value);
        }
    }
    Ok(Layer { origin: Origin::Variable, values })
}

/// Settles on one value a setting, the first layer that has it winning, and parses it.
pub(crate) fn settle(layers: &[Layer]) -> Result<Settings, WrongSettings> {
    let chosen = Chosen { layers };
    let data_dir = chosen.parse(Name::DataDir, parse::data_dir)?;
    let mut settings =
        Settings::with_data_dir(data_dir.unwrap_or_else(|| PathBuf::from("plimsoll-data")));
    if let Some(listen) = chosen.parse(Name::Listen, parse::listen)? {
        settings.listen = listen;
    }
    settings.database_url = chosen.parse(Name::DatabaseUrl, parse::database_url)?;
    settings.bootstrap_key = chosen.parse(Name::BootstrapKey, parse::bootstrap_key)?;
    if let Some(networks) = chosen.parse(Name::AllowDestinations, parse::networks)? {
        settings.allow_destinations = networks;
    }
    settings.partitions = chosen.parse(Name::Partitions, parse::partitions)?;
    if let Some(days) = chosen.parse(Name::RetentionLogDays, parse::retention_log_days)? {
        settings.retention_log_days = days;
    }
    if let Some(format) = chosen.parse(Name::LogFormat, parse::log_format)? {
        settings.log_format = format;
    }
    if let Some(level) = chosen.parse(Name::LogLevel, parse::log_level)? {
        settings.log_level = level;
    }
    settings.master_key = chosen.parse(Name::MasterKey, parse::master_key)?;
    Ok(settings)
}

struct Chosen<'a> {
    layers: &'a [Layer],
}

impl Chosen<'_> {
    fn parse<T>(
        &self,
        name: Name,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, WrongSettings> {
        let found = self.layers.iter().find_map(|it| Some((it, it.values.get(&name)?)));
        let Some((layer, value)) = found else { return Ok(None) };
        parse(value).map(Some).map_err(|problem| WrongSettings::Value {
            setting: Setting { name, origin: layer.origin.clone() },
            problem,
        })
    }
}

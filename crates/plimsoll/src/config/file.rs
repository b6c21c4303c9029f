//! The settings file: TOML, one key a setting, nothing nested.

use std::{collections::BTreeMap, path::Path};

use super::{Layer, Name, Origin, Setting, WrongSettings};

/// Reads the file at `path`.
pub(crate) fn read(path: &Path) -> Result<Layer, WrongSettings> {
    let text = std::fs::read_to_string(path)
        .map_err(|problem| WrongSettings::Unreadable { path: path.to_path_buf(), problem })?;
    parse(path, &text)
}

/// Reads `text`, naming `path` in what it says of it.
pub(super) fn parse(path: &Path, text: &str) -> Result<Layer, WrongSettings> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        WrongSettings::NotToml { path: path.to_path_buf(), problem: error.message().to_owned() }
    })?;
    let origin = Origin::File(path.to_path_buf());
    let mut values = BTreeMap::new();
    for (key, value) in table {
        let Some(name) = Name::ALL.into_iter().find(|it| it.key() == key) else {
            return Err(WrongSettings::Unknown { path: path.to_path_buf(), key });
        };
        let text = text_of(value).ok_or_else(|| WrongSettings::Value {
            setting: Setting { name, origin: origin.clone() },
            problem: "is neither a text, a whole number nor a list of texts".to_owned(),
        })?;
        values.insert(name, text);
    }
    Ok(Layer { origin, values })
}

/// A value as the other layers would write it: lists are joined by commas.
fn text_of(value: toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Array(items) => {
            let texts: Option<Vec<_>> =
                items.iter().map(|it| it.as_str().map(str::to_owned)).collect();
            texts.map(|it| it.join(","))
        }
        toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Table(_) => None,
    }
}

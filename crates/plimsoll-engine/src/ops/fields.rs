//! The rules that fields of every resource share: keys, names, texts, metadata, lists.
//!
//! Each check names the field it refuses. Not here: fields that mean something to one resource.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_core::{key::Key, limits};

use crate::ops::{
    problem::{Problem, ProblemCode},
    request::Patch,
};

/// What people attach to a resource: texts by name. Plimsoll keeps them and never reads them.
pub type Metadata = BTreeMap<String, String>;

/// A change of [`Metadata`]: a name with a text is set, a name with null is removed.
pub type MetadataPatch = BTreeMap<String, Option<String>>;

/// Checks a resource's key.
pub(crate) fn key(field: &str, text: &str) -> Result<Key, Problem> {
    text.parse().map_err(|error| Problem::at(ProblemCode::InvalidKey, field, format!("{error}")))
}

/// Checks a resource's name.
pub(crate) fn name(field: &str, text: &str) -> Result<(), Problem> {
    bounded_text(field, text, limits::NAME_BYTES)
}

/// Checks a text of one line: not empty, no control characters, at most `bytes` long.
pub(crate) fn bounded_text(field: &str, text: &str, bytes: usize) -> Result<(), Problem> {
    if text.trim().is_empty() || text.len() > bytes {
        return Err(Problem::invalid(field, format!("{field} has 1 to {bytes} bytes")));
    }
    if text.chars().any(char::is_control) {
        let detail = format!("{field} holds a control character");
        return Err(Problem::at(ProblemCode::InvalidCharacter, field, detail));
    }
    Ok(())
}

/// Checks metadata against its bounds.
pub(crate) fn metadata(metadata: &Metadata) -> Result<(), Problem> {
    let refuse = |field: String, detail: String| {
        Err(Problem::at(ProblemCode::InvalidMetadata, field, detail))
    };
    if metadata.len() > limits::METADATA_ENTRIES {
        let detail = format!("metadata has at most {} entries", limits::METADATA_ENTRIES);
        return refuse("metadata".to_owned(), detail);
    }
    for (name, value) in metadata {
        if name.is_empty() || name.len() > limits::KEY_BYTES {
            let detail = format!("a name in metadata has 1 to {} bytes", limits::KEY_BYTES);
            return refuse("metadata".to_owned(), detail);
        }
        if value.len() > limits::METADATA_VALUE_BYTES {
            let bytes = limits::METADATA_VALUE_BYTES;
            return refuse(
                format!("metadata.{name}"),
                format!("a value has at most {bytes} bytes"),
            );
        }
    }
    Ok(())
}

/// Metadata after a change: names are merged, null removes one, null for the whole removes all.
pub(crate) fn patched_metadata(
    mut current: Metadata,
    patch: Patch<MetadataPatch>,
) -> Result<Metadata, Problem> {
    match patch {
        Patch::Keep => return Ok(current),
        Patch::Clear => return Ok(Metadata::new()),
        Patch::Set(changes) => {
            for (name, value) in changes {
                match value {
                    Some(value) => current.insert(name, value),
                    None => current.remove(&name),
                };
            }
        }
    }
    metadata(&current)?;
    Ok(current)
}

/// Checks that a list of the request is not too long and names nothing twice.
pub(crate) fn distinct(field: &str, items: &[String], most: usize) -> Result<(), Problem> {
    if items.len() > most {
        let detail = format!("{field} has at most {most} items");
        return Err(Problem::at(ProblemCode::TooManyItems, field, detail));
    }
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        if !seen.insert(item) {
            return Err(Problem::invalid(format!("{field}[{index}]"), format!("{item:?} twice")));
        }
    }
    Ok(())
}

/// Refuses null for a field that is never empty.
pub(crate) fn never_null<T>(field: &str, patch: Patch<T>, current: T) -> Result<T, Problem> {
    match patch {
        Patch::Keep => Ok(current),
        Patch::Set(value) => Ok(value),
        Patch::Clear => Err(Problem::invalid(field, format!("{field} cannot be null"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_merged_by_name() {
        let before = Metadata::from([("a".into(), "1".into()), ("b".into(), "2".into())]);
        let patch = MetadataPatch::from([("a".into(), None), ("c".into(), Some("3".into()))]);
        let after = Metadata::from([("b".into(), "2".into()), ("c".into(), "3".into())]);
        assert_eq!(patched_metadata(before.clone(), Patch::Set(patch)), Ok(after));
        assert_eq!(patched_metadata(before.clone(), Patch::Clear), Ok(Metadata::new()));
        let long = MetadataPatch::from([("a".into(), Some("x".repeat(1025)))]);
        let problem = patched_metadata(before, Patch::Set(long)).unwrap_err();
        assert_eq!(problem.field.as_deref(), Some("metadata.a"));
    }
}

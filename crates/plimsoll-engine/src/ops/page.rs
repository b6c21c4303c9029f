//! Lists in pages: how many, from where, and where the next page begins.
//!
//! A cursor names the last item of the page before, so that a page is right whatever was added or
//! deleted meanwhile.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use plimsoll_core::limits;
use serde::{Deserialize, Serialize};

use crate::ops::problem::{Problem, ProblemCode};

/// What part of a list is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListRequest {
    /// Items of the page, 1 to 1000; 50 if absent.
    #[serde(default)]
    pub limit: Option<usize>,
    /// The `next_cursor` of the page before.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins; null on the last page.
    pub next_cursor: Option<String>,
}

impl ListRequest {
    /// How many items, checked.
    pub(crate) fn limit(&self) -> Result<usize, Problem> {
        let limit = self.limit.unwrap_or(limits::PAGE_DEFAULT);
        if !(1..=limits::PAGE).contains(&limit) {
            let detail = format!("limit is 1 to {}", limits::PAGE);
            return Err(Problem::at(ProblemCode::InvalidParameter, "limit", detail));
        }
        Ok(limit)
    }

    /// The text of the id that the page before ended with.
    pub(crate) fn after(&self) -> Result<Option<String>, Problem> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let id = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|it| String::from_utf8(it).ok());
        match id {
            Some(id) if plimsoll_core::key::looks_like_id(&id) => Ok(Some(id)),
            Some(_) | None => {
                let detail = "the cursor is not the next_cursor of a page";
                Err(Problem::at(ProblemCode::InvalidCursor, "cursor", detail))
            }
        }
    }
}

impl<T> Page<T> {
    /// A page of `items`, of which one more than `limit` was fetched if there are more.
    pub(crate) fn cut(mut items: Vec<T>, limit: usize, id: impl Fn(&T) -> String) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let last = if more { items.last() } else { None };
        let next_cursor = last.map(|it| URL_SAFE_NO_PAD.encode(id(it)));
        Self { items, next_cursor }
    }

    /// The same page of other items.
    pub(crate) fn map<U>(self, convert: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(convert).collect(), next_cursor: self.next_cursor }
    }
}

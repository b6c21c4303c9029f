//! Where webhooks may go: which addresses, which URLs, which custom headers.
//!
//! Someone who may create a channel makes this process send requests. Without this module those
//! requests could read a cloud's metadata service or the database next door. Every rule judges
//! parsed values, never text: the many spellings of one address are one number here.
//!
//! Not here: resolving and connecting. The client judges each address again when it dials, since
//! what a name means can change between registration and delivery.

mod address;
mod allow;
mod header;
mod url;

pub use address::Forbidden;
pub use allow::{AllowList, InvalidAllowList};
pub use header::{HeaderRefusal, vet_header};
pub use url::{UrlRefusal, vet_url};

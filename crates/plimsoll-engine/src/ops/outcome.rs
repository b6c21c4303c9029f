//! The HTTP statuses of success, in one place because a replayed answer repeats them.

/// A resource was read or changed.
pub const OK: u16 = 200;
/// A resource was made.
pub const CREATED: u16 = 201;
/// Something was begun that ends later.
pub const ACCEPTED: u16 = 202;
/// A resource was deleted; there is no body.
pub const DELETED: u16 = 204;

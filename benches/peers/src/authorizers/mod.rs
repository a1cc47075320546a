//! Who says whether a caller's scopes allow a method and a path.
//!
//! All have the routes and scopes of the `sms-gateway` preset: 22 routes, eight scopes. The peers know
//! no routes, so matchit, with the same patterns, finds the route before each of them is asked: what
//! a server's router does. Each is asked about one caller, whom it knows beforehand.

mod casbin;
mod cedar;
mod rego;
mod routes;
mod tollgate;

pub use casbin::{Casbin, CasbinCached};
pub use cedar::Cedar;
pub use rego::{Rego, RegoInterpreted};
pub use routes::{Grants, Routes, question};
pub use tollgate::Scopes;

/// An authorizer that knows one caller.
pub trait Authorizer {
    /// Whether the caller may call this.
    fn allows(&mut self, method: &str, path: &str) -> bool;
}

/// The scopes of the caller in the measurements.
pub const CALLER: &[&str] = &["balance", "reports", "sms:send"];

#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod admin;
mod api;
mod caller;
mod clock;
mod decide;
mod ext_authz;
mod forward;
#[cfg(test)]
mod hostile;
mod housekeeping;
mod latest;
mod listen;
mod log;
mod metrics;
mod options;
mod page;
mod policy;
mod question;
mod record;
mod reply;
mod secret;
mod seldom;
mod server;
mod shared;
mod store;
pub mod telemetry;
mod ticket;

pub use api::description as openapi_description;
pub use clock::Clock;
pub use listen::Bound;
pub use options::{
    AdminOptions, Bounds, DecisionLog, FactHeaders, Listen, LoadPolicy, Options, Settlement,
    StoreLocation, TlsFiles,
};
pub use secret::{Secret, SecretError};
pub use server::{Server, StartError};

//! Policies: what people write, and what it compiles to.

mod compile;
mod compiled;
mod config;
mod error;
mod lint;
#[cfg(feature = "json")]
mod merge;
mod pattern;
mod presets;
mod router;
mod scopes;
#[cfg(test)]
mod tests;
#[cfg(any(feature = "toml", feature = "json"))]
mod text;

pub use compiled::{
    ChargeRule, CompiledPolicy, ForwardedHeader, MAX_LIMITS_PER_ROUTE, Route, RouteId,
};
pub use config::{
    AnswersConfig, IdempotencyConfig, IdempotencyOverrides, LimitConfig, PathsConfig, PolicyConfig,
    ReservationsConfig, ResetFormat, RouteConfig, RouteIdempotency, SourceConfig, TokensConfig,
};
pub use error::{PolicyError, PolicyErrors};
pub use lint::{Warning, lint};
#[cfg(feature = "json")]
pub use merge::merge_patch;
pub use presets::{PRESETS, preset};
pub use scopes::{MAX_SCOPES, ScopeSet, ScopeTable};

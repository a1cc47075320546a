//! Policies: what people write, and what it compiles to.

mod compiled;
mod router;
mod scopes;

pub use compiled::{ChargeRule, CompiledPolicy, ForwardedHeader, Route, RouteId};
pub(crate) use compiled::{AnswerRules, SourceRules};
pub use scopes::{MAX_SCOPES, ScopeSet, ScopeTable};

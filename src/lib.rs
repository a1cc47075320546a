#![doc = include_str!("../README.md")]
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod admin;
mod answer;
mod authenticate;
mod authorize;
mod client_ip;
mod command;
mod crc32;
mod decision;
mod engine;
mod evaluate;
mod explain;
mod idempotency;
mod ledger;
mod limit;
#[cfg(feature = "std")]
mod live;
mod path;
mod policy;
mod request;
mod sha256;
mod status;
mod store;
mod token;
pub mod transition;

/// The latest time that the engine takes, in Unix milliseconds (the year 2527): beyond it, limiter
/// arithmetic in nanoseconds would not fit 64 bits. Later requests are denied with `store_unavailable`.
pub const MAX_NOW_MS: u64 = (1 << 44) - 1;

// A policy, and the engine that decides under it.
pub use engine::{Engine, FinishError};
#[cfg(feature = "std")]
pub use live::LiveEngine;
#[cfg(feature = "json")]
pub use policy::merge_patch;
pub use policy::{
    AnswersConfig, ChargeRule, CompiledPolicy, ForwardedHeader, IdempotencyConfig,
    IdempotencyOverrides, LimitConfig, MAX_LIMITS_PER_ROUTE, MAX_SCOPES, PRESETS, PathsConfig,
    PolicyConfig, PolicyError, PolicyErrors, ReservationsConfig, ResetFormat, Route, RouteConfig,
    RouteId, RouteIdempotency, ScopeSet, ScopeTable, SourceConfig, TokensConfig, Warning, lint,
    preset,
};

// One request.
pub use answer::Answer;
pub use decision::{Decision, Ticket, Verdict};
pub use evaluate::Evaluation;
pub use explain::{Check as ExplainedCheck, CheckResult, Explanation, TraceStep};
pub use request::{Body, Headers, Request, Single};
pub use status::{STATUS_TABLE, Status, StatusRow};

// What a store is asked, and answers.
pub use command::{
    AccountPatch, AccountSettings, AccountView, Administration, Admission, Admit, AdmitDetail,
    AdmitVerdict, CapHolder, Command, Credential, Denial, Finish, Idempotency, LimitReport,
    LookedUp, Lookup, Mode, Outcome, PlainAdmission, PlainAdmit, Refusal, Settle, Settled, Shadows,
    Token, TokenPatch,
};
pub use store::composite::{CompositeStore, LimitStore};
#[cfg(feature = "std")]
pub use store::memory::{MemoryOptions, MemoryStore};
pub use store::{AsyncStore, Store, StoreError};

// Administration, money, tokens, limits.
pub use admin::{Admin, AdminError};
pub use client_ip::{NetworkError, parse_network};
pub use idempotency::{
    Claim, ClaimKey, Fingerprint, IdempotencyRule, NEVER_REPLAYED_HEADERS, OnOrphan,
    REPLAY_HEADERS, StoredResponse,
};
pub use ipnet::IpNet;
pub use ledger::{
    AccountId, AccountIdError, AccountRef, Amount, CountedIn, OnExpiry, Period, Reservation,
    ReservationId, ReservationState, Spend, SpendCap, Wallet,
};
pub use limit::{
    Algorithm, Cell, CellKey, Check, Counts, FailureMode, FixedCell, GIVEN_BACK_WITHIN_MS,
    GcraCell, Left, Limit, LimitId, Partition, Quota, Refused, SlidingCell, TokenQuota, check,
    expires_ms, give_back,
};
pub use token::{
    Pepper, PepperError, TokenDigest, TokenDigestError, TokenFormat, TokenText, TokenTextError,
    digest,
};

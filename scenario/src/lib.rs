#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod convert;
mod error;
mod expect;
mod expectations;
mod fields;
mod file;
mod library;
mod parallel;
mod runner;
mod session;
mod step;
mod surface;
mod unique;
mod wire;

pub use error::StepError;
pub use expect::{Mismatch, check, matches};
pub use fields::{
    AccountStep, DepositStep, ExpireStep, FinishOutcome, FinishStep, InspectStep, MAX_THREADS,
    ParallelStep, PolicyStep, RefundStep, RequestStep, ResolveStep, ResponseFields, RevokeStep,
    RotateStep, TokenStep,
};
pub use file::{
    FileError, FileReport, NotCarried, Scenario, ScenarioReport, StepFailure, VectorFile,
};
pub use library::{Allowed, LibrarySurface};
pub use runner::{Backend, MemoryBackend, Runner};
pub use session::Explained;
pub use step::Step;
pub use surface::{Decided, Finished, Header, Money, Surface, Surfaces};
pub use unique::UniqueKeys;
pub use wire::{HeaderList, Secret, Wire, wire_text};

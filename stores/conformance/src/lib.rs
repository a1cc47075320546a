#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::missing_panics_doc,
    reason = "these are tests: what is not as it should be is a panic"
)]

mod answer;
mod beside;
mod differential;
mod faults;
mod faulty;
mod faulty_records;
#[doc(hidden)]
pub mod limits;
mod macros;
mod model;
mod steps;
mod subject;
#[doc(hidden)]
pub mod suite;
mod vectors;
pub mod world;

pub use answer::{Admitted, Answer, Known, Verdict, name_of};
pub use beside::vectors_beside;
pub use differential::{ModelBackend, answers, random_stories, replay};
pub use faults::{FAULTS, Fault, Kind, Plan};
pub use faulty::{Delay, FaultyAsyncStore, FaultyStore};
pub use faulty_records::FaultyRecords;
pub use macros::{Behaviour, behaviours, durable_behaviours, shared_behaviours};
pub use model::{KEPT_MS, ModelRecords, ModelStore};
pub use steps::{Asked, End, Key, Step, limits as story_limits, setting, step, steps};
pub use subject::{Bound, Damage, Subject};
pub use suite::bounds::MAX_TRIES;
pub use vectors::{VectorsError, VectorsReport, vector_files, vectors};

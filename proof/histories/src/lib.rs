#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::missing_panics_doc,
    reason = "these are tests: what is not as it should be is a panic"
)]

mod account;
mod call;
mod check;
mod names;
pub mod planted;
mod random;
mod record;
pub mod stores;
mod story;
mod teller;
mod timeline;
mod verdict;

pub use account::{Account, LookUps};
pub use call::{Answer, Call, Credential, Ending, Key, LATE_MS, NOW_MS, Op, Verdict};
pub use check::{Done, Sequential, Stuck, linearize};
pub use names::{Names, ROUTES, open_account};
pub use record::{Barrier, History, record, stamp};
pub use story::{ACCOUNTS, KEYS, Step, Story, TOKENS, What};
pub use teller::Teller;
pub use timeline::timeline;
pub use verdict::{Report, Violation, judge};

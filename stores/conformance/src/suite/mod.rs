//! What every store does, one function a behaviour. Each begins with a fresh store, and panics with what
//! it found.

pub mod administration;
pub mod admission;
pub mod bounds;
pub mod damage;
pub mod durability;
pub mod extremes;
pub mod idempotency;
pub mod model;
pub mod money;
pub mod races;
pub mod revision;
pub mod sharing;
pub mod time;

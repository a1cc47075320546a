//! Random policies and steps over a small world.

pub mod policy;
pub mod steps;

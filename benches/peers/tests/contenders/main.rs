//! The comparison is of equal work, and what it counts can go wrong.

mod alike;
mod races;
mod report;

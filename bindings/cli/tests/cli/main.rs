//! The real command: every subcommand, bad input, and the pipe.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

mod check;
mod common;
mod docs;
mod explain;
mod redis;
mod replay;
mod scenario;
mod serve;
mod stores;
mod token;
mod verify;

//! The real command: every subcommand, bad input, and the pipe.
#![cfg(test)]

mod check;
mod common;
mod explain;
mod redis;
mod replay;
mod scenario;
mod stores;
mod token;

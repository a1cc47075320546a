//! The real command: every subcommand, bad input, and the pipe.
#![cfg(test)]

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

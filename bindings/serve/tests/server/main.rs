//! A whole server in this process: what it decides, what it keeps, what it says, and how it takes hostile callers.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

mod callers;
mod client;
mod contract;
mod python;
mod reload;
mod running;
mod vectors;

//! The settings page over HTTP, on a server of its own.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects)] // small numbers

mod access;
mod accounts;
mod browser;
mod decisions;
mod forms;
mod hostile;
mod html;
mod keys;
mod money;
mod site;
mod tls;

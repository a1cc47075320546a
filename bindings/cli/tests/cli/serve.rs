//! `tollgate serve`, as it is built: its arguments, its signals, and how it takes clients that mean no good.

mod arguments;
mod clients;
mod floods;
mod logs;
mod policies;
mod process;
mod signals;
mod spans;
mod tls;

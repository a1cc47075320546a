//! What no caller should do: the library answers with a result, and changes nothing.
#![cfg(test)]

mod probes;
mod shapes;

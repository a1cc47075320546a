//! The Worker runs scenarios in workerd: see `tests/vectors.rs`.

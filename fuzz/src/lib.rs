//! What several fuzz targets share.

mod probe;

pub use probe::{Probe, Seen};

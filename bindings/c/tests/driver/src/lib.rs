//! Scenarios through the C ABI: a driver in C (`c/`), which uses the public header as any C program does, and the
//! [`Surface`](tollgate_scenario::Surface) over it.

use tollgate_c as _; // what the driver calls

mod driver;
mod ffi;
pub mod hostile;
mod start;
mod surface;

pub use driver::{Decision, Driver};
pub use start::{Form, Stores, Through};
pub use surface::{Open, Program};

#![doc = include_str!("../README.md")]

mod admission;
mod blocking;
mod capture;
mod carry_on;
mod convert;
mod forward;
mod layer;
mod options;
mod peer;
mod request_body;
mod response_body;
mod settlement;

pub use admission::Admitted;
pub use blocking::Blocking;
pub use layer::{TollgateLayer, TollgateService};
pub use options::{DEFAULT_REPLAY_HEADERS, Facts, TollgateLayerBuilder};
pub use peer::PeerAddr;
pub use request_body::RequestBody;
pub use response_body::ResponseBody;
pub use settlement::Settlement;

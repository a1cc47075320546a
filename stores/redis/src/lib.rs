#![doc = include_str!("../README.md")]

mod administer;
mod admit;
#[cfg(feature = "async")]
mod asynchronous;
mod bytes;
mod cache;
mod connection;
mod exchange;
mod expire;
mod failure;
mod keys;
mod limits;
mod look;
mod look_up;
mod money;
mod options;
mod protocol;
mod records;
mod register;
mod scratch;
mod scripts;
mod snapshot;
mod spanning;
mod sync;

#[cfg(feature = "async")]
pub use asynchronous::AsyncRedisStore;
pub use exchange::{Call, Exchange, Nonce, Reply};
pub use failure::CallError;
pub use options::RedisOptions;
pub use protocol::{OptionsError, Protocol, ProtocolOptions};
pub use redis;
pub use scratch::RedisScratch;
pub use sync::RedisStore;

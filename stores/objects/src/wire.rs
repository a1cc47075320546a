//! Bytes between callers and objects: a version, the caller's time, and postcard.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tollgate::StoreError;

/// The version of messages and answers that this version of the library speaks.
pub const VERSION: u8 = 1;

/// A message or an answer as bytes.
pub(crate) fn encode<T: Serialize>(content: &T) -> Result<Vec<u8>, StoreError> {
    postcard::to_extend(content, vec![VERSION])
        .map_err(|_| unavailable("a message could not be written; this is a bug in the store"))
}

/// What [`encode`] wrote. It may be anything else too.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    let Some((&version, content)) = bytes.split_first() else {
        return Err(undecodable());
    };
    if version != VERSION {
        return Err(unavailable(&format!(
            "a message has version {version} and this side speaks version {VERSION}; it goes away \
             when callers and objects run the same version of tollgate"
        )));
    }
    match postcard::take_from_bytes(content) {
        Ok((content, [])) => Ok(content),
        _ => Err(undecodable()),
    }
}

pub(crate) fn undecodable() -> StoreError {
    unavailable(&format!(
        "a message is not one of version {VERSION}, which this side speaks; do callers and objects run the \
         same version of tollgate?"
    ))
}

pub(crate) fn unavailable(reason: &str) -> StoreError {
    StoreError::Unavailable { reason: reason.into() }
}

/// A message as it is sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Envelope<T> {
    /// The caller's clock: all objects of one command decide at one time.
    pub(crate) now_ms: u64,
    pub(crate) message: T,
}

#[cfg(test)]
pub(crate) mod tests;

//! The sets that name every account: the only place where all accounts are known.

use redis::Value;
use tollgate::{AccountId, Outcome, StoreError};

use crate::exchange::{Call, Io, list as bytes, wrong_shape};
use crate::protocol::Protocol;

/// How many accounts are asked for in one round.
const AT_ONCE: usize = 128;

/// The names in all of the sets, in no order.
pub(crate) async fn names(protocol: &Protocol, io: &Io) -> Result<Vec<AccountId>, StoreError> {
    let name = |name: Vec<u8>| {
        let name = std::str::from_utf8(&name).ok().and_then(|name| AccountId::new(name).ok());
        name.ok_or(StoreError::Corrupt { what: "the names of accounts" })
    };
    let registers = protocol.keys.registers();
    let calls = registers.map(|register| Call::new("SMEMBERS", register)).collect();
    let mut names = Vec::new();
    for reply in io.round(calls).await {
        for one in bytes(reply?)? {
            names.push(name(one)?);
        }
    }
    Ok(names)
}

/// Reads all names: for operators, not for requests.
pub(crate) async fn list(
    protocol: &Protocol,
    io: &Io,
    after: Option<&AccountId>,
    at_most: usize,
) -> Result<Outcome, StoreError> {
    let mut all = names(protocol, io).await?;
    all.retain(|id| after.is_none_or(|after| id > after));
    all.sort_unstable();
    let mut found = Vec::new();
    for some in all.chunks(AT_ONCE) {
        // A name is written before its account: of one that was never made there is nothing else.
        let call = |id| Call::new("EXISTS", protocol.keys.account(id).account());
        let replies = io.round(some.iter().map(call).collect()).await;
        for (reply, id) in replies.into_iter().zip(some) {
            match reply? {
                Value::Int(1) => found.push(id.clone()),
                Value::Int(0) => {}
                _ => return Err(wrong_shape()),
            }
            if found.len() >= at_most {
                found.truncate(at_most);
                return Ok(Outcome::Accounts(found));
            }
        }
    }
    Ok(Outcome::Accounts(found))
}

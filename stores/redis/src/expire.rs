//! The sweep: what fell due in any account, a pipeline of accounts at a time.

use tollgate::{AccountId, Outcome, StoreError};

use crate::exchange::{Io, ScriptCall, wrong_shape};
use crate::protocol::Protocol;
use crate::register::names;
use crate::scripts::EXPIRE;

/// How many accounts are asked in one round. With the most that each script does it is well below any
/// time that an answer may take.
const AT_ONCE: usize = 64;

pub(crate) async fn expire(
    protocol: &Protocol,
    io: &Io,
    now_ms: u64,
) -> Result<Outcome, StoreError> {
    let mut ended = 0_u64;
    for some in names(protocol, io).await?.chunks(AT_ONCE) {
        let mut left: Vec<&AccountId> = some.iter().collect();
        while !left.is_empty() {
            let (count, more) = round(protocol, io, &left, now_ms).await?;
            ended = ended.saturating_add(count);
            left = more;
        }
    }
    Ok(Outcome::Expired(ended))
}

/// Deals with a bounded number of records of each account; gives those that have more.
async fn round<'n>(
    protocol: &Protocol,
    io: &Io,
    accounts: &[&'n AccountId],
    now_ms: u64,
) -> Result<(u64, Vec<&'n AccountId>), StoreError> {
    let script = |id: &&AccountId| ScriptCall {
        script: &EXPIRE,
        keys: protocol.keys.account(id).records().to_vec(),
        args: vec![now_ms.to_string().into_bytes()],
    };
    let scripts: Vec<_> = accounts.iter().map(script).collect();
    let (mut ended, mut more) = (0_u64, Vec::new());
    for (reply, id) in io.scripts(&scripts).await.into_iter().zip(accounts) {
        let redis::Value::Array(values) = reply? else { return Err(wrong_shape()) };
        let [redis::Value::Int(count), redis::Value::Int(has_more)] = values[..] else {
            return Err(wrong_shape());
        };
        ended = ended.saturating_add(u64::try_from(count).unwrap_or(0));
        if has_more == 1 {
            more.push(*id);
        }
    }
    Ok((ended, more))
}

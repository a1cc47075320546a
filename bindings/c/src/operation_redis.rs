//! A command performed on Redis, with bytes that the host carries.

use tollgate_redis::{Call, CallError, Nonce, Reply, redis};

use crate::error::{Error, tollgate_result_t};
use crate::ffi::{borrow, borrow_mut, call, many, optional_array, out, tollgate_str_t, value};
use crate::limits::random;
use crate::operation::tollgate_operation_t;
use crate::redis::tollgate_redis_t;
use crate::resp::reply_len;
use crate::wire::Given;

/// A call, and what came for it so far.
pub(crate) struct Sent {
    call: Vec<u8>,
    key: Vec<u8>,
    bytes: Vec<u8>,
    reply: Option<Reply>,
}

/// Starts to perform the operation's command on a server:
///
/// ```c
/// tollgate_operation_redis_start(operation, redis, NULL);
/// while ((calls = tollgate_operation_redis_calls(operation)) > 0) {
///     // send each call's bytes; give each one's reply
///     tollgate_operation_redis_resume(operation);
/// }
/// ```
///
/// `nonce` is 16 bytes that are never used again, on whatever machine, by which what is sent twice is applied once; null: random ones. Errors:
/// as `tollgate_operation_perform`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_operation_redis_start(
    operation: *mut tollgate_operation_t,
    redis: *const tollgate_redis_t,
    nonce: *const u8,
) -> tollgate_result_t {
    call(|| {
        let operation = borrow_mut(operation, "operation")?;
        let redis = borrow(redis, "redis")?.share();
        let nonce = match optional_array(nonce, "nonce")? {
            Some(nonce) => nonce,
            None => random()?,
        };
        operation.give(Given::Redis(redis, Nonce(nonce)))
    })
}

/// How many calls are to be sent now; they do not depend on each other, so that they may go as one pipeline. 0: the command is
/// performed, or none was started.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_operation_redis_calls(
    operation: *const tollgate_operation_t,
) -> usize {
    value(0, || Ok(borrow(operation, "operation")?.sent.len()))
}

/// Gives a call, by its index from 0: the bytes to send, and a key by whose slot a cluster routes it. They are valid until the operation
/// is resumed or freed. A call whose connection broke may be sent again as it is.
///
/// Errors: `TOLLGATE_INVALID_ARGUMENT` when there is none with this index.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_operation_redis_call(
    operation: *const tollgate_operation_t,
    index: usize,
    bytes: *mut tollgate_str_t,
    key: *mut tollgate_str_t,
) -> tollgate_result_t {
    call(|| {
        let operation = borrow(operation, "operation")?;
        let (bytes, key) = (out(bytes, "bytes")?, out(key, "key")?);
        let sent = operation.sent.get(index).ok_or_else(no_call)?;
        bytes.set(tollgate_str_t::of_bytes(&sent.call));
        key.set(tollgate_str_t::of_bytes(&sent.key));
        Ok(())
    })
}

/// Takes bytes that came for a call, as they come. `*consumed` is how many of them belong to its reply; what follows is the next call's.
///
/// Errors: `TOLLGATE_NOT_READY` when the reply is not complete: all bytes were consumed, give what comes next;
/// `TOLLGATE_FINISHED` when it was complete before; `TOLLGATE_INVALID_ARGUMENT` for bytes that are no reply: close the connection, the call
/// counts as lost.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_operation_redis_reply(
    operation: *mut tollgate_operation_t,
    index: usize,
    bytes: *const u8,
    bytes_len: usize,
    consumed: *mut usize,
) -> tollgate_result_t {
    call(|| {
        let operation = borrow_mut(operation, "operation")?;
        let consumed = out(consumed, "consumed")?;
        let bytes = many(bytes, bytes_len, "bytes")?;
        let sent = operation.sent.get_mut(index).ok_or_else(no_call)?;
        let (taken, complete) = sent.take(bytes)?;
        consumed.set(taken);
        if complete { Ok(()) } else { Err(Error::not_ready("the reply is not complete")) }
    })
}

/// Goes on with the replies that came; those that are missing or incomplete count as lost.
///
/// Errors: `TOLLGATE_FINISHED` when no calls are under way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_operation_redis_resume(
    operation: *mut tollgate_operation_t,
) -> tollgate_result_t {
    call(|| {
        let operation = borrow_mut(operation, "operation")?;
        if operation.sent.is_empty() {
            return Err(Error::finished("there are no calls under way"));
        }
        let lost = || Err(CallError::lost("the host gave no whole reply"));
        let sent = core::mem::take(&mut operation.sent);
        let replies = sent.into_iter().map(|one| one.reply.unwrap_or_else(lost)).collect();
        operation.wire.with(|slot| slot.replies = Some(replies));
        operation.go_on();
        Ok(())
    })
}

fn no_call() -> Error {
    Error::invalid("there is no call with this index")
}

impl Sent {
    pub(crate) fn new(call: &Call) -> Self {
        Sent { call: call.to_bytes(), key: call.key().into(), bytes: Vec::new(), reply: None }
    }

    /// Gives how many bytes were taken, and whether the reply is complete.
    fn take(&mut self, bytes: &[u8]) -> Result<(usize, bool), Error> {
        if self.reply.is_some() {
            return Err(Error::finished("the reply to this call is complete"));
        }
        let before = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        let Some(len) = reply_len(&self.bytes).map_err(Error::invalid)? else {
            return Ok((bytes.len(), false));
        };
        let whole = self.bytes.get(..len).unwrap_or_default();
        self.reply = Some(redis::parse_redis_value(whole).map_err(CallError::from));
        Ok((len.saturating_sub(before), true))
    }
}

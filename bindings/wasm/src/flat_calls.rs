//! Messages to objects, and their answers, as flat bytes.

use tollgate_objects::{Call, Lost, Reply};

use crate::error::Fault;
use crate::flat::{LENGTHS, Reader, put_len};

/// Writes what is to be sent: how many, for each the lengths of its object's name and its message and whether it may be
/// sent again, then names and messages.
pub(crate) fn write_calls(output: &mut Vec<u8>, calls: &[Call]) {
    put_len(output, calls.len());
    for call in calls {
        put_len(output, call.object.len());
        put_len(output, call.message.len());
        put_len(output, usize::from(call.repeatable));
    }
    for call in calls {
        output.extend(call.object.as_bytes());
        output.extend(&call.message);
    }
}

/// Reads what came of them: how many, for each whether it is an answer and its length, then answers, or why there is none.
pub(crate) fn read_replies(bytes: &[u8]) -> Result<Vec<Reply>, Fault> {
    let mut reader = Reader(bytes);
    let count = reader.len()?;
    let mut heads = Reader(reader.take(count.saturating_mul(LENGTHS))?);
    let mut replies = Vec::with_capacity(count);
    for _ in 0..count {
        let (is_answer, len) = (heads.u32()? != 0, heads.len()?);
        let reply = reader.take(len)?;
        replies.push(match is_answer {
            true => Ok(reply.to_vec()),
            false => Err(Lost::new(&String::from_utf8_lossy(reply))),
        });
    }
    reader.end()?;
    Ok(replies)
}

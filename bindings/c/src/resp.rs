//! Where a reply of Redis ends (RESP 2 and 3). What it says is the `redis` crate's to read.

/// The deepest that arrays are in each other.
const MAX_DEPTH: usize = 16;
/// The longest reply: what a store answers is far below.
const MAX_BYTES: usize = 1 << 29;

/// The length of the first reply in `bytes`; `None` when it is not complete.
pub(crate) fn reply_len(bytes: &[u8]) -> Result<Option<usize>, &'static str> {
    let len = value_end(bytes, 0, 0)?;
    if len.is_none() && bytes.len() > MAX_BYTES {
        return Err("the reply is too long");
    }
    Ok(len)
}

/// Where the value that starts at `at` ends.
fn value_end(bytes: &[u8], at: usize, depth: usize) -> Result<Option<usize>, &'static str> {
    const BAD: &str = "the bytes are no reply of a Redis server";
    if depth > MAX_DEPTH {
        return Err(BAD);
    }
    let Some(kind) = bytes.get(at) else { return Ok(None) };
    let rest = bytes.get(at..).unwrap_or_default();
    let Some(line) = rest.windows(2).position(|pair| pair == b"\r\n") else {
        // A line that is a length or a number is short.
        let long = rest.len() > 64 && !matches!(kind, b'+' | b'-');
        return if long { Err(BAD) } else { Ok(None) };
    };
    let text = rest.get(1..line).unwrap_or_default();
    let mut end = at.saturating_add(line).saturating_add(2);
    let count = || -> Result<Option<usize>, &'static str> {
        let number = core::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
        match number.ok_or(BAD)? {
            -1 => Ok(None),
            number => {
                usize::try_from(number).ok().filter(|it| *it <= MAX_BYTES).ok_or(BAD).map(Some)
            }
        }
    };
    let members = match kind {
        b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => return Ok(Some(end)),
        b'$' | b'=' | b'!' => {
            let Some(count) = count()? else { return Ok(Some(end)) };
            end = end.saturating_add(count).saturating_add(2);
            return Ok((end <= bytes.len()).then_some(end));
        }
        b'*' | b'~' | b'>' => count()?.unwrap_or(0),
        b'%' => count()?.unwrap_or(0).saturating_mul(2),
        _ => return Err(BAD),
    };
    for _ in 0..members {
        match value_end(bytes, end, depth.saturating_add(1))? {
            Some(next) => end = next,
            None => return Ok(None),
        }
    }
    Ok(Some(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_ends_where_it_ends() {
        for reply in [
            &b"+OK\r\n"[..],
            b"-NOSCRIPT no\r\n",
            b":12\r\n",
            b"$-1\r\n",
            b"*-1\r\n",
            b"$0\r\n\r\n",
            b"$4\r\na\r\nb\r\n",
            b"*3\r\n$1\r\na\r\n*1\r\n:1\r\n$-1\r\n",
            b"%1\r\n+a\r\n:1\r\n",
            b"*0\r\n",
        ] {
            for end in 0..reply.len() {
                assert_eq!(reply_len(&reply[..end]), Ok(None), "{end} of {reply:?}");
            }
            let more = [reply, b"+next\r\n"].concat();
            assert_eq!(reply_len(&more), Ok(Some(reply.len())), "{reply:?}");
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        let deep = b"*1\r\n".repeat(40);
        for bytes in [&b"HTTP/1.1 400\r\n"[..], b"$x\r\n", b"$-2\r\n", b"*99999999999\r\n", &deep] {
            assert!(reply_len(bytes).is_err(), "{bytes:?}");
        }
    }
}

//! Steps from a pipe: a line in, a line out.

use std::io::{self, BufRead, Read, Write};

use serde_json::Value;
use tollgate_scenario::{Backend, Runner, StepError, UniqueKeys, check};

use crate::exit::{Done, Exit, Failure};

/// The longest line that is read.
const MAX_LINE_BYTES: u64 = 16 * 1024 * 1024;

pub(crate) fn run(
    backend: impl Backend,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Done {
    let mut runner = Runner::new(backend);
    let mut as_expected = true;
    let mut number: u64 = 0;
    let mut line = Vec::new();
    while let Some(whole) =
        next_line(input, &mut line).map_err(|error| Failure::at("standard input", error))?
    {
        number = number.saturating_add(1);
        if whole && line.trim_ascii().is_empty() {
            continue;
        }
        let step = if whole { parse(&line) } else { Err(too_long()) };
        let (expected, reply) = match step {
            Err(error) => (None, error.to_reply()),
            Ok(step) if step.get("expect").is_some() => (Some(step.clone()), runner.step(step)),
            Ok(step) => (None, runner.step(step)),
        };
        write_line(out, &reply)?;
        let checked = expected.map_or(Ok(()), |step| check(&step, &reply));
        for mismatch in checked.err().into_iter().flatten() {
            as_expected = false;
            // The exit code tells it as well.
            let _ = writeln!(err, "line {number}: {mismatch}");
        }
    }
    Ok(Exit::yes_if(as_expected))
}

/// Reads a line of at most [`MAX_LINE_BYTES`]: `Some(false)` if it was longer and is skipped.
fn next_line(input: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    line.clear();
    if Read::take(&mut *input, MAX_LINE_BYTES).read_until(b'\n', line)? == 0 {
        return Ok(None);
    }
    let whole = line.ends_with(b"\n")
        || u64::try_from(line.len()).is_ok_and(|length| length < MAX_LINE_BYTES);
    if !whole {
        input.skip_until(b'\n')?;
    }
    Ok(Some(whole))
}

fn parse(line: &[u8]) -> Result<Value, StepError> {
    serde_json::from_slice::<UniqueKeys>(line)
        .map(|UniqueKeys(step)| step)
        .map_err(|error| StepError::new(format!("the line cannot be read as JSON: {error}")))
}

fn too_long() -> StepError {
    StepError::new(format!("the line is longer than {MAX_LINE_BYTES} bytes; send a shorter step"))
}

/// In one write, and at once: somebody waits for it.
fn write_line(out: &mut dyn Write, reply: &Value) -> Result<(), Failure> {
    let mut text = serde_json::to_vec(reply)?;
    text.push(b'\n');
    out.write_all(&text)?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use tollgate_scenario::MemoryBackend;

    use super::*;

    fn pipe(input: &[u8]) -> (Exit, Vec<Value>, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = run(MemoryBackend, &mut &*input, &mut out, &mut err).unwrap();
        let replies = String::from_utf8(out).unwrap();
        let replies = replies.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (exit, replies, String::from_utf8(err).unwrap())
    }

    #[test]
    fn a_line_over_the_bound_is_an_error_and_the_next_one_is_read() {
        let bound = usize::try_from(MAX_LINE_BYTES).unwrap();
        for (length, is_step) in [(bound, true), (bound + 1, false), (3 * bound, false)] {
            let mut input = br#"{"op":"policy","preset":"sms-gateway"}"#.to_vec();
            input.resize(length - 1, b' ');
            input.extend(b"\n{\"op\":\"inspect\"}");
            let (_, replies, _) = pipe(&input);
            assert_eq!(replies.len(), 2, "{length}");
            assert_eq!(replies[0].get("error").is_none(), is_step, "{length}");
            assert!(replies[1]["error"].as_str().unwrap().contains("missing field `account`"));
        }
    }

    #[test]
    fn a_last_line_without_an_end_counts() {
        let (exit, replies, err) = pipe(b"\n  \r\n{\"op\":\"restart\",\"expect\":{}}");
        assert_eq!((exit, replies.len()), (Exit::No, 1));
        assert!(err.starts_with("line 3: "), "{err}");
    }
}

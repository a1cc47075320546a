//! Lines of a log, of bounded length.

use std::io::{self, BufRead, Read};

/// A line that is longer is passed over, and counted as a bad one. Servers bound what they log far below.
pub(crate) const MAX_LINE_BYTES: usize = 256 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// It is in the buffer, without its end.
    Whole,
    TooLong,
    End,
}

/// Reads the next line into `buffer`, which is cleared first and never grows much over the bound.
pub(crate) fn next_line<R: BufRead + ?Sized>(
    reader: &mut R,
    buffer: &mut Vec<u8>,
) -> io::Result<Line> {
    // The end of a line, which may be two bytes, does not count.
    const AT_MOST: u64 = MAX_LINE_BYTES as u64 + 2;
    buffer.clear();
    let read = reader.take(AT_MOST).read_until(b'\n', buffer)?;
    if read == 0 {
        return Ok(Line::End);
    }
    let ended = buffer.last() == Some(&b'\n');
    while let Some(b'\n' | b'\r') = buffer.last() {
        buffer.pop();
    }
    if !ended {
        skip_line(reader)?;
    }
    Ok(if buffer.len() > MAX_LINE_BYTES { Line::TooLong } else { Line::Whole })
}

/// Passes over the rest of a line, without keeping any of it.
fn skip_line<R: BufRead + ?Sized>(reader: &mut R) -> io::Result<()> {
    loop {
        let available = reader.fill_buf()?;
        let (taken, ended) = match available.iter().position(|byte| *byte == b'\n') {
            Some(end) => (end.saturating_add(1), true),
            None => (available.len(), available.is_empty()),
        };
        reader.consume(taken);
        if ended {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<(Line, usize)> {
        // A small buffer, so that lines span many.
        let mut reader = io::BufReader::with_capacity(7, text);
        let mut buffer = Vec::new();
        let mut found = Vec::new();
        loop {
            match next_line(&mut reader, &mut buffer).unwrap() {
                Line::End => return found,
                line => found.push((line, buffer.len())),
            }
        }
    }

    #[test]
    fn lines_end_at_either_end_and_the_last_needs_none() {
        assert_eq!(lines(b""), []);
        assert_eq!(
            lines(b"ab\r\n\n\0c\nlast"),
            [(Line::Whole, 2), (Line::Whole, 0), (Line::Whole, 2), (Line::Whole, 4)]
        );
    }

    #[test]
    fn what_is_too_long_is_passed_over_and_the_next_is_read() {
        let mut text = vec![b'x'; MAX_LINE_BYTES];
        text.extend_from_slice(b"\r\n");
        text.extend(vec![b'y'; MAX_LINE_BYTES + 1]);
        text.extend_from_slice(b"\nz\n");
        text.extend(vec![b'w'; 3 * MAX_LINE_BYTES]);
        text.extend_from_slice(b"\nv");
        let found = lines(&text);
        let kinds: Vec<Line> = found.iter().map(|(line, _)| *line).collect();
        assert_eq!(kinds, [Line::Whole, Line::TooLong, Line::Whole, Line::TooLong, Line::Whole]);
        assert_eq!(found[0].1, MAX_LINE_BYTES);
        assert!(found[3].1 <= MAX_LINE_BYTES + 2);
        assert_eq!(found[4].1, 1);
    }
}

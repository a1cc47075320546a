//! Text of a log as reports show it. Whoever sends requests writes some of it.

use crate::table::visible;

/// The longest text that a report shows, in characters.
const MAX_CHARS: usize = 80;

/// Shortened, with control characters escaped, and those that turn the direction of the text around them.
pub(crate) fn shown(text: &str) -> String {
    let mut chars = text.chars();
    let mut short: String = chars.by_ref().take(MAX_CHARS).map(without_direction).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    visible(&short)
}

/// The path of a target, whose query may hold secrets.
pub(crate) fn shown_path(target: &[u8]) -> String {
    let end = target.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(target.len());
    let path = target.get(..end).unwrap_or_default();
    // Far less of it is shown: four bytes make a character at most.
    let path = path.get(..MAX_CHARS.saturating_mul(4)).unwrap_or(path);
    shown(&String::from_utf8_lossy(path))
}

fn without_direction(char: char) -> char {
    match char {
        '\u{61c}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' => char::REPLACEMENT_CHARACTER,
        char => char,
    }
}

/// A count with a comma between thousands.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && digits.len().saturating_sub(index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time in UTC, to the second: `2026-11-29 11:10:18`.
pub(crate) fn utc(now_ms: u64) -> String {
    let seconds = i64::try_from(now_ms.div_euclid(1_000)).unwrap_or(i64::MAX);
    let Ok(time) = time::OffsetDateTime::from_unix_timestamp(seconds) else {
        return format!("{now_ms} ms");
    };
    format!(
        "{}-{:02}-{:02} {:02}:{:02}:{:02}",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_steer_a_terminal_or_mislead_a_reader_is_shown_instead() {
        assert_eq!(shown("a\u{1b}[2J\u{202e}b"), "a\\u{1b}[2J\u{fffd}b");
        assert_eq!(shown(&"x".repeat(80)).chars().count(), 80);
        assert_eq!(shown(&"x".repeat(81)), format!("{}…", "x".repeat(80)));
    }

    #[test]
    fn queries_are_never_shown() {
        assert_eq!(shown_path(b"/a?token=hunter2"), "/a");
        assert_eq!(shown_path(b"/a#hunter2"), "/a");
        assert_eq!(shown_path(b"/\xff\n"), "/\u{fffd}\\n");
        assert_eq!(shown_path(b""), "");
    }

    #[test]
    fn numbers_and_times_are_for_people() {
        let counts = [0, 12, 999, 1_000, 12_345, 1_234_567].map(grouped);
        assert_eq!(counts, ["0", "12", "999", "1,000", "12,345", "1,234,567"]);
        assert_eq!(utc(1_795_950_618_999), "2026-11-29 11:10:18");
        assert_eq!(utc(tollgate::MAX_NOW_MS), "2527-06-23 06:20:44");
    }
}

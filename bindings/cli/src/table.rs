//! Text in columns, for people.

use std::io::{self, Write};

/// Writes rows with their columns aligned, each line after `indent`. The last column may be of any length.
pub(crate) fn write_table<const N: usize>(
    out: &mut dyn Write,
    indent: &str,
    rows: &[[String; N]],
) -> io::Result<()> {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| visible(cell)).collect()).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in &rows {
        let mut line = String::from(indent);
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// The text with control characters escaped: what a request holds must not steer a terminal.
pub(crate) fn visible(text: &str) -> String {
    text.chars()
        .flat_map(|char| {
            let escaped = char.is_control().then(|| char.escape_default());
            let plain = (!char.is_control()).then_some(char);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_controls_are_shown() {
        let row = |first: &str, second: &str| [first.to_owned(), second.to_owned()];
        let mut out = Vec::new();
        write_table(&mut out, "  ", &[row("é", "x"), row("long", "\u{1b}[2J"), row("a", "")])
            .unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "  é     x\n  long  \\u{1b}[2J\n  a\n");
    }
}

//! The front page says what the code does.

use tollgate::STATUS_TABLE;

const README: &str = include_str!("../README.md");

/// `(status, code)` of each row of the table of checks.
fn documented() -> Vec<(u16, &'static str)> {
    let rows = README.lines().filter(|line| line.starts_with('|') && line.ends_with("` |"));
    let cells = rows.map(|row| row.trim_matches('|').split(" | ").collect::<Vec<_>>());
    cells
        .filter_map(|cells| match cells.as_slice() {
            [_, _, http, code] => Some((http.trim().parse().ok()?, code.trim().trim_matches('`'))),
            _ => None,
        })
        .collect()
}

#[test]
fn the_decision_table_is_the_status_table() {
    let mut documented = documented();
    // Limits that count executions are the one check whose status stands twice.
    let again = documented.iter().rposition(|row| *row == (429, "rate_limited")).unwrap();
    documented.remove(again);
    let denials = STATUS_TABLE.iter().filter(|row| row.status.is_denial());
    let expected: Vec<(u16, &str)> = denials.map(|row| (row.http, row.code)).collect();
    assert_eq!(documented, expected);
}

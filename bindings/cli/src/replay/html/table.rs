//! Tables for people.

use askama::Template;
use askama::filters::HtmlSafe;

#[derive(Template)]
#[template(path = "replay/table.html")]
pub(super) struct Table {
    caption: String,
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

struct Column {
    name: String,
    class: &'static str,
}

struct Cell {
    text: String,
    class: &'static str,
}

// It escapes what it holds itself.
impl HtmlSafe for Table {}

impl Table {
    /// A table with these columns; `#` before a name says that it has numbers, `@` times.
    pub(super) fn new(
        caption: impl Into<String>,
        columns: &[&str],
        rows: impl IntoIterator<Item = Vec<String>>,
    ) -> Self {
        let columns: Vec<Column> = columns
            .iter()
            .map(|name| match (name.strip_prefix('#'), name.strip_prefix('@')) {
                (Some(name), _) => Column { name: name.to_owned(), class: "n" },
                (_, Some(name)) => Column { name: name.to_owned(), class: "t" },
                _ => Column { name: (*name).to_owned(), class: "w" },
            })
            .collect();
        let row = |cells: Vec<String>| {
            let cells = cells.into_iter().zip(&columns);
            cells.map(|(text, column)| Cell { text, class: column.class }).collect()
        };
        let rows = rows.into_iter().map(row).collect();
        Table { caption: caption.into(), columns, rows }
    }
}

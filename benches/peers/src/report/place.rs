//! Puts generated text into a document that people write.

/// Where generated text begins.
const BEGIN: &str = "<!-- figures: `cargo xtask bench peers --write` writes them anew -->";
/// Where it ends.
const END: &str = "<!-- end of figures -->";

/// A document without a place for figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaceError;

impl std::fmt::Display for PlaceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the document has no lines `{BEGIN}` and, after it, `{END}`: put them where the figures go"
        )
    }
}

impl std::error::Error for PlaceError {}

/// The document with `figures` in place of what stood between the two lines.
///
/// # Errors
/// [`PlaceError`] when these lines are not there.
pub fn place(document: &str, figures: &str) -> Result<String, PlaceError> {
    let (before, rest) = document.split_once(BEGIN).ok_or(PlaceError)?;
    let (_, after) = rest.split_once(END).ok_or(PlaceError)?;
    Ok(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", figures.trim()))
}

//! Making a region, and seeing whether there is one.

use crate::error::RegionError;
use crate::layout::{
    HEADER_WORDS, LAYOUT_VERSION, Layout, MAGIC, RegionOptions, UNFINISHED, WORD_BYTES, header,
};
use crate::word::Word;

/// What a header says.
#[derive(Clone, Copy)]
pub(crate) struct Header {
    pub(crate) layout: Layout,
    pub(crate) key: [u64; 2],
}

impl Header {
    /// Writes an empty region. The word that makes it one comes last.
    pub(crate) fn create<W: Word>(&self, words: &[W]) -> Result<(), RegionError> {
        let layout = &self.layout;
        let Some(words) = words.get(..layout.words()) else {
            return Err(wrong_size(layout.size_bytes, words.len()));
        };
        let put = |at: usize, value: u64| {
            if let Some(word) = words.get(at) {
                word.store(value);
            }
        };
        put(header::MAGIC, UNFINISHED);
        for (word, value) in words.iter().zip(self.words()).skip(1) {
            word.store(value);
        }
        put(header::MAGIC, MAGIC);
        Ok(())
    }

    /// The words of an empty region, but that it is unfinished.
    pub(crate) fn words(&self) -> impl Iterator<Item = u64> {
        let layout = self.layout;
        let Header { key: [key_low, key_high], .. } = *self;
        let hints = layout.hints_at..layout.hints_at.saturating_add(layout.hints());
        (0..layout.words()).map(move |at| match at {
            header::MAGIC => UNFINISHED,
            header::LAYOUT_VERSION => LAYOUT_VERSION,
            header::SIZE_BYTES => layout.size_bytes as u64,
            header::CELLS => layout.options.cells as u64,
            header::WINDOWS => layout.options.windows as u64,
            _ if at == header::KEY[0] => key_low,
            _ if at == header::KEY[1] => key_high,
            _ if hints.contains(&at) => u64::MAX,
            // An empty slot: the mark that belongs to the name 0.
            _ if at > layout.groups_at && layout.is_state(at) => crate::code::state::mark(0),
            _ => 0,
        })
    }

    /// What the header of a region says. Nothing of it is taken on trust that could lead out of `words`.
    pub(crate) fn read<W: Word>(words: &[W], slots: usize) -> Result<Header, RegionError> {
        if words.len() < HEADER_WORDS {
            return Err(RegionError::NoRegion);
        }
        let word = |at: usize| words.get(at).map_or(0, Word::load);
        match word(header::MAGIC) {
            MAGIC => {}
            UNFINISHED => return Err(RegionError::Unfinished),
            _ => return Err(RegionError::NoRegion),
        }
        let found = word(header::LAYOUT_VERSION);
        if found != LAYOUT_VERSION {
            return Err(RegionError::OtherLayout { found, known: LAYOUT_VERSION });
        }
        let size = |at: usize| usize::try_from(word(at)).map_err(|_| RegionError::TooMany);
        let options =
            RegionOptions { cells: size(header::CELLS)?, windows: size(header::WINDOWS)? };
        let layout = Layout::of(&options, slots)?;
        let declared = size(header::SIZE_BYTES)?;
        if declared != layout.size_bytes || layout.words() != words.len() {
            return Err(wrong_size(declared.max(layout.size_bytes), words.len()));
        }
        Ok(Header { layout, key: header::KEY.map(word) })
    }
}

pub(crate) fn wrong_size(expected_bytes: usize, found_words: usize) -> RegionError {
    RegionError::WrongSize {
        expected: expected_bytes as u64,
        found: found_words.saturating_mul(WORD_BYTES) as u64,
    }
}

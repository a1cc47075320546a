//! What can become of a record.

use std::collections::BTreeMap;

use arbitrary::Arbitrary;

pub type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// Which entry, by its number in order; and what becomes of it.
#[derive(Arbitrary, Debug)]
pub struct Damage {
    at: u16,
    /// Whether the checksum is made anew: then only what a record says can be wrong.
    sealed: bool,
    what: What,
}

#[derive(Arbitrary, Debug)]
enum What {
    Remove,
    Change(u16, u8),
    Cut(u16),
    Add(Vec<u8>),
    Insert(u16, Vec<u8>),
    Replace(Vec<u8>),
    /// The value of another entry.
    Copy(u16),
    /// Under a key of which a byte is another.
    Move(u16, u8),
    /// Under a key that is shorter.
    CutKey(u16),
    /// Under a key that is longer.
    AddToKey(Vec<u8>),
    /// Under any key.
    New(Vec<u8>, Vec<u8>),
}

const CHECKSUM_BYTES: usize = 4;

impl Damage {
    pub fn apply(&self, entries: &mut Entries) {
        let nth = |entries: &Entries, at: u16| {
            let at = usize::from(at) % entries.len().max(1);
            entries.iter().nth(at).map(|(key, value)| (key.clone(), value.clone()))
        };
        let Some((mut key, mut value)) = nth(entries, self.at) else { return };
        let place = |at: u16, bytes: &[u8]| usize::from(at) % bytes.len().max(1);
        if self.sealed {
            value.truncate(value.len().saturating_sub(CHECKSUM_BYTES));
        }
        match &self.what {
            What::Remove => {
                entries.remove(&key);
                return;
            }
            What::Change(at, xor) => {
                let at = place(*at, &value);
                value.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= xor);
            }
            What::Cut(at) => value.truncate(place(*at, &value)),
            What::Add(more) => value.extend(more),
            What::Insert(at, more) => {
                let at = place(*at, &value);
                value.splice(at..at, more.iter().copied());
            }
            What::Replace(other) => value.clone_from(other),
            What::Copy(other) => {
                let (_, other) = nth(entries, *other).unwrap_or_default();
                let kept = other.len().saturating_sub(if self.sealed { CHECKSUM_BYTES } else { 0 });
                value = other[..kept].to_vec();
            }
            What::Move(at, xor) => {
                entries.remove(&key);
                let at = place(*at, &key);
                key.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= xor);
            }
            What::CutKey(at) => {
                entries.remove(&key);
                key.truncate(place(*at, &key));
            }
            What::AddToKey(more) => {
                entries.remove(&key);
                key.extend(more);
            }
            What::New(other, content) => {
                key.clone_from(other);
                value.clone_from(content);
            }
        }
        if self.sealed {
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(&key);
            hasher.update(&value);
            value.extend(hasher.finalize().to_le_bytes());
        }
        entries.insert(key, value);
    }
}

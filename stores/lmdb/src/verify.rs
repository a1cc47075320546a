//! Whether all records are whole and agree with each other.

use tollgate::StoreError;

use crate::store::LmdbStore;
use crate::view::View;

impl LmdbStore {
    /// Reads every record of a snapshot, checks it, and checks what records say of each other: sums of
    /// money, counts, and the lists of what falls due. Gives how many there are. Nothing waits for it,
    /// but the file grows meanwhile: pages that the snapshot needs are not used again.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] says what is damaged first.
    pub fn verify(&self) -> Result<u64, StoreError> {
        let reading = self.reading()?;
        Ok(tollgate_kv::verify::verify(&mut View::read(&reading, 0))?)
    }
}

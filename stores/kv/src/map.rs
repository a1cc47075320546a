//! What a map must be able to do.

use std::borrow::Cow;
use std::sync::Arc;

use tollgate::StoreError;

/// Why a call of a map failed. Whatever call it was, its transaction is dropped, and must change nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KvError {
    /// Another transaction came between. [`KvStore`](crate::KvStore) begins the command again, in a new one.
    #[error("another transaction came between; begin this one again")]
    Conflict,
    /// Anything else. The command fails with this.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A key and what is under it.
pub type KvEntry<'t> = (Cow<'t, [u8]>, Cow<'t, [u8]>);

/// A transaction that reads: the map as it was at one moment, and for a [`KvWrite`], with its own changes.
///
/// What is returned as [`Cow::Borrowed`] stays as it is until the transaction is changed or ends.
pub trait KvRead {
    /// What is under a key.
    ///
    /// # Errors
    /// [`KvError`]; the transaction is of no more use then. The same holds for all that follow.
    fn get(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, KvError>;

    /// The first entry whose key is `key` or comes after it. Keys are ordered by their bytes, as unsigned
    /// numbers; one that another begins with comes before it.
    ///
    /// # Errors
    /// See [`get`](Self::get).
    fn first_at_or_after(&self, key: &[u8]) -> Result<Option<KvEntry<'_>>, KvError>;

    /// Visits entries in their order, from the first at or after `key` on, as long as `visit` says `true`. A
    /// map that can do so more quickly than by asking for one after the other may have its own.
    ///
    /// # Errors
    /// See [`get`](Self::get).
    fn scan(&self, key: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), KvError> {
        let mut from = key.to_vec();
        while let Some((key, value)) = self.first_at_or_after(&from)? {
            if !visit(&key, &value) {
                break;
            }
            from.clear();
            from.extend_from_slice(&key);
            from.push(0); // the next key there can be
        }
        Ok(())
    }
}

/// A transaction that changes. Dropped without [`commit`](Self::commit), it has changed nothing.
pub trait KvWrite: KvRead {
    /// Puts a value under a key, in place of the one that is there.
    ///
    /// # Errors
    /// See [`KvRead::get`].
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError>;

    /// Removes a key. Gives whether it was there.
    ///
    /// # Errors
    /// See [`KvRead::get`].
    fn remove(&mut self, key: &[u8]) -> Result<bool, KvError>;

    /// Asked before new records are put, and not before what settles, expires or removes. A map that is
    /// nearly full should refuse here, so that it keeps room for those.
    ///
    /// # Errors
    /// [`StoreError::Full`] when there is no room for new records; the transaction goes on without
    /// them. Another [`KvError`]: see [`KvRead::get`].
    fn check_room(&self) -> Result<(), KvError> {
        Ok(())
    }

    /// Makes all changes, or none. When it has returned, every transaction that begins sees them, and
    /// they are as durable as the map promises.
    ///
    /// # Errors
    /// [`KvError`]; no change was made then.
    fn commit(self) -> Result<(), KvError>
    where
        Self: Sized;
}

/// An ordered map of bytes to bytes, with transactions.
///
/// Transactions that are committed must be as if they had run one after the other, in the order of their
/// commits: none may be decided by what another changed before it was committed. Whether a map sees
/// to that by letting one writer begin at a time, or by refusing with [`KvError::Conflict`], is its own
/// matter.
///
/// A store keeps its transaction on one thread, has one at a time there, and ends it before it returns.
pub trait KvMap: Send + Sync {
    /// A transaction that reads.
    type Read<'m>: KvRead
    where
        Self: 'm;
    /// A transaction that changes.
    type Write<'m>: KvWrite
    where
        Self: 'm;

    /// Begins a transaction that reads.
    ///
    /// # Errors
    /// [`KvError`] when it cannot begin.
    fn read(&self) -> Result<Self::Read<'_>, KvError>;

    /// Begins a transaction that changes.
    ///
    /// # Errors
    /// [`KvError`] when it cannot begin.
    fn write(&self) -> Result<Self::Write<'_>, KvError>;
}

impl<M: KvMap + ?Sized> KvMap for Arc<M> {
    type Read<'m>
        = M::Read<'m>
    where
        Self: 'm;
    type Write<'m>
        = M::Write<'m>
    where
        Self: 'm;

    fn read(&self) -> Result<Self::Read<'_>, KvError> {
        (**self).read()
    }

    fn write(&self) -> Result<Self::Write<'_>, KvError> {
        (**self).write()
    }
}

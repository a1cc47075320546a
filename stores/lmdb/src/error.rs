//! What goes wrong, in words that say what to do.

use std::io;
use std::path::{Path, PathBuf};

use heed::MdbError;
use tollgate::StoreError;
use tollgate_kv::KvError;
pub(crate) use tollgate_kv::fault::Fault;
#[cfg(test)]
pub(crate) use tollgate_kv::fault::corrupt;

/// Why a store could not be opened or copied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LmdbError {
    /// There is no such directory.
    #[error("there is no directory {}; create it first", path.display())]
    NoDirectory {
        /// What was to be opened.
        path: PathBuf,
    },
    /// There is no store in the directory, and it was to be opened for reading only.
    #[error("there is no store in {}; open it for writing once, which creates it", path.display())]
    NoStore {
        /// What was to be opened.
        path: PathBuf,
    },
    /// The file is not an LMDB file, or one of another machine's or library's format.
    #[error("{} holds no LMDB file that this library can read; is it the right path?", path.display())]
    NotLmdb {
        /// What was to be opened.
        path: PathBuf,
    },
    /// The LMDB file belongs to another program.
    #[error("the LMDB file in {} is not a tollgate store; give another directory", path.display())]
    NotAStore {
        /// What was to be opened.
        path: PathBuf,
    },
    /// This process has the store open already.
    #[error("{} is open in this process already; share that store, in an Arc", path.display())]
    AlreadyOpen {
        /// What was to be opened.
        path: PathBuf,
    },
    /// The store has an older format, and was to be opened for reading only.
    #[error(
        "the store has format {found}, and this version reads format {known}; open it for writing \
         once, which upgrades it"
    )]
    OlderFormat {
        /// The store's format.
        found: u32,
        /// The format of this version.
        known: u32,
    },
    /// Another process uses the store with a larger map.
    #[error("another process uses {} with a larger map; give the same map_bytes", path.display())]
    MapTooSmall {
        /// What was to be opened.
        path: PathBuf,
    },
    /// There is a store already where a backup was to be written.
    #[error("there is a store in {} already; give an empty directory", path.display())]
    BackupExists {
        /// Where it was to be written.
        path: PathBuf,
    },
    /// The operating system refused something.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was to be done: "open", "write".
        doing: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What every store may say: damage, a newer format, no room.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LmdbError {
    pub(crate) fn of(error: heed::Error, doing: &'static str, path: &Path) -> Self {
        let path = path.to_path_buf();
        match error {
            heed::Error::EnvAlreadyOpened => LmdbError::AlreadyOpen { path },
            heed::Error::Mdb(MdbError::Invalid | MdbError::VersionMismatch) => {
                LmdbError::NotLmdb { path }
            }
            heed::Error::Mdb(MdbError::MapResized) => LmdbError::MapTooSmall { path },
            heed::Error::Io(source) => LmdbError::Io { doing, path, source },
            error => LmdbError::Store(store_error(&error)),
        }
    }
}

/// What an error of LMDB means to a transaction.
pub(crate) fn map_error(error: heed::Error) -> KvError {
    KvError::Store(store_error(&error))
}

pub(crate) const MAP: &str = "data: the map is full (map_bytes)";
pub(crate) const DISK: &str = "data: the disk has no room";

pub(crate) fn unavailable(reason: &str) -> StoreError {
    StoreError::Unavailable { reason: reason.into() }
}

/// What an error of LMDB means to who asked a store.
pub(crate) fn store_error(error: &heed::Error) -> StoreError {
    match error {
        heed::Error::Mdb(MdbError::MapFull) => StoreError::Full { what: MAP },
        heed::Error::Mdb(MdbError::PageNotFound | MdbError::Corrupted | MdbError::Invalid) => {
            StoreError::Corrupt { what: "pages" }
        }
        heed::Error::Mdb(MdbError::ReadersFull) => {
            unavailable("every slot for readers is taken; raise max_readers")
        }
        heed::Error::Mdb(MdbError::MapResized) => {
            unavailable("another process uses a larger map; open with the same map_bytes")
        }
        heed::Error::Mdb(MdbError::Panic) => {
            unavailable("a write to the file's header failed; close the store and open it again")
        }
        heed::Error::Io(error) if is_no_room(error) => StoreError::Full { what: DISK },
        heed::Error::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            unavailable("the store is open for reading only, or may not be written")
        }
        error => StoreError::Unavailable { reason: error.to_string().into() },
    }
}

fn is_no_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the error says, and that it tells what to do.
    #[test]
    fn each_error_says_what_to_do() {
        let io = |kind| heed::Error::Io(io::Error::from(kind));
        let table = [
            (heed::Error::Mdb(MdbError::MapFull), "map_bytes"),
            (io(io::ErrorKind::StorageFull), "the disk has no room"),
            (io(io::ErrorKind::QuotaExceeded), "the disk has no room"),
            (io(io::ErrorKind::FileTooLarge), "the disk has no room"),
            (io(io::ErrorKind::PermissionDenied), "may not be written"),
            (heed::Error::Mdb(MdbError::ReadersFull), "raise max_readers"),
            (heed::Error::Mdb(MdbError::MapResized), "the same map_bytes"),
            (heed::Error::Mdb(MdbError::Corrupted), "restore the store"),
            (heed::Error::Mdb(MdbError::PageNotFound), "restore the store"),
            (heed::Error::Mdb(MdbError::Panic), "open it again"),
        ];
        for (error, expected) in table {
            let text = store_error(&error).to_string();
            assert!(text.contains(expected), "{error:?}: {text}");
        }
    }

    #[test]
    fn what_is_opened_is_named() {
        let path = Path::new("/some/where");
        let denied = heed::Error::Io(io::Error::from(io::ErrorKind::PermissionDenied));
        for error in [
            denied,
            heed::Error::EnvAlreadyOpened,
            heed::Error::Mdb(MdbError::Invalid),
            heed::Error::Mdb(MdbError::VersionMismatch),
            heed::Error::Mdb(MdbError::MapResized),
        ] {
            let text = LmdbError::of(error, "open", path).to_string();
            assert!(text.contains("/some/where"), "{text}");
        }
    }
}

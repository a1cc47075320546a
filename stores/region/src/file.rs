//! Regions over files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::RegionError;
use crate::header::{Header, wrong_size};
use crate::layout::{MAGIC, RegionOptions, WORD_BYTES};
use crate::memory::Memory;
use crate::region::{Region, header_for};

impl Region {
    /// Attaches to the region in a file, which is created if there is none. Processes may do so at once: one of them
    /// creates the region, and a file under this name is always complete.
    ///
    /// The file is mapped as long as the value lives. Put it on a file system in memory (`/dev/shm`), or where its pages
    /// may be written back now and then; after a crash of the machine, remove it. Only those who may change limits
    /// should be able to write it, for it is trusted not to be cut short: touching a page that is gone
    /// kills the process (`SIGBUS`). It is made so that only its owner reads and writes it.
    ///
    /// `key` is used where the region is created; see [`create`](Self::create).
    ///
    /// # Errors
    /// [`RegionError`] when the file cannot be used, or is no region of this version for these options.
    pub fn open(
        path: impl AsRef<Path>,
        options: &RegionOptions,
        key: &[u8; 16],
    ) -> Result<Region, RegionError> {
        let path = path.as_ref();
        let header = header_for(options, key)?;
        let file = match open_existing(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create_file(path, &header)?;
                open_existing(path)?
            }
            Err(error) => return Err(error.into()),
        };
        let expected = header.layout.size_bytes;
        let found = file.metadata()?.len();
        if found == 0 {
            return Err(RegionError::NoRegion);
        }
        // A file of another size is asked first what it is: the wrong file, or the wrong options.
        let mapped = usize::try_from(found).map_err(|_| RegionError::TooMany)?;
        let region = Region::over(Memory::mapped(&file, mapped)?)?;
        if region.options() != *options {
            return Err(wrong_size(expected, mapped.wrapping_div(WORD_BYTES)));
        }
        Ok(region)
    }
}

fn open_existing(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// Writes a complete region under another name, and gives it this one unless somebody was quicker.
fn create_file(path: &Path, header: &Header) -> Result<(), RegionError> {
    let fresh = fresh_name(path);
    // Of a process with this id that died while it did the same.
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let linked = write_file(&fresh, header).and_then(|()| fs::hard_link(&fresh, path));
    fs::remove_file(&fresh)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(()),
    }
}

fn fresh_name(path: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".{}-{number}.new", process::id()));
    path.with_file_name(name)
}

/// Written rather than mapped: a full disk is an error here, and would kill the process there.
fn write_file(path: &Path, header: &Header) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = BufWriter::with_capacity(1 << 16, options.open(path)?);
    for word in header.words() {
        file.write_all(&word.to_ne_bytes())?;
    }
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&MAGIC.to_ne_bytes())?;
    file.flush()
}

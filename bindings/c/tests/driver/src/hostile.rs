//! What no caller should do, done in C: the tests of `c/`, one by one.
//!
//! Each gives null, or a text that lives until the next failure on its thread; directories are handed over for the length of the
//! call. The probes keep what they are about in one place: one thread at a time runs them.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_char};
use std::ffi::CString;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::ffi::{
    hostile_function, hostile_misuse, hostile_misuse_run, hostile_panic, hostile_probe,
    hostile_struct, hostile_struct_size, hostile_threads,
};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The function of the interface whose probes stand at this index.
#[must_use]
pub fn function(index: usize) -> Option<String> {
    // SAFETY: null, or a static text.
    text(unsafe { hostile_function(index) })
}

/// Calls the function at this index with each argument that it should refuse. Gives how many those were.
///
/// # Errors
/// What it did not refuse as it should.
pub fn probe(index: usize, directory: &Path) -> Result<usize, String> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut probes = 0;
    let directory = c_string(directory)?;
    // SAFETY: see the head of the file.
    let wrong = text(unsafe { hostile_probe(index, directory.as_ptr(), inject, &raw mut probes) });
    wrong.map_or(Ok(probes), Err)
}

/// Calls the function at this index, and panics within.
///
/// # Errors
/// What came of it, if it was not what it should be.
pub fn panic_within(index: usize, directory: &Path) -> Result<(), String> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = c_string(directory)?;
    // SAFETY: see the head of the file.
    let wrong = text(unsafe { hostile_panic(index, directory.as_ptr(), inject) });
    wrong.map_or(Ok(()), Err)
}

/// The struct that callers fill in at this index.
#[must_use]
pub fn struct_name(index: usize) -> Option<String> {
    // SAFETY: null, or a static text.
    text(unsafe { hostile_struct(index) })
}

/// Gives the struct at this index in every length, at the edge of what may be read.
///
/// # Errors
/// What was not answered as it should be.
pub fn struct_sizes(index: usize, directory: &Path) -> Result<(), String> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = c_string(directory)?;
    // SAFETY: see the head of the file.
    text(unsafe { hostile_struct_size(index, directory.as_ptr()) }).map_or(Ok(()), Err)
}

/// What kind of misuse stands at this index.
#[must_use]
pub fn misuse_name(index: usize) -> Option<String> {
    // SAFETY: null, or a static text.
    text(unsafe { hostile_misuse(index) })
}

/// Misuses what stands at this index.
///
/// # Errors
/// What was not answered as it should be.
pub fn misuse(index: usize, directory: &Path) -> Result<(), String> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = c_string(directory)?;
    // SAFETY: see the head of the file.
    text(unsafe { hostile_misuse_run(index, directory.as_ptr()) }).map_or(Ok(()), Err)
}

/// Uses every handle that may be shared from several threads at once.
///
/// # Errors
/// What went wrong.
pub fn threads(directory: &Path) -> Result<(), String> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = c_string(directory)?;
    // SAFETY: see the head of the file.
    text(unsafe { hostile_threads(directory.as_ptr()) }).map_or(Ok(()), Err)
}

extern "C" fn inject() {
    tollgate_c::panic_at_the_next_call();
}

fn c_string(path: &Path) -> Result<CString, String> {
    CString::new(path.as_os_str().as_encoded_bytes()).map_err(|error| error.to_string())
}

fn text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: it ends with a NUL; see the head of the file.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

//! From C's pointers to Rust's references, and back. All pointers of callers are read here.
//!
//! What is true of every pointer that a caller gives is said in the README: it is null, or points to as much
//! as its type and length say, valid for the length of the call. What can be checked is.

use core::ffi::c_char;
use core::mem::{MaybeUninit, align_of, size_of};
use core::{ptr, slice};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, tollgate_result, tollgate_result_t};

/// A text or some bytes. It does not end with a NUL.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tollgate_str_t {
    /// The first byte; may be null where `len` is 0.
    pub data: *const c_char,
    /// How many bytes.
    pub len: usize,
}

/// A header of a request or a response.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tollgate_header_t {
    /// Its name, in any case.
    pub name: *const c_char,
    /// Bytes of the name.
    pub name_len: usize,
    /// Its value, as on the wire.
    pub value: *const c_char,
    /// Bytes of the value.
    pub value_len: usize,
}

impl tollgate_str_t {
    /// Borrows; valid as long as what it was made of.
    pub(crate) fn of(text: &str) -> Self {
        tollgate_str_t::of_bytes(text.as_bytes())
    }

    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        tollgate_str_t { data: bytes.as_ptr().cast(), len: bytes.len() }
    }
}

/// Runs the body of a function of the interface. An error is kept for `tollgate_last_error`; a panic, which is a
/// bug, ends here.
pub(crate) fn call(body: impl FnOnce() -> Result<(), Error>) -> tollgate_result_t {
    match catch_unwind(AssertUnwindSafe(|| within(body))) {
        Ok(Ok(())) => tollgate_result::TOLLGATE_OK as tollgate_result_t,
        Ok(Err(error)) => error.report(),
        Err(payload) => crate::error::panicked(payload),
    }
}

/// Runs the body of a function that gives a value, and `otherwise` when it cannot.
pub(crate) fn value<T>(otherwise: T, body: impl FnOnce() -> Result<T, Error>) -> T {
    match catch_unwind(AssertUnwindSafe(|| within(body))) {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => {
            error.report();
            otherwise
        }
        Err(payload) => {
            crate::error::panicked(payload);
            otherwise
        }
    }
}

#[cfg(not(feature = "injected-panics"))]
fn within<T>(body: impl FnOnce() -> T) -> T {
    body()
}

#[cfg(feature = "injected-panics")]
use crate::injected::within;

fn check_pointer<T>(ptr: *const T, what: &'static str) -> Result<(), Error> {
    if ptr.is_null() {
        return Err(Error::null(what));
    }
    if !ptr.is_aligned() {
        return Err(Error::invalid(format!(
            "`{what}` is not aligned to {} bytes",
            align_of::<T>()
        )));
    }
    Ok(())
}

/// A handle.
pub(crate) fn borrow<'a, T>(ptr: *const T, what: &'static str) -> Result<&'a T, Error> {
    check_pointer(ptr, what)?;
    // SAFETY: it is not null and aligned, and the caller says that it is a handle of this type which is not freed
    // before the call ends. Handles are changed through `&mut` only by functions whose documentation asks for one
    // thread at a time.
    Ok(unsafe { &*ptr })
}

/// A handle that is used by one thread at a time.
pub(crate) fn borrow_mut<'a, T>(ptr: *mut T, what: &'static str) -> Result<&'a mut T, Error> {
    check_pointer(ptr, what)?;
    // SAFETY: as in `borrow`; and that no other thread uses it now is what the caller was asked for.
    Ok(unsafe { &mut *ptr })
}

/// Some values in a row; a null pointer stands for none if `len` is 0.
pub(crate) fn many<'a, T>(
    data: *const T,
    len: usize,
    what: &'static str,
) -> Result<&'a [T], Error> {
    if len == 0 {
        return Ok(&[]);
    }
    check_pointer(data, what)?;
    let fits = len.checked_mul(size_of::<T>()).is_some_and(|bytes| isize::try_from(bytes).is_ok());
    if !fits {
        return Err(Error::invalid(format!(
            "the length of `{what}` is no length of anything: {len}"
        )));
    }
    // SAFETY: it is not null and aligned, the length fits, and the caller says that so many values are there for
    // the length of the call.
    Ok(unsafe { slice::from_raw_parts(data, len) })
}

pub(crate) fn bytes<'a>(
    data: *const c_char,
    len: usize,
    what: &'static str,
) -> Result<&'a [u8], Error> {
    many(data.cast(), len, what)
}

pub(crate) fn text<'a>(
    data: *const c_char,
    len: usize,
    what: &'static str,
) -> Result<&'a str, Error> {
    core::str::from_utf8(bytes(data, len, what)?).map_err(|_| Error::not_utf8(what))
}

/// A text that may be left out: null is none.
pub(crate) fn optional_text<'a>(
    data: *const c_char,
    len: usize,
    what: &'static str,
) -> Result<Option<&'a str>, Error> {
    if data.is_null() && len == 0 { Ok(None) } else { text(data, len, what).map(Some) }
}

/// Exactly `N` bytes; null is none.
pub(crate) fn optional_array<const N: usize>(
    data: *const u8,
    what: &'static str,
) -> Result<Option<[u8; N]>, Error> {
    if data.is_null() {
        return Ok(None);
    }
    Ok(many(data, N, what)?.try_into().ok())
}

pub(crate) fn array<const N: usize>(data: *const u8, what: &'static str) -> Result<[u8; N], Error> {
    optional_array(data, what)?.ok_or(Error::null(what))
}

/// Texts in a row.
pub(crate) fn texts<'a>(
    data: *const tollgate_str_t,
    len: usize,
    what: &'static str,
) -> Result<Vec<&'a str>, Error> {
    let strs: &[tollgate_str_t] = many(data, len, what)?;
    strs.iter().map(|one| text(one.data, one.len, what)).collect()
}

/// A struct that callers fill in, whose first member says how long they know it to be.
///
/// # Safety
/// It is `repr(C)`, any bytes are a value of it, and its first member is a `usize`.
pub(crate) unsafe trait Sized_: Copy {}

/// Reads a struct of a caller that may be older (then the rest is zero) or newer (then the rest must be).
pub(crate) fn read<T: Sized_>(ptr: *const T, what: &'static str) -> Result<T, Error> {
    check_pointer(ptr, what)?;
    // SAFETY: it is not null and aligned, and every such struct begins with its size.
    let size = unsafe { ptr.cast::<usize>().read() };
    // No struct of the interface has a size that is not a multiple of its first member's: such a number would cut a
    // pointer in two.
    let can_be = (size_of::<usize>()..=MAX_STRUCT).contains(&size)
        && size.is_multiple_of(align_of::<usize>());
    if !can_be {
        return Err(Error::invalid(format!(
            "`{what}` has struct_size {size}; set it to the sizeof of the struct"
        )));
    }
    let given: &[u8] = many(ptr.cast(), size, what)?;
    let (known, more) = given.split_at_checked(size_of::<T>()).unwrap_or((given, &[]));
    if more.iter().any(|byte| *byte != 0) {
        return Err(Error::invalid(format!(
            "`{what}` has members that this version does not know; use the later library"
        )));
    }
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: at most the size of T is copied into memory of that size, from other memory; any bytes are a T.
    unsafe {
        ptr::copy_nonoverlapping(known.as_ptr(), value.as_mut_ptr().cast(), known.len());
        Ok(value.assume_init())
    }
}

/// No struct of the interface will be longer.
const MAX_STRUCT: usize = 4096;

/// The same for a struct that may be left out.
pub(crate) fn read_optional<T: Sized_>(
    ptr: *const T,
    what: &'static str,
) -> Result<Option<T>, Error> {
    if ptr.is_null() { Ok(None) } else { read(ptr, what).map(Some) }
}

/// Where a result goes. It is written at the end, or not at all.
pub(crate) struct Out<T>(*mut T);

pub(crate) fn out<T>(ptr: *mut T, what: &'static str) -> Result<Out<T>, Error> {
    check_pointer(ptr, what)?;
    Ok(Out(ptr))
}

impl<T> Out<T> {
    pub(crate) fn set(self, value: T) {
        // SAFETY: it is not null and aligned, and the caller says that it may be written.
        unsafe { self.0.write(value) }
    }
}

impl<T> Out<*mut T> {
    /// Gives a handle away; its `_free` takes it back.
    pub(crate) fn give(self, handle: T) {
        self.set(Box::into_raw(Box::new(handle)));
    }
}

/// Takes a handle back and drops it; null is none.
pub(crate) fn free<T>(ptr: *mut T) {
    call(|| {
        if !ptr.is_null() {
            // SAFETY: the caller says that `give` made it, and that nobody uses it any more.
            drop(unsafe { Box::from_raw(ptr) });
        }
        Ok(())
    });
}

/// A buffer of the caller's.
pub(crate) struct Buffer<'a> {
    space: &'a mut [MaybeUninit<u8>],
    used: usize,
}

impl<'a> Buffer<'a> {
    pub(crate) fn new(
        data: *mut c_char,
        capacity: usize,
        what: &'static str,
    ) -> Result<Self, Error> {
        if capacity == 0 {
            return Ok(Buffer { space: &mut [], used: 0 });
        }
        check_pointer(data.cast_const(), what)?;
        if isize::try_from(capacity).is_err() {
            return Err(Error::invalid(format!(
                "the capacity of `{what}` is no length of anything"
            )));
        }
        // SAFETY: it is not null, the length fits, the caller says that so many bytes may be written and that
        // nobody else reads or writes them meanwhile. They need not be initialised.
        let space = unsafe { slice::from_raw_parts_mut(data.cast(), capacity) };
        Ok(Buffer { space, used: 0 })
    }

    /// Adds some bytes if they fit, and counts them either way. Gives where they are.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> *const c_char {
        let end = self.used.saturating_add(bytes.len());
        let place = self.space.get_mut(self.used..end);
        self.used = end;
        let Some(place) = place else { return ptr::null() };
        for (to, from) in place.iter_mut().zip(bytes) {
            to.write(*from);
        }
        place.as_ptr().cast()
    }

    /// What was added, whether it fitted or not.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    pub(crate) fn fits(&self) -> bool {
        self.used <= self.space.len()
    }
}

/// Writes one text into a caller's buffer and its length into `len`, also where it does not fit.
pub(crate) fn write_text(
    value: &[u8],
    buffer: *mut c_char,
    capacity: usize,
    len: *mut usize,
) -> Result<(), Error> {
    let len = out(len, "len")?;
    let mut buffer = Buffer::new(buffer, capacity, "buffer")?;
    buffer.add(value);
    len.set(buffer.used());
    if buffer.fits() { Ok(()) } else { Err(Error::too_small(buffer.used())) }
}

/// Places of the caller's for values in a row.
pub(crate) struct Slots<T> {
    first: *mut T,
    capacity: usize,
    used: usize,
}

impl<T> Slots<T> {
    pub(crate) fn new(first: *mut T, capacity: usize, what: &'static str) -> Result<Self, Error> {
        many(first.cast_const().cast::<MaybeUninit<T>>(), capacity, what)?;
        Ok(Slots { first, capacity, used: 0 })
    }

    /// Adds a value if it fits, and counts it either way.
    pub(crate) fn add(&mut self, value: T) {
        if self.used < self.capacity {
            // SAFETY: the pointer was checked, the caller says that `capacity` values may be written from it on,
            // and this is one of them.
            unsafe { self.first.wrapping_add(self.used).write(value) };
        }
        self.used = self.used.saturating_add(1);
    }

    pub(crate) fn used(&self) -> usize {
        self.used
    }

    pub(crate) fn fits(&self) -> bool {
        self.used <= self.capacity
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{tollgate_finish_t, tollgate_response_t};

    #[test]
    fn a_size_that_would_cut_a_pointer_in_two_is_refused() {
        let response = ptr::null::<tollgate_response_t>().wrapping_byte_add(usize::MAX);
        let mut finish =
            tollgate_finish_t { struct_size: 0, outcome: 3, has_amount: 0, amount: 0, response };
        let whole = size_of_val(&finish);
        for size in 0..=whole {
            finish.struct_size = size;
            let read = read(&finish, "finish");
            assert_eq!(read.is_ok(), size > 0 && size % size_of::<usize>() == 0, "{size}");
            let expected = if size == whole { response } else { ptr::null() };
            assert!(read.is_err() || read.is_ok_and(|read| read.response == expected), "{size}");
        }
    }
}

//! The two buffers through which flat bytes come in and go out.
//!
//! JavaScript writes into the first and reads from the second through a view of the module's memory: that is several times
//! as quick as to hand over strings.

use core::cell::RefCell;

/// Buffers grow to what was needed last, and above this are given up when less is needed.
const KEPT_BYTES: usize = 1 << 20;

thread_local! {
    static INPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Makes room for `len` bytes of input and gives their address. What was there is gone.
pub(crate) fn reserve(len: usize) -> Option<*const u8> {
    INPUT.with_borrow_mut(|input| {
        if input.len() < len || input.len() > KEPT_BYTES {
            input.clear();
            input.shrink_to(KEPT_BYTES);
            input.try_reserve_exact(len.max(1024)).ok()?;
            input.resize(len.max(1024), 0);
        }
        Some(input.as_ptr())
    })
}

/// The first `len` bytes of the input.
pub(crate) fn with_input<T>(len: usize, read: impl FnOnce(&[u8]) -> T) -> T {
    INPUT.with_borrow(|input| read(input.get(..len).unwrap_or_default()))
}

/// Writes the output anew; gives its length.
pub(crate) fn write_output(write: impl FnOnce(&mut Vec<u8>)) -> usize {
    OUTPUT.with_borrow_mut(|output| {
        output.clear();
        output.shrink_to(KEPT_BYTES);
        write(output);
        output.len()
    })
}

/// Where the output is, until it is written again.
pub(crate) fn output_address() -> *const u8 {
    OUTPUT.with_borrow(|output| output.as_ptr())
}

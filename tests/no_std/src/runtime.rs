//! What `std` would bring: a panic handler and an allocator.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::panic::PanicInfo;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering};

#[link(name = "c")]
unsafe extern "C" {
    fn abort() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: it has no conditions.
    unsafe { abort() }
}

const ARENA_BYTES: usize = 4 << 20;

/// Gives memory out once and takes none back: the program is short.
struct Bump {
    arena: UnsafeCell<[u8; ARENA_BYTES]>,
    next: AtomicUsize,
}

// SAFETY: `next` gives every byte of the arena to one allocation only.
unsafe impl Sync for Bump {}

// SAFETY: what is given out is aligned as asked, inside the arena, and given out once.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let arena = self.arena.get().cast::<u8>();
        let place = |next: usize| {
            let address = (arena as usize).checked_add(next)?;
            let aligned = address.checked_next_multiple_of(layout.align())?;
            let start = next.checked_add(aligned.checked_sub(address)?)?;
            let end = start.checked_add(layout.size())?;
            (end <= ARENA_BYTES).then_some((start, end))
        };
        let mut start = 0;
        let taken = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
            let (from, end) = place(next)?;
            start = from;
            Some(end)
        });
        match taken {
            // SAFETY: `start` is inside the arena.
            Ok(_) => unsafe { arena.add(start) },
            Err(_) => null_mut(),
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Bump =
    Bump { arena: UnsafeCell::new([0; ARENA_BYTES]), next: AtomicUsize::new(0) };

//! gogeta's allocator, with a count of what is asked of it.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicU64, Ordering};

use mimalloc::MiMalloc;

/// Counts what all threads ask for: how often, and how many bytes.
pub(crate) struct Counting {
    allocations: AtomicU64,
    bytes: AtomicU64,
}

impl Counting {
    pub(crate) const fn new() -> Self {
        Self { allocations: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    /// Allocations since the start, and their bytes.
    pub(crate) fn counted(&self) -> (u64, u64) {
        (self.allocations.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    fn count(&self, bytes: usize) {
        self.allocations.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

// SAFETY: all is done by the allocator beneath, with what the caller gave. Counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.count(layout.size());
        // SAFETY: the caller keeps what `alloc` asks for.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.count(layout.size());
        // SAFETY: the caller keeps what `alloc_zeroed` asks for.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    /// Counts as one, with its new size: it may be another place.
    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.count(size);
        // SAFETY: the caller keeps what `realloc` asks for, and all places are of the same allocator.
        unsafe { MiMalloc.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps what `dealloc` asks for, and all places are of the same allocator.
        unsafe { MiMalloc.dealloc(place, layout) }
    }
}

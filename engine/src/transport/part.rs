//! One frame of a ZeroMQ message.
#![expect(unsafe_code, reason = "libzmq's message is a C structure; see each block")]

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// Up to this size a buffer is copied into the message that carries it: dearer bookkeeping would cost
/// more than the copy.
pub const COPY_BYTES_MAX: usize = 512;

/// One frame, owned. Wraps the 64 bytes of `zmq_msg_t`, whose binding forgets the alignment that the C
/// header demands.
///
/// A received part turns into [`Bytes`] and back into a part without its payload being copied: the
/// count of references is `Bytes`', so that the rules of `zmq_msg_copy` never come into play, and the
/// sender learns when libzmq let go of the buffer.
#[repr(C, align(8))]
pub struct Part {
    raw: zmq_sys::zmq_msg_t,
}

// SAFETY: a zmq_msg_t may be used from any one thread at a time, and moving it (a plain copy of its
// bytes, as libzmq's own zmq_msg_move does) leaves nothing behind. What it refers to is freed through
// an atomic count, or owned alone.
unsafe impl Send for Part {}

impl Part {
    /// A part without bytes.
    pub fn empty() -> Self {
        let mut raw = zmq_sys::zmq_msg_t::default();
        // SAFETY: `raw` is 64 writable bytes; zmq_msg_init never fails and makes them a message.
        unsafe { zmq_sys::zmq_msg_init(&mut raw) };
        Self { raw }
    }

    /// A part with a copy of these bytes.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut raw = zmq_sys::zmq_msg_t::default();
        // SAFETY: `raw` is 64 writable bytes that zmq_msg_init_size turns into a message.
        let failed = unsafe { zmq_sys::zmq_msg_init_size(&mut raw, bytes.len()) } != 0;
        if failed {
            // The only error is a lack of memory, which Rust's own allocations treat the same way.
            std::alloc::handle_alloc_error(std::alloc::Layout::for_value(bytes));
        }
        let mut part = Self { raw };
        // SAFETY: the message was just made, is exclusively ours, and has room for `bytes.len()` bytes
        // at the address it gives.
        let room = unsafe { zmq_sys::zmq_msg_data(&mut part.raw) };
        // SAFETY: as above; a fresh message cannot overlap a borrowed slice.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), room.cast::<u8>(), bytes.len()) };
        part
    }

    /// A part that carries a shared buffer. Beyond [`COPY_BYTES_MAX`] nothing is copied: libzmq sends
    /// from the buffer and then drops its reference.
    pub fn share(bytes: Bytes) -> Self {
        if bytes.len() <= COPY_BYTES_MAX {
            return Self::copy_of(&bytes);
        }
        let data = bytes.as_ptr().cast_mut().cast::<c_void>();
        let len = bytes.len();
        let hint = Box::into_raw(Box::new(bytes)).cast::<c_void>();
        let mut raw = zmq_sys::zmq_msg_t::default();
        // SAFETY: `data` points to `len` bytes that the boxed `Bytes` keeps alive and unmoved until
        // `release` drops it. libzmq only reads them: no part made here is ever handed out mutably.
        let failed =
            unsafe { zmq_sys::zmq_msg_init_data(&mut raw, data, len, Some(release), hint) } != 0;
        if failed {
            // Out of memory, as above; nothing took over the box.
            std::alloc::handle_alloc_error(std::alloc::Layout::new::<Bytes>());
        }
        Self { raw }
    }

    /// As [`Self::share`], and counts the bytes in `outstanding` until libzmq let go of them.
    pub fn share_counted(bytes: Bytes, outstanding: &Outstanding) -> Self {
        if bytes.len() <= COPY_BYTES_MAX {
            return Self::copy_of(&bytes);
        }
        outstanding.0.fetch_add(bytes.len(), Ordering::Relaxed);
        let counted = Counted { bytes, outstanding: outstanding.clone() };
        Self::share(Bytes::from_owner(counted))
    }

    /// The bytes. Small messages lie within the part itself, so they end with it.
    pub fn as_slice(&self) -> &[u8] {
        let raw = ptr::from_ref(&self.raw).cast_mut();
        // SAFETY: `raw` is a valid message; zmq_msg_data and zmq_msg_size only read it, although the C
        // signature of the first says otherwise.
        let data = unsafe { zmq_sys::zmq_msg_data(raw) };
        // SAFETY: as above.
        let len = unsafe { zmq_sys::zmq_msg_size(raw) };
        if len == 0 {
            return &[];
        }
        // SAFETY: the message has `len` initialised bytes at `data`, valid while `self` is borrowed,
        // and nobody writes to them.
        unsafe { std::slice::from_raw_parts(data.cast::<u8>(), len) }
    }

    /// Whether the message this part was received with goes on behind it.
    pub fn has_more(&self) -> bool {
        // SAFETY: a valid message, only read.
        unsafe { zmq_sys::zmq_msg_more(ptr::from_ref(&self.raw).cast_mut()) != 0 }
    }

    /// Turns the part into a shared buffer without copying its payload.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }

    pub(super) fn raw_mut(&mut self) -> *mut zmq_sys::zmq_msg_t {
        &mut self.raw
    }
}

/// Counts the bytes that libzmq holds of parts made by [`Part::share_counted`]. Small parts, which are
/// copied, do not count: libzmq bounds them by number.
#[derive(Clone, Debug, Default)]
pub struct Outstanding(Arc<AtomicUsize>);

impl Outstanding {
    /// How many bytes libzmq holds now.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

struct Counted {
    bytes: Bytes,
    outstanding: Outstanding,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.outstanding.0.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl Default for Part {
    fn default() -> Self {
        Self::empty()
    }
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Part").field(&self.as_slice()).finish()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // SAFETY: `raw` is a valid message, and nobody uses it after this. The only error is EFAULT,
        // for something that is no message.
        unsafe { zmq_sys::zmq_msg_close(&mut self.raw) };
    }
}

/// Called by libzmq, on any thread, when it no longer needs a buffer given to [`Part::share`].
unsafe extern "C" fn release(_data: *mut c_void, hint: *mut c_void) {
    // SAFETY: `hint` is the box that `share` leaked for this one call; `Bytes` may be dropped anywhere.
    drop(unsafe { Box::from_raw(hint.cast::<Bytes>()) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_buffer_is_not_copied_on_its_way_in_and_out() {
        let bytes = Bytes::from(vec![7; 4096]);
        let part = Part::share(bytes.clone());
        assert_eq!(part.as_slice().as_ptr(), bytes.as_ptr());
        let out = part.into_bytes();
        assert_eq!(out.as_ptr(), bytes.as_ptr());
        assert!(!bytes.is_unique());
        drop(out);
        assert!(bytes.is_unique());
    }

    #[test]
    fn outstanding_bytes_are_counted_until_the_last_holder_lets_go() {
        let outstanding = Outstanding::default();
        let part = Part::share_counted(Bytes::from(vec![7; 4096]), &outstanding);
        assert_eq!(outstanding.bytes(), 4096);
        let bytes = part.into_bytes();
        assert_eq!(outstanding.bytes(), 4096);
        drop(bytes);
        assert_eq!(outstanding.bytes(), 0);
    }

    #[test]
    fn small_and_empty_parts_survive_moves() {
        for len in [0, 1, 33, 34, COPY_BYTES_MAX, COPY_BYTES_MAX + 1] {
            let bytes: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let part = Box::new(Part::share(bytes.clone().into()));
            let moved = *part;
            assert_eq!(moved.as_slice(), bytes);
            assert_eq!(moved.into_bytes(), bytes);
        }
    }
}

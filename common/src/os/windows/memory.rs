//! Windows: memory that several processes see. Called by `pool`.

use super::{OwnedHandle, check};
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle};
use std::ptr::null;
use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::System::Memory::{
    CreateFileMappingW, FILE_MAP_ALL_ACCESS, MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFile, PAGE_READWRITE, UnmapViewOfFile,
};

/// Pages that several processes see, zero at first.
pub(crate) struct SharedMemory {
    view: MEMORY_MAPPED_VIEW_ADDRESS,
    length: usize,
}

// SAFETY: a piece of memory that belongs to no thread. Who reads and writes in it does that through a pointer, and answers
// for it there.
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// New memory, and the handle by which another process opens it.
    pub fn create(length: usize) -> io::Result<(SharedMemory, OwnedHandle)> {
        let (high, low) = ((length as u64 >> 32) as u32, length as u32);
        // SAFETY: new memory without a name or a file.
        let handle = unsafe { CreateFileMappingW(INVALID_HANDLE_VALUE, null(), PAGE_READWRITE, high, low, null()) };
        check(i32::from(!handle.is_null()))?;
        // SAFETY: a new handle, ours alone.
        let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
        Ok((SharedMemory::view(&handle, length)?, handle))
    }

    /// The memory behind a handle that another process passed. If it is smaller, that is an error of the system's.
    pub fn open(handle: OwnedHandle, length: usize) -> io::Result<SharedMemory> {
        SharedMemory::view(&handle, length) // the view keeps the memory; the handle is not needed any more
    }

    fn view(handle: &OwnedHandle, length: usize) -> io::Result<SharedMemory> {
        // SAFETY: a new view at an address that the system chooses touches no other memory.
        let view = unsafe { MapViewOfFile(handle.as_raw_handle(), FILE_MAP_ALL_ACCESS, 0, 0, length) };
        check(i32::from(!view.Value.is_null()))?;
        Ok(SharedMemory { view, length })
    }

    pub fn start(&self) -> *mut u8 {
        self.view.Value.cast()
    }

    #[allow(dead_code)] // for the engine that is to come
    pub fn len(&self) -> usize {
        self.length
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the view is ours, and every reference into it borrows from `self`.
        unsafe { UnmapViewOfFile(self.view) };
    }
}

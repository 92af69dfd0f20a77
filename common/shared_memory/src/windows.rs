//! Windows: a file mapping without a file.

use super::OwnedHandle;
use std::ffi::c_void;
use std::io;
use std::os::windows::io::{AsRawHandle, HandleOrNull};
use std::ptr::{NonNull, null};
use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::System::Memory::{
    CreateFileMappingW, FILE_MAP_ALL_ACCESS, MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFile, PAGE_READWRITE, UnmapViewOfFile,
};

/// New memory, zero at first: the handle by which this process and others map it.
pub(crate) fn create(length: usize) -> io::Result<OwnedHandle> {
    let (high, low) = ((length as u64 >> 32) as u32, length as u32);
    // SAFETY: new memory without a name or a file. If there is an answer, it is a new handle, ours alone.
    let handle = unsafe {
        let file = INVALID_HANDLE_VALUE; // none: memory only
        HandleOrNull::from_raw_handle(CreateFileMappingW(file, null(), PAGE_READWRITE, high, low, null()))
    };
    OwnedHandle::try_from(handle).map_err(|_| io::Error::last_os_error())
}

/// Maps that memory. If it is smaller, that is an error of the system's.
pub(crate) fn map(handle: &OwnedHandle, length: usize) -> io::Result<NonNull<c_void>> {
    // SAFETY: a new view at an address that the system chooses touches no other memory.
    let view = unsafe { MapViewOfFile(handle.as_raw_handle(), FILE_MAP_ALL_ACCESS, 0, 0, length) };
    NonNull::new(view.Value).ok_or_else(io::Error::last_os_error)
}

/// # Safety
///
/// It is what [`map`] returned, and there is no reference into it any more.
pub(crate) unsafe fn unmap(start: NonNull<c_void>, _length: usize) {
    let view = MEMORY_MAPPED_VIEW_ADDRESS { Value: start.as_ptr() };
    // SAFETY: as the caller promises.
    unsafe { UnmapViewOfFile(view) };
}

//! Windows: memory that several processes see. Called by `os::page`.

use super::{OwnedHandle, check};
use std::ffi::c_void;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle};
use std::ptr::{NonNull, null};
use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::System::Memory::{
    CreateFileMappingW, FILE_MAP_ALL_ACCESS, MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFile, PAGE_READWRITE, UnmapViewOfFile,
};

/// New memory, zero at first: the handle by which this process and others map it.
pub(in crate::os) fn create_memory(length: usize) -> io::Result<OwnedHandle> {
    let (high, low) = ((length as u64 >> 32) as u32, length as u32);
    // SAFETY: new memory without a name or a file.
    let handle = unsafe { CreateFileMappingW(INVALID_HANDLE_VALUE, null(), PAGE_READWRITE, high, low, null()) };
    check(i32::from(!handle.is_null()))?;
    // SAFETY: a new handle, ours alone.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// Maps that memory. If it is smaller, that is an error of the system's.
pub(in crate::os) fn map_memory(handle: &OwnedHandle, length: usize) -> io::Result<NonNull<c_void>> {
    // SAFETY: a new view at an address that the system chooses touches no other memory.
    let view = unsafe { MapViewOfFile(handle.as_raw_handle(), FILE_MAP_ALL_ACCESS, 0, 0, length) };
    NonNull::new(view.Value).ok_or_else(io::Error::last_os_error)
}

/// # Safety
///
/// It is what [`map_memory`] returned, and there is no reference into it any more.
pub(in crate::os) unsafe fn unmap_memory(start: NonNull<c_void>, _length: usize) {
    let view = MEMORY_MAPPED_VIEW_ADDRESS { Value: start.as_ptr() };
    // SAFETY: as the caller promises.
    unsafe { UnmapViewOfFile(view) };
}

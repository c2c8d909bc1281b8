//! Finds a kernel and makes it ready to be booted in a virtual machine, and builds modules for it.
//!
//! A [`kernel::Kernel`] is found by its handle: a file, a folder, a package, a version in Debian's
//! archive. [`boot::bootable`] gives what QEMU starts fastest, [`modules::modules`] what has to be
//! loaded into it, [`module::Target`] one of our own built for it. What takes time is done once and kept in the [`cache::Cache`].
//!
//! Where to look first: the handles are in [`kernel`].
#![forbid(unsafe_code)]

mod apt;
pub mod boot;
mod bytes;
pub mod cache;
mod deb;
mod debian;
mod elf;
pub mod error;
#[cfg(test)]
mod fake;
mod image;
mod kbuild;
pub mod kernel;
pub mod make;
pub mod module;
pub mod modules;
pub mod source;
mod unpack;
mod version;

pub use cache::Cache;
pub use error::Error;

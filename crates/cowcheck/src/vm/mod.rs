//! Kernels other than the running one: each in a VM, where this program is the only one.
//!
//! - [`initramfs`], [`slim`]: what the guest finds in its memory
//! - [`qemu`]: the machine and its command line
//! - [`tail`], [`console`]: what comes out of it
//! - [`alive`]: whether it still does anything
//! - [`guest`]: one guest, from its start to its end, and how that came
//! - [`tries`]: what is tried again, since it may have been chance
//! - [`session`]: all checks on one kernel, in as many guests as it takes
//! - [`fleet`]: several kernels side by side
//! - [`accel`]: whether KVM serves

pub mod accel;
pub mod alive;
pub mod console;
pub mod directory;
pub mod fleet;
pub mod guest;
pub mod initramfs;
pub mod load;
pub mod qemu;
pub mod session;
pub mod slim;
pub mod subject;
pub mod tail;
pub mod tries;

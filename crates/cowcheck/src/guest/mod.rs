//! Inside a VM: this program is the kernel's first process, and all there is.
//!
//! - [`order`]: what it is to do, from the initramfs
//! - [`init`]: process 1
//! - [`work`]: its child, which carries out the order
//! - `shell`: a prompt, where that is the order

pub mod fault;
pub mod init;
pub mod order;
mod port;
mod shell;
pub mod work;

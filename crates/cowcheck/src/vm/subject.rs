//! A kernel as it is booted: its file as QEMU takes it fastest, and the modules that a guest needs, the helper among
//! them.

use cowcheck_vm::boot::bootable;
use cowcheck_vm::kernel::{self, Kernel};
use cowcheck_vm::module::Target;
use cowcheck_vm::modules::{Module, modules};
use cowcheck_vm::{Cache, Error};

use super::load::Load;
use super::session::Subject;
use crate::guest::init;
use crate::kmod;

/// RAM disks that can be swapped to, the best first. `brd` depends on nothing; `zram` wants a compressor.
const BRD: &str = "brd";
const ZRAM: [&str; 5] = ["lzo_rle", "lzo", "lz4", "zstd", "zram"];

/// Finds the kernel and makes it ready, with the helper module if that is wanted and can be had. `say` is told what takes time, and what is not as it was asked for.
pub fn find(handle: &str, cache: &Cache, helper: bool, say: &mut dyn FnMut(&str)) -> Result<Subject, Error> {
    let kernel = kernel::find(handle, cache, say)?;
    let bootable = bootable(&kernel, cache)?;
    if let Some(why) = bootable.why_not {
        say(&format!("the guest unpacks its kernel itself, which takes longer: {why}"));
    }
    let mut modules = for_swap(&kernel)?;
    if helper {
        match kmod::image(&kmod::HELPER, &Target::of(&kernel), cache, say) {
            Ok(data) => modules.push(Load {
                name: kmod::HELPER.name.to_owned(),
                parameters: String::new(),
                data,
                required: false,
            }),
            Err(error) => say(&format!("going on without the helper module: {error}")),
        }
    }
    Ok(Subject {
        handle: kernel.handle,
        package: kernel.package,
        release: kernel.release,
        file: bootable.file,
        modules,
    })
}

/// What is built in needs none, and without any of them the guest says what
/// it could not test.
fn for_swap(kernel: &Kernel) -> Result<Vec<Load>, Error> {
    let with = |parameters: fn(&str) -> String| {
        move |Module { name, data }: Module| {
            let parameters = parameters(&name);
            Load { name, parameters, data, required: false }
        }
    };
    let brd = modules(kernel, &[BRD])?;
    if brd.missing.is_empty() && brd.builtin.is_empty() {
        let parameters = |name: &str| if name == BRD { init::ram_disk_parameters() } else { String::new() };
        return Ok(brd.modules.into_iter().map(with(parameters)).collect());
    }
    let zram = modules(kernel, &ZRAM)?;
    // It makes one device on its own if not told otherwise, which nobody wants.
    let parameters = |name: &str| if name == "zram" { "num_devices=0".to_owned() } else { String::new() };
    Ok(zram.modules.into_iter().map(with(parameters)).collect())
}

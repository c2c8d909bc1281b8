//! `cowcheck kmod`

use std::io::Write;

use cowcheck_vm::Cache;
use cowcheck_vm::kernel;
use cowcheck_vm::module::Target;

use super::args::{KmodArgs, KmodCommand};
use super::exit::{Code, Usage};
use crate::kmod;

/// Builds a module, and says how to load it.
pub fn main(args: &KmodArgs) -> anyhow::Result<Code> {
    let KmodCommand::Build { kernel: handle, in_place } = &args.command;
    let cache = Cache::user();
    let mut say = |text: &str| eprintln!("{text}");
    let target = match handle {
        Some(handle) => {
            let kernel = kernel::find(handle, &cache, &mut say).map_err(|error| Usage(error.to_string()))?;
            Target::of(&kernel)
        }
        None => Target::running(),
    };
    let sources = if *in_place { kmod::IN_PLACE } else { kmod::HELPER };
    let module = kmod::build(&sources, &target, &cache, &mut say)?;
    let how = match (in_place, handle) {
        (false, _) => kmod::how_to_load(&module),
        (true, Some(handle)) => format!("cowcheck vm {handle} --module {}:bug=N", module.display()),
        (true, None) => "nowhere but in a virtual machine: it cannot be unloaded".to_owned(),
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}\nfor {}; to load it: {how}", module.display(), target.release)?;
    Ok(Code::Success)
}

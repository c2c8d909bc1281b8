//! `cowcheck kmod`

use std::io::Write;

use cowcheck_vm::Cache;
use cowcheck_vm::kernel;
use cowcheck_vm::module::Target;

use super::args::{KmodArgs, KmodCommand};
use super::exit::{Code, Usage};
use crate::kmod;

/// Builds the helper module, and says how to load it.
pub fn main(args: &KmodArgs) -> anyhow::Result<Code> {
    let KmodCommand::Build { kernel: handle } = &args.command;
    let cache = Cache::user();
    let mut say = |text: &str| eprintln!("{text}");
    let target = match handle {
        Some(handle) => {
            let kernel = kernel::find(handle, &cache, &mut say).map_err(|error| Usage(error.to_string()))?;
            Target::of(&kernel)
        }
        None => Target::running(),
    };
    let module = kmod::build(&target, &cache, &mut say)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}\nfor {}; to load it: {}", module.display(), target.release, kmod::how_to_load(&module))?;
    Ok(Code::Success)
}

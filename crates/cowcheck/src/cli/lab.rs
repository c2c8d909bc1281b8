//! `cowcheck lab`

use std::io::Write as _;

use cowcheck_vm::Cache;

use super::args::{LabArgs, LabCommand};
use super::exit::Code;

/// The mutation lab.
pub fn main(args: &LabArgs) -> anyhow::Result<Code> {
    match args.command {
        LabCommand::Build => build(),
    }
}

/// Builds the kernel with the mutants, and says how to boot one.
fn build() -> anyhow::Result<Code> {
    let mutants = cowcheck_lab::list()?;
    let built = cowcheck_lab::build(&mutants, &Cache::user(), &mut |text| eprintln!("{text}"))?;
    let tree = built.tree.display();
    writeln!(
        std::io::stdout().lock(),
        "{tree}\nfrom {}; to boot it with a bug: cowcheck vm {tree} --cmdline cowcheck_bug=NUMBER",
        built.source.package
    )?;
    Ok(Code::Success)
}

//! Makes the list of `lab/mutants/*.toml` that becomes part of the program: adding a mutant is adding a file.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lab/mutants");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files: Vec<_> = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|end| end == "toml"));
    files.sort();
    let mut list = "&[\n".to_owned();
    for file in &files {
        let name = file.file_stem().unwrap_or_default();
        let _ = writeln!(list, "({name:?}, include_str!({:?})),", fs::canonicalize(file)?);
    }
    list.push(']');
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    fs::write(Path::new(&out).join("mutants.rs"), list)
}

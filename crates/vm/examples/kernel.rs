//! Says what is found for each handle: `cargo run -p cowcheck-vm --example kernel -- debian:6.12 ./bzImage`.

use std::time::Instant;

use cowcheck_vm::{Cache, Error, boot, kernel, modules};

fn main() {
    let cache = Cache::user();
    for handle in std::env::args().skip(1) {
        println!("{handle}");
        if let Err(error) = show(&handle, &cache) {
            println!("  error: {error}");
        }
    }
}

fn show(handle: &str, cache: &Cache) -> Result<(), Error> {
    let start = Instant::now();
    let found = kernel::find(handle, cache, &mut |text| println!("  ... {text}"))?;
    println!("  release {} ({:?})", found.release, start.elapsed());
    println!("  package {}", found.package.as_deref().unwrap_or("none"));
    println!("  image   {}", found.image.display());
    println!(
        "  modules {}",
        found.modules.as_ref().map_or_else(|| "none".to_owned(), |path| path.display().to_string())
    );
    let start = Instant::now();
    let boot = boot::bootable(&found, cache)?;
    println!("  boots   {} ({:?})", boot.file.display(), start.elapsed());
    if let Some(why) = boot.why_not {
        println!("          not unpacked: {why}");
    }
    let start = Instant::now();
    let loaded = modules::modules(&found, &["brd", "zram"])?;
    for module in loaded.modules {
        println!("  loads   {} ({} bytes)", module.name, module.data.len());
    }
    println!("  builtin {:?}, missing {:?} ({:?})", loaded.builtin, loaded.missing, start.elapsed());
    Ok(())
}

//! Files given on the command line.

use std::io::Read;
use std::path::Path;

use super::exit::Usage;

/// More than any file of ours has.
const MAX_BYTES: u64 = 64 << 20;

/// The text of a file, or of standard input for `-`.
pub fn read(path: &Path) -> Result<String, Usage> {
    let wrong = |what: String| Usage(format!("{}: {what}", path.display()));
    let mut bytes = Vec::new();
    let read = match path.as_os_str() == "-" {
        true => std::io::stdin().take(MAX_BYTES + 1).read_to_end(&mut bytes),
        false => std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)),
    };
    read.map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(wrong(format!("more than {} MiB, which no file of cowcheck has", MAX_BYTES >> 20)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = good.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        Usage(format!("{}:{line}:{column}: found a byte that is no UTF-8, expected text", path.display()))
    })
}

//! A prompt on the guest's console. There is no shell in the guest, and none is needed: what is asked for is this
//! program's own commands.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, ExitCode};

const HELP: &str = "\
run, replay, list, show, doctor, judge, ...   as `cowcheck` has them; run --help tells more
cat FILE...    prints files                   ls [DIRECTORY]  lists names
put FILE TEXT  writes a line to a file        dmesg           prints the kernel log
help           this                           exit            ends the guest";

/// Reads lines until the end.
pub(super) fn main() -> ExitCode {
    // Standard output is the port to the host; here a person wants to read.
    let Ok(mut console) = OpenOptions::new().write(true).open("/dev/console") else { return ExitCode::FAILURE };
    let _ = writeln!(console, "\n{HELP}");
    let mut lines = io::stdin().lock().lines();
    loop {
        let _ = write!(console, "cowcheck# ");
        let Some(Ok(line)) = lines.next() else { return ExitCode::SUCCESS };
        let words: Vec<&str> = line.split_whitespace().collect();
        let done = match words.as_slice() {
            [] => Ok(()),
            ["exit" | "poweroff" | "quit"] => return ExitCode::SUCCESS,
            ["help"] => writeln!(console, "{HELP}"),
            ["cat", files @ ..] => files.iter().try_for_each(|file| console.write_all(&fs::read(file)?)),
            ["ls"] => list(&mut console, "."),
            ["ls", place] => list(&mut console, place),
            ["put", file, text @ ..] => fs::write(file, text.join(" ") + "\n"),
            ["dmesg"] => kernel_log(&mut console),
            ["cowcheck", args @ ..] | args => command(args, &console),
        };
        if let Err(error) = done {
            let _ = writeln!(console, "{}: {error}", words.first().unwrap_or(&""));
        }
    }
}

fn list(console: &mut impl Write, place: &str) -> io::Result<()> {
    let mut names: Vec<String> = fs::read_dir(place)?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, _>>()?;
    names.sort();
    writeln!(console, "{}", names.join("  "))
}

fn kernel_log(console: &mut impl Write) -> io::Result<()> {
    let mut log =
        OpenOptions::new().read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32).open("/dev/kmsg")?;
    let mut record = [0; 8192];
    while let Ok(len @ 1..) = log.read(&mut record) {
        let text = String::from_utf8_lossy(&record[..len]);
        let line = text.lines().next().and_then(|line| line.split_once(';')).map_or("", |(_, line)| line);
        writeln!(console, "{line}")?;
    }
    Ok(())
}

fn command(args: &[&str], console: &fs::File) -> io::Result<()> {
    Command::new("/proc/self/exe").args(args).stdout(console.try_clone()?).status().map(drop)
}

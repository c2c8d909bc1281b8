//! Running make on a kernel's tree.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Error;

/// make, which takes no orders from the environment: those are for another build.
pub fn command() -> Command {
    let mut command = Command::new("make");
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("MAKE")
            || text.starts_with("KBUILD")
            || ["ARCH", "CROSS_COMPILE", "O", "M"].contains(&&*text)
        {
            command.env_remove(&name);
        }
    }
    command.env("LC_ALL", "C").stdin(Stdio::null());
    command
}

/// make takes apart what has these in it.
pub fn has_odd_name(path: &Path) -> bool {
    path.to_str().is_none_or(|text| text.contains(|each: char| each.is_whitespace() || ":$#%;'\"\\".contains(each)))
}

/// An error that tells where it comes from, if the program does not run.
pub fn need(program: &'static str, package: &'static str) -> Result<(), Error> {
    let mut command = Command::new(program);
    let quiet = command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match quiet.status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err(Error::NoTool { program, package }),
    }
}

/// What was complained of first; without any complaint the last lines.
pub fn complaints(log: &str) -> String {
    // make only says where it was, and the others what they do, as `  CC [M]  look.o`.
    let is_news = |line: &&str| !line.trim().is_empty() && !line.starts_with("make") && !line.starts_with("  ");
    let lines: Vec<_> = log.lines().filter(is_news).map(str::trim).collect();
    let is_error = |line: &&&str| line.to_lowercase().contains("error:");
    let mut told: Vec<&str> = lines.iter().filter(is_error).take(4).copied().collect();
    if told.is_empty() {
        told = lines.iter().rev().take(4).rev().copied().collect();
    }
    told.join("; ")
}

//! A kernel module that a guest loads.

use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

/// The module, its parameters, and whether the guest can do without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// Its name, for messages and for its place in the guest.
    pub name: String,
    /// Its parameters, as init_module(2) takes them.
    pub parameters: String,
    /// The ELF file, not compressed.
    pub data: Vec<u8>,
    /// The guest does nothing without it. Otherwise it goes on, and says so.
    pub required: bool,
}

/// A module of the person's own, as `vm --module` names it: `FILE.ko` or `FILE.ko:PARAMETERS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    file: PathBuf,
    parameters: String,
}

impl FromStr for Named {
    type Err = String;

    /// A file's name may have a colon in it; what follows `.ko:` are the parameters.
    fn from_str(text: &str) -> Result<Named, String> {
        const END: &str = ".ko";
        let (file, parameters) = match text.find(".ko:") {
            Some(at) => (&text[..at + END.len()], &text[at + END.len() + 1..]),
            None if text.ends_with(END) => (text, ""),
            None => return Err("expected FILE.ko or FILE.ko:PARAMETERS, as in mine.ko:bug=3".to_owned()),
        };
        if parameters.contains('\0') {
            return Err("parameters are text without NUL".to_owned());
        }
        Ok(Named { file: file.into(), parameters: parameters.to_owned() })
    }
}

impl Named {
    /// Reads the file. The error says what was wanted.
    pub fn read(&self) -> Result<Load, String> {
        let file = self.file.display();
        let data = fs::read(&self.file).map_err(|error| format!("{file}: cannot be read: {error}"))?;
        if !data.starts_with(b"\x7fELF") {
            return Err(format!(
                "{file}: no kernel module: it is no ELF file; one that is compressed is to be unpacked"
            ));
        }
        let name = self.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Load { name, parameters: self.parameters.clone(), data, required: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_follow_the_file() {
        let named = |text: &str| text.parse::<Named>().map(|named| (named.file, named.parameters));
        let pair = |file: &str, parameters: &str| Ok((file.into(), parameters.to_owned()));
        assert_eq!(named("a.ko"), pair("a.ko", ""));
        assert_eq!(named("/x:y/a.ko:bug=3 name=\"b:c\""), pair("/x:y/a.ko", "bug=3 name=\"b:c\""));
        assert_eq!(named("a.ko:"), pair("a.ko", ""));
        assert!(named("a.ko.xz").is_err() && named("bug=3").is_err() && named("").is_err());
    }
}

//! A kernel's bug that is planted: what it is, how it is planted, and where it must show.

use std::fmt;

use cowcheck_model::contract::Rule;
use cowcheck_model::text::SyntaxError;
use serde::{Deserialize, Serialize};

use crate::edit::BUG;

/// One bug, or a correct form that everything has to pass on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Mutant {
    /// The file's name without its end.
    pub name: String,
    /// What is wrong, in a line.
    pub title: String,
    /// What of the kernel it is in.
    pub area: Area,
    /// The commit or CVE of the real bug that it is modelled on.
    pub like: Option<String>,
    /// The rules by which it can be seen. Empty for a control, and for what nobody can see.
    pub breaks: Vec<Rule>,
    /// What is wrong, how user space sees it, and why a real patch could contain it.
    pub about: String,
    /// Why user space cannot see it, where it cannot.
    pub unobservable: Option<String>,
    /// Patterns of the ids of checks that should see it; they are tried first.
    pub first: Vec<String>,
    /// Is this form correct? Then everything must pass.
    pub control: bool,
    /// How many processors it takes to show: two for a race.
    pub processors: u32,
    /// How it gets into a kernel.
    pub plant: Plant,
}

impl Mutant {
    /// What picks it: the module's parameter `bug`, or the boot parameter `cowcheck_bug`.
    pub fn number(&self) -> u32 {
        match self.plant {
            Plant::InPlace { bug } => bug,
            Plant::Edits { number, .. } => number,
        }
    }
}

/// How a mutant gets into a kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Plant {
    /// By the module of `lab/in-place`, on stock kernels.
    InPlace {
        /// The value of its parameter `bug`.
        bug: u32,
    },
    /// By edits of the kernel that the lab builds.
    Edits {
        /// The value of the boot parameter `cowcheck_bug`: [`number_of`] its name.
        number: u32,
        /// In the order in which they are made.
        edits: Vec<Edit>,
    },
}

/// A change of one place in the kernel's sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// The file, from the top of the sources.
    pub file: String,
    /// The function in whose body the line is.
    pub function: String,
    /// A fragment of the line.
    pub at: String,
    /// Which of the lines that have it, from 1; if none is given it must be one line only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nth: Option<usize>,
    /// Where the text goes.
    pub put: Put,
    /// C, in which `@bug@` stands for an expression that is true when the mutant is chosen, and `@at@` for the fragment
    /// that it takes the place of.
    pub text: String,
}

/// Where an edit's text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Put {
    /// As lines before the line.
    Before,
    /// As lines after the line.
    After,
    /// In the place of the fragment.
    Instead,
}

/// What of the kernel a mutant is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are the kernel's")]
pub enum Area {
    WriteFault,
    Fork,
    Split,
    Swap,
    Gup,
    Mprotect,
    Mremap,
    Ksm,
    Migration,
    Hugetlb,
    Uffd,
    ZeroPage,
    Guard,
    Collapse,
    InPlace,
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Area::WriteFault => "write-fault",
            Area::Fork => "fork",
            Area::Split => "split",
            Area::Swap => "swap",
            Area::Gup => "gup",
            Area::Mprotect => "mprotect",
            Area::Mremap => "mremap",
            Area::Ksm => "ksm",
            Area::Migration => "migration",
            Area::Hugetlb => "hugetlb",
            Area::Uffd => "uffd",
            Area::ZeroPage => "zero-page",
            Area::Guard => "guard",
            Area::Collapse => "collapse",
            Area::InPlace => "in-place",
        })
    }
}

/// A file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    title: String,
    area: Area,
    like: Option<String>,
    #[serde(default)]
    breaks: Vec<Rule>,
    about: String,
    unobservable: Option<String>,
    #[serde(default)]
    first: Vec<String>,
    #[serde(default)]
    control: bool,
    #[serde(default = "one")]
    processors: u32,
    in_place: Option<InPlace>,
    #[serde(default, rename = "edit")]
    edits: Vec<Edit>,
}

/// What every guest can have.
const MOST_PROCESSORS: u32 = 8;

fn one() -> u32 {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InPlace {
    bug: u32,
}

/// The FNV-1a hash of a mutant's name, without the sign's bit: a mutant that is new or gone leaves the others' numbers as they
/// are, and what they are in need not be built again.
pub fn number_of(name: &str) -> u32 {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash & i32::MAX as u32
}

/// Reads the mutant `name`.
pub fn parse(name: &str, text: &str) -> Result<Mutant, SyntaxError> {
    let error = |at: usize, found: &str, expected: &str| {
        SyntaxError::at(text, at, found, expected).in_file(format!("lab/mutants/{name}.toml"))
    };
    let file: File = toml::from_str(text).map_err(|wrong| {
        let message = wrong.message().lines().next().unwrap_or_default();
        let (found, expected) = message.split_once(", expected ").unwrap_or((message, "a mutant as DESIGN.md has it"));
        error(wrong.span().map_or(0, |span| span.start), found, expected)
    })?;
    let place = |key: &str| text.find(key).unwrap_or(0);
    let plant = match (file.in_place, file.edits) {
        (Some(InPlace { bug }), edits) if edits.is_empty() => Plant::InPlace { bug },
        (None, edits) if !edits.is_empty() => Plant::Edits { number: number_of(name), edits },
        (None, _) => return Err(error(text.len(), "the end", "[in-place], or an [[edit]]")),
        (Some(_), _) => return Err(error(place("[[edit]]"), "[[edit]]", "no edit beside [in-place]")),
    };
    if let Plant::Edits { edits, .. } = &plant {
        for edit in edits {
            if !edit.text.contains(BUG) {
                return Err(error(place(&edit.text), &edit.text, "@bug@ in the text, so that the bug can be chosen"));
            }
            if edit.at.trim().is_empty() || edit.at.contains('\n') {
                return Err(error(place("at = "), "at", "a fragment of a line"));
            }
            if edit.nth == Some(0) {
                return Err(error(place("nth"), "nth = 0", "a number from 1"));
            }
        }
    }
    if !(1..=MOST_PROCESSORS).contains(&file.processors) {
        let expected = format!("a number of processors from 1 to {MOST_PROCESSORS}");
        return Err(error(place("processors"), &format!("processors = {}", file.processors), &expected));
    }
    let is_seen = !file.control && file.unobservable.is_none();
    if is_seen == file.breaks.is_empty() {
        let expected = if is_seen { "the rules by which it is seen" } else { "no rules: nobody sees it" };
        let found = if is_seen { "no rules" } else { "breaks" };
        return Err(error(place("breaks"), found, expected));
    }
    Ok(Mutant {
        name: name.to_owned(),
        title: file.title,
        area: file.area,
        like: file.like,
        breaks: file.breaks,
        about: file.about.trim().to_owned(),
        unobservable: file.unobservable,
        first: file.first,
        control: file.control,
        processors: file.processors,
        plant,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "title = \"t\"\narea = \"fork\"\nbreaks = [\"pin-coherence\"]\nabout = \"a\"\n";
    const EDIT: &str =
        "[[edit]]\nfile = \"mm/a.c\"\nfunction = \"f\"\nat = \"x\"\nput = \"before\"\ntext = \"if (@bug@) y();\"\n";

    fn parsed(text: &str) -> Result<Mutant, String> {
        parse("m", text).map_err(|error| error.to_string())
    }

    #[test]
    fn both_ways_to_plant_are_read() {
        let mutant = parsed(&format!("{HEAD}{EDIT}{EDIT}")).unwrap();
        assert_eq!((mutant.area.to_string().as_str(), mutant.breaks.as_slice()), ("fork", &[Rule::PinCoherence][..]));
        assert!(
            matches!(&mutant.plant, Plant::Edits { number, edits } if *number == number_of("m") && edits.len() == 2)
        );
        let mutant = parsed(&format!("{HEAD}first = [\"cow/*\"]\n[in-place]\nbug = 3\n")).unwrap();
        assert_eq!((mutant.number(), mutant.first.len(), mutant.processors), (3, 1, 1));
        assert_eq!(parsed(&format!("{HEAD}processors = 2\n{EDIT}")).unwrap().processors, 2);
        let control = HEAD.replace("breaks = [\"pin-coherence\"]", "control = true");
        assert!(parsed(&format!("{control}[in-place]\nbug = 0\n")).unwrap().control);
    }

    #[test]
    fn an_error_has_its_place_and_what_was_expected() {
        let fails = |text: &str, wanted: &str| {
            let error = parsed(text).unwrap_err();
            assert!(error.starts_with("lab/mutants/m.toml:") && error.contains(wanted), "{error}");
        };
        fails("title = 7\n", "m.toml:1:9: found invalid type");
        fails(&HEAD.replace("\"fork\"", "\"forks\""), "m.toml:2:8");
        fails(&HEAD.replace("\"fork\"", "\"forks\""), "`write-fault`, `fork`");
        fails(&HEAD.replace("pin-coherence", "pins"), "`isolation`");
        fails(&format!("{HEAD}colour = 1\n{EDIT}"), "m.toml:5:1: found unknown field `colour`");
        fails(HEAD, "expected [in-place], or an [[edit]]");
        fails(&format!("{HEAD}[in-place]\nbug = 1\n{EDIT}"), "m.toml:7:1: found [[edit]], expected no edit");
        fails(&format!("{HEAD}{}", EDIT.replace("@bug@", "1")), "expected @bug@ in the text");
        fails(&format!("{HEAD}{EDIT}nth = 0\n"), "expected a number from 1");
        fails(&format!("{}{EDIT}", HEAD.replace("\"pin-coherence\"", "")), "m.toml:3:1: found no rules");
        fails(&format!("{HEAD}processors = 0\n{EDIT}"), "m.toml:5:1: found processors = 0, expected a number");
        fails(&format!("{HEAD}unobservable = \"u\"\n{EDIT}"), "expected no rules");
        fails(&format!("{HEAD}{}", EDIT.replace("before", "above")), "`before`, `after`, `instead`");
        fails(&format!("{HEAD}{}", EDIT.replace("file = \"mm/a.c\"\n", "")), "missing field `file`");
    }
}

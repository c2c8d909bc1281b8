//! The mutants that come with the program.

use cowcheck_model::text::SyntaxError;

use crate::mutant::{Mutant, Plant, parse};

/// Name and text of each file of `lab/mutants`, by name.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/mutants.rs"));

/// All mutants, by name. Those that are edits are numbered in this order.
pub fn list() -> Result<Vec<Mutant>, SyntaxError> {
    numbered(FILES)
}

fn numbered(files: &[(&str, &str)]) -> Result<Vec<Mutant>, SyntaxError> {
    let mut last = 0;
    let read = files.iter().map(|(name, text)| {
        let mut mutant = parse(name, text)?;
        if let Plant::Edits { number, .. } = &mut mutant.plant {
            last += 1;
            *number = last;
        }
        Ok(mutant)
    });
    read.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDIT: &str = "title = \"t\"\narea = \"fork\"\nbreaks = [\"isolation\"]\nabout = \"a\"\n\
        [[edit]]\nfile = \"a.c\"\nfunction = \"f\"\nat = \"x\"\nput = \"before\"\ntext = \"if (@bug@) y();\"\n";
    const IN_PLACE: &str = "title = \"t\"\narea = \"in-place\"\nbreaks = [\"isolation\"]\nabout = \"a\"\n\
        [in-place]\nbug = 7\n";

    #[test]
    fn every_shipped_file_is_read() {
        for mutant in list().unwrap() {
            let is_in_place = matches!(mutant.plant, Plant::InPlace { .. });
            assert_eq!(is_in_place, mutant.area == crate::Area::InPlace, "{}", mutant.name);
        }
    }

    #[test]
    fn edits_are_numbered_and_modules_keep_their_number() {
        let mutants = numbered(&[("a", EDIT), ("b", IN_PLACE), ("c", EDIT)]).unwrap();
        let numbers: Vec<_> = mutants.iter().map(|mutant| (mutant.name.as_str(), mutant.number())).collect();
        assert_eq!(numbers, [("a", 1), ("b", 7), ("c", 2)]);
        assert!(
            numbered(&[("a", EDIT), ("b", "title = ")]).unwrap_err().to_string().starts_with("lab/mutants/b.toml:1")
        );
    }
}

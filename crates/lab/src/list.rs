//! The mutants that come with the program.

use cowcheck_model::text::SyntaxError;

use crate::mutant::{Mutant, parse};

/// Name and text of each file of `lab/mutants`, by name.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/mutants.rs"));

/// All mutants, by name.
pub fn list() -> Result<Vec<Mutant>, SyntaxError> {
    read(FILES)
}

fn read(files: &[(&str, &str)]) -> Result<Vec<Mutant>, SyntaxError> {
    files.iter().map(|(name, text)| parse(name, text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutant::{Plant, number_of};

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
    fn no_two_edits_have_one_number_and_none_has_that_of_no_bug() {
        let mutants = list().unwrap();
        let edits = mutants.iter().filter(|mutant| matches!(mutant.plant, Plant::Edits { .. }));
        let mut numbers: Vec<u32> = edits.map(Mutant::number).collect();
        let count = numbers.len();
        numbers.push(0);
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), count + 1);
    }

    #[test]
    fn edits_are_numbered_and_modules_keep_their_number() {
        let mutants = read(&[("a", EDIT), ("b", IN_PLACE), ("c", EDIT)]).unwrap();
        let numbers: Vec<_> = mutants.iter().map(|mutant| (mutant.name.as_str(), mutant.number())).collect();
        assert_eq!(numbers, [("a", number_of("a")), ("b", 7), ("c", number_of("c"))]);
        assert!(read(&[("a", EDIT), ("b", "title = ")]).unwrap_err().to_string().starts_with("lab/mutants/b.toml:1"));
    }
}

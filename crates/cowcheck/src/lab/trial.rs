//! What is booted: a kernel without a bug, a correct form, or a mutant.

use cowcheck_lab::{Mutant, Plant};

use crate::guest::order::Share;
use crate::kmod;
use crate::vm::load::Load;
use crate::vm::qemu::Machine;
use crate::vm::session::Subject;

/// The boot parameter that picks a bug of the built kernel.
const PARAMETER: &str = "cowcheck_bug";

/// A kernel, and all that is to be tried on it.
#[derive(Debug)]
pub struct Family {
    /// As it was asked for: a name for people, and for files.
    pub on: String,
    /// The distribution's package, where it came from one.
    pub package: Option<String>,
    /// What must pass.
    pub references: Vec<Trial>,
    /// What must not.
    pub mutants: Vec<(Mutant, Trial)>,
}

/// One of them.
#[derive(Debug, Clone)]
pub struct Trial {
    /// `baseline`, or the name of the control or mutant.
    pub name: String,
    /// The kernel, and what is loaded into it.
    pub subject: Subject,
    /// Words for its command line.
    pub cmdline: String,
    /// How many processors the guest needs.
    pub processors: u32,
}

impl Trial {
    /// The machine of its guest.
    pub fn machine(&self, each: &Machine) -> Machine {
        Machine { cmdline: self.cmdline.clone(), cpus: each.cpus.max(self.processors), ..each.clone() }
    }

    /// The same under a name for one of the guests that share its checks.
    pub fn share(&self, share: Share) -> Trial {
        let name = match share.of {
            1 => self.name.clone(),
            _ => format!("{}.{}", self.name, share.number + 1),
        };
        Trial { name, ..self.clone() }
    }
}

impl Family {
    /// Stock kernels, into which the module is loaded.
    pub fn in_place(on: &str, stock: &Subject, module: &[u8], mutants: &[Mutant]) -> Family {
        let plant = |mutant: &Mutant| {
            let mut subject = stock.clone();
            let parameters = format!("bug={}", mutant.number());
            let (name, data) = (kmod::IN_PLACE.name.to_owned(), module.to_vec());
            subject.modules.push(Load { name, parameters, data, required: true });
            Trial { name: mutant.name.clone(), subject, cmdline: String::new(), processors: mutant.processors }
        };
        Family::of(on, stock, |plants| matches!(plants, Plant::InPlace { .. }), mutants, plant, String::new())
    }

    /// The kernel that was built with all bugs in it.
    pub fn built(on: &str, kernel: &Subject, mutants: &[Mutant]) -> Family {
        // Two nodes, so that pages can be moved.
        let bug = |number: u32| format!("{PARAMETER}={number} numa=fake=2");
        let plant = |mutant: &Mutant| Trial {
            name: mutant.name.clone(),
            subject: kernel.clone(),
            cmdline: bug(mutant.number()),
            processors: mutant.processors,
        };
        Family::of(on, kernel, |plants| matches!(plants, Plant::Edits { .. }), mutants, plant, bug(0))
    }

    fn of(
        on: &str,
        kernel: &Subject,
        is_ours: fn(&Plant) -> bool,
        mutants: &[Mutant],
        plant: impl Fn(&Mutant) -> Trial,
        cmdline: String,
    ) -> Family {
        let (controls, wrong): (Vec<&Mutant>, Vec<&Mutant>) =
            mutants.iter().filter(|mutant| is_ours(&mutant.plant)).partition(|mutant| mutant.control);
        let baseline = Trial { name: "baseline".to_owned(), subject: kernel.clone(), cmdline, processors: 1 };
        Family {
            on: on.to_owned(),
            package: kernel.package.clone(),
            references: std::iter::once(baseline).chain(controls.into_iter().map(&plant)).collect(),
            mutants: wrong.into_iter().map(|mutant| (mutant.clone(), plant(mutant))).collect(),
        }
    }
}

/// Fit for the name of a file: the mutant and the kernel it is on.
pub fn file_name(name: &str, on: &str) -> String {
    let fit = |char: char| if char.is_ascii_alphanumeric() || ".+-_".contains(char) { char } else { '-' };
    format!("{name}@{on}").chars().map(|char| if char == '@' { char } else { fit(char) }).collect()
}

#[cfg(test)]
mod tests {
    use cowcheck_lab::mutant::parse;

    use super::*;

    const HEAD: &str = "title = \"t\"\narea = \"fork\"\nabout = \"a\"\n";

    fn kernel() -> Subject {
        let (name, parameters) = ("helper".to_owned(), String::new());
        let modules = vec![Load { name, parameters, data: vec![1], required: false }];
        let (handle, release, file) = ("debian:7.2".to_owned(), "7.2.1".to_owned(), "vmlinux".into());
        Subject { handle, package: None, release, file, modules }
    }

    #[test]
    fn each_way_to_plant_takes_its_own() {
        let edit = "[[edit]]\nfile = \"a\"\nfunction = \"f\"\nat = \"x\"\nput = \"after\"\ntext = \"@bug@\"\n";
        let broken = "breaks = [\"isolation\"]\n";
        let mutants = [
            parse("right", &format!("{HEAD}control = true\n[in-place]\nbug = 0\n")).unwrap(),
            parse("wrong", &format!("{HEAD}{broken}[in-place]\nbug = 3\n")).unwrap(),
            parse("elsewhere", &format!("{HEAD}{broken}{edit}")).unwrap(),
        ];
        let names = |trials: &[Trial]| trials.iter().map(|trial| trial.name.clone()).collect::<Vec<_>>();
        let family = Family::in_place("debian:7.2", &kernel(), b"module", &mutants);
        assert_eq!(names(&family.references), ["baseline", "right"]);
        let wrong = |family: &Family| family.mutants.iter().map(|(_, trial)| trial.clone()).collect::<Vec<_>>();
        assert_eq!(names(&wrong(&family)), ["wrong"]);
        assert_eq!(family.references[0].subject.modules.len(), 1, "the stock kernel, as it is");
        let last = family.mutants[0].1.subject.modules.last().unwrap();
        assert_eq!((last.parameters.as_str(), last.data.as_slice()), ("bug=3", &b"module"[..]));
        assert!(last.required, "without it the kernel would pass for the mutant");
        let family = Family::built("lab", &kernel(), &mutants);
        assert_eq!(
            (names(&family.references), names(&wrong(&family))),
            (vec!["baseline".to_owned()], vec!["elsewhere".to_owned()])
        );
        assert_eq!(family.references[0].cmdline, "cowcheck_bug=0 numa=fake=2");
        assert!(family.mutants[0].1.cmdline.starts_with("cowcheck_bug="));
    }

    #[test]
    fn names_are_fit_for_files() {
        assert_eq!(file_name("a-b", "debian:7.2/x"), "a-b@debian-7.2-x");
    }
}

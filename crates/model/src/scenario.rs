//! A scenario: memory and steps. Its text form is in [`crate::text`].

use std::fmt;

use crate::contract::World;
use crate::memory::Memory;
use crate::stamp;
use crate::step::{Op, Step};

/// A short program over one piece of private memory and a family of processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// Remarks at the head of the text form, a line each.
    pub about: Vec<String>,
    /// What A maps before the first step.
    pub memory: Memory,
    /// What happens, in order. Steps are numbered from 1.
    pub steps: Vec<Step>,
}

/// The most base pages of memory a scenario may have: 2 GiB of 4 KiB pages.
pub const MAX_PAGES: u32 = 1 << 19;

/// A step that cannot be done, however the kernel behaves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{why}", match .step { 0 => String::new(), n => format!("step {n}: ") })]
pub struct Invalid {
    /// The step's number, from 1; 0 for the memory line.
    pub step: usize,
    /// What is wrong and what would be right.
    pub why: String,
}

impl Scenario {
    /// Steps with their numbers, from 1.
    pub fn numbered(&self) -> impl Iterator<Item = (u32, &Step)> {
        (1..).zip(&self.steps)
    }

    /// Can every step be done by the actor it names, on the pages it names?
    ///
    /// This runs the scenario in the contract's own [`World`], so what is valid and what is allowed
    /// never disagree.
    pub fn validate(&self, page_size: u32) -> Result<(), Invalid> {
        let memory = |why: String| Err(Invalid { step: 0, why });
        if self.memory.count == 0 || self.memory.size == 0 || self.memory.size % u64::from(page_size) != 0 {
            return memory(format!(
                "memory {}: expected one or more pieces whose size is a multiple of the page size, {page_size} bytes",
                self.memory
            ));
        }
        if self.memory.bytes() / u64::from(page_size) > u64::from(MAX_PAGES) {
            return memory(format!("memory {}: expected at most {MAX_PAGES} pages", self.memory));
        }
        if self.steps.len() > stamp::MAX_STEPS {
            return memory(format!("{} steps: expected at most {}", self.steps.len(), stamp::MAX_STEPS));
        }
        let mut world = World::new(self.memory, page_size);
        for (number, step) in self.numbered() {
            world.check(step).map_err(|why| Invalid { step: number as usize, why })?;
            world.apply(number, step, None);
        }
        Ok(())
    }

    /// Does any step match?
    pub fn has(&self, test: impl Fn(&Op) -> bool) -> bool {
        self.steps.iter().any(|step| test(&step.op))
    }
}

/// The text form.
impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", crate::text::HEADER)?;
        for line in &self.about {
            writeln!(f, "{}", format!("# {line}").trim_end())?;
        }
        writeln!(f, "memory {}", self.memory)?;
        for step in &self.steps {
            match step.note.as_str() {
                "" => writeln!(f, "{step}")?,
                note => writeln!(f, "{:<28} # {note}", step.to_string())?,
            }
        }
        Ok(())
    }
}

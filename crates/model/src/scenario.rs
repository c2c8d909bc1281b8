//! A scenario: memory and steps. Its text form is in [`crate::text`].

use std::fmt;

use crate::contract::{self, World};
use crate::memory::Memory;
use crate::stamp;
use crate::step::{self, Actor, Op, Pin, Step};

/// A short program over one piece of private memory and a family of processes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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

/// The most visits to pages that all steps of a scenario may need together; whoever runs or judges it
/// makes them. Enough for 128 steps on 1 GiB, or 42 with two pins on it.
const MAX_VISITS: u64 = 1 << 25;

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

    /// Step `number`, from 1.
    pub fn step(&self, number: u32) -> Option<&Step> {
        self.steps.get((number as usize).checked_sub(1)?)
    }

    /// Can every step be done by the actor it names, on the pages it names?
    ///
    /// This runs the scenario in the contract's own [`World`], so what is valid and what is allowed
    /// never disagree.
    pub fn validate(&self, page_size: u32) -> Result<(), Invalid> {
        let memory = |why: String| Err(Invalid { step: 0, why });
        if !page_size.is_power_of_two() {
            return memory(format!("page size {page_size}: expected a power of two"));
        }
        if self.memory.count == 0 || self.memory.size == 0 || !self.memory.size.is_multiple_of(u64::from(page_size)) {
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
        let visits = self.visits(page_size);
        if visits > MAX_VISITS {
            return memory(format!("{visits} visits to pages in all steps together: expected at most {MAX_VISITS}"));
        }
        let mut world = World::new(self.memory, page_size);
        let mut number = 1;
        for group in step::groups(&self.steps) {
            world.advance(number, group).map_err(|(at, why)| Invalid { step: number as usize + at, why })?;
            number += group.len() as u32;
        }
        Ok(())
    }

    /// The steps, by number, that step `number` happens at once with, itself included; most are alone.
    pub fn group(&self, number: u32) -> std::ops::Range<u32> {
        let index = (number as usize).saturating_sub(1);
        let joins = |at: usize| self.steps.get(at).is_some_and(|step| step.at_once);
        let first = (0..=index).rev().find(|at| !joins(*at)).unwrap_or(0);
        let end = (index + 1..).find(|at| !joins(*at)).unwrap_or(index + 1);
        first as u32 + 1..end as u32 + 1
    }

    /// How many pages its steps visit: each that a step names, and again through each pin.
    fn visits(&self, page_size: u32) -> u64 {
        let pages = self.memory.pages(page_size);
        let mut pins = 0;
        let mut visits: u64 = 0;
        for step in step::groups(&self.steps).flat_map(|group| group.iter().map(move |step| (step, group.len()))) {
            let (step, beside) = step;
            let named = match beside {
                1 => u64::from(step.op.range().map_or(pages, |range| range.count(pages))),
                // Every order is gone through, with all pages of everybody.
                _ => u64::from(pages) * (contract::MOST_AT_ONCE * Actor::MAX) as u64,
            };
            visits = visits.saturating_add(named * (1 + pins));
            match step.op {
                Op::Pin(..) => pins = (pins + 1).min(Pin::MAX as u64),
                Op::Unpin(_) => pins = pins.saturating_sub(1),
                _ => {}
            }
        }
        visits
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
            writeln!(f, "{}", format!("# {}", one_line(line)).trim_end())?;
        }
        writeln!(f, "memory {}", self.memory)?;
        for step in &self.steps {
            let bar = if step.at_once { format!("{} ", crate::text::AT_ONCE) } else { String::new() };
            match step.note.as_str() {
                "" => writeln!(f, "{bar}{step}")?,
                note => writeln!(f, "{:<28} # {}", format!("{bar}{step}"), one_line(note))?,
            }
        }
        Ok(())
    }
}

/// A remark is one line, or the rest of it would be read as steps.
fn one_line(remark: &str) -> String {
    remark.replace('\n', " ")
}

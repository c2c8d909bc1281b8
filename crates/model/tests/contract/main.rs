//! The contract, tested against a kernel that keeps it.
//!
//! [`reference`] is a COW kernel so simple that it is right by inspection: fork copies every page.
//! It runs a scenario and leaves a trace, which must pass; a trace that was doctored, or that comes
//! from the same kernel with a planted bug, must fail by the rule that was broken.

mod at_once;
mod collapses;
mod doctor;
mod marks;
mod moves;
mod properties;
mod reference;
mod robust;
mod rules;
mod storms;
mod strategies;
mod validity;
mod verdicts;

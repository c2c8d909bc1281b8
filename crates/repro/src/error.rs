//! Why there is no program.

use cowcheck_model::scenario::Invalid;

/// Why a scenario has no C program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It cannot be done at all.
    #[error("the scenario is not valid: {0}")]
    Invalid(#[from] Invalid),
    /// A word of the language that has no translation yet.
    #[error("step {step}, `{text}`: not translated to C yet; `cowcheck replay` runs it")]
    Untranslated {
        /// The step's number, from 1.
        step: u32,
        /// The step.
        text: String,
    },
    /// Something that only the helper module or cowcheck itself can do.
    #[error("step {step}, `{text}`: {why}; `cowcheck replay` runs it")]
    Impossible {
        /// The step's number, from 1.
        step: u32,
        /// The step.
        text: String,
        /// What the program lacks.
        why: &'static str,
    },
}

//! What a guest says to the host that started it: one JSON object a line, through a port of its own. The same
//! program is at both ends, so the words need no version.

use std::io::{self, Write};

use cowcheck_model::collapse::Collapse;
use cowcheck_model::trace::Trace;
use cowcheck_model::verdict::Verdict;
use serde::{Deserialize, Serialize};

use crate::explore::news::News;
use crate::report::Sink;
use crate::report::event::{Event, Outcome, Rate};
use crate::suite::Sizes;

/// Something that a guest says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// First: the kernel has come as far as its first program.
    Hello {
        /// uname(2): the release.
        release: String,
    },
    /// It is alive; so once a second.
    Beat,
    /// Something a person should know.
    Note(String),
    /// The order cannot be carried out: whoever gave it should know.
    Refused(String),
    /// [`Event::Start`]. The plan follows from the order and the sizes.
    Start {
        /// The kernel, as uname(2) has it: release and version.
        kernel: String,
        /// The architecture.
        machine: String,
        /// What the catalogue is made from.
        sizes: Sizes,
        /// How many checks the plan has.
        planned: usize,
    },
    /// [`Event::Begin`].
    Begin(usize),
    /// [`Event::Outcome`].
    Outcome {
        /// Index into the plan.
        index: usize,
        /// The verdict.
        verdict: Verdict,
        /// Wall time in microseconds.
        micros: u64,
        /// How often it failed when it was run again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        again: Option<Rate>,
        /// Remarks.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notes: Vec<String>,
        /// What its collapses did.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        collapses: Vec<Collapse>,
        /// The failure told step by step.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        explanation: Option<String>,
        /// The trace, where it was asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trace: Option<Box<Trace>>,
    },
    /// [`Event::End`].
    End {
        /// Why the plan was not finished.
        stopped: Option<String>,
    },
    /// News of the explorer.
    Explored(Box<News>),
    /// A line that the program printed which was to be run.
    Printed(String),
    /// The process that carries out the order has ended: its exit code, or the signal that killed it.
    Ended {
        /// exit(3)
        code: Option<i32>,
        /// Or this signal.
        signal: Option<i32>,
    },
    /// Last: the guest goes off.
    Over,
}

impl Said {
    /// The line, with its end.
    pub fn line(&self) -> Vec<u8> {
        // Strings, numbers and lists: that cannot fail.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// Reads a line back.
    pub fn read(line: &[u8]) -> Result<Said, serde_json::Error> {
        serde_json::from_slice(line)
    }
}

/// The sink at the guest's end.
pub struct Wire<W> {
    out: W,
    /// Traces are large and mostly not wanted.
    traces: bool,
    sizes: Sizes,
}

impl<W: Write> Wire<W> {
    /// Says it to `out`.
    pub fn new(out: W, traces: bool, sizes: Sizes) -> Self {
        Wire { out, traces, sizes }
    }

    /// Says it.
    pub fn say(&mut self, said: &Said) -> io::Result<()> {
        // One write a line: others write to the port, too.
        self.out.write_all(&said.line())?;
        self.out.flush()
    }
}

impl<W: Write> Sink for Wire<W> {
    fn event(&mut self, event: Event<'_>) -> io::Result<()> {
        let said = match event {
            Event::Start(start) => Said::Start {
                kernel: start.kernel.clone(),
                machine: start.machine.clone(),
                sizes: self.sizes.clone(),
                planned: start.plan.len(),
            },
            Event::Note(text) => Said::Note(text.to_owned()),
            Event::Begin(index) => Said::Begin(index),
            Event::Outcome(Outcome { index, verdict, micros, again, notes, collapses, explanation, trace }) => {
                Said::Outcome {
                    index: *index,
                    verdict: verdict.clone(),
                    micros: *micros,
                    again: *again,
                    notes: notes.clone(),
                    collapses: collapses.clone(),
                    explanation: explanation.clone(),
                    trace: trace.as_ref().filter(|_| self.traces).map(|trace| Box::new(trace.clone())),
                }
            }
            Event::End { stopped, .. } => Said::End { stopped: stopped.map(str::to_owned) },
        };
        self.say(&said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn what_is_said_is_read_back() {
        let mut out = Vec::new();
        let sizes = Sizes { page: 4096, pmd: 2 << 20, thp: vec![2 << 20], hugetlb: vec![] };
        sample::play(&mut Wire::new(&mut out, true, sizes.clone()));
        let said: Vec<Said> =
            out.split_inclusive(|byte| *byte == b'\n').map(|line| Said::read(line).unwrap()).collect();
        let planned = sample::start().plan.len();
        assert!(
            matches!(&said[0], Said::Start { sizes: read, planned: count, .. } if *read == sizes && *count == planned)
        );
        let verdicts: Vec<Verdict> = said
            .iter()
            .filter_map(|said| match said {
                Said::Outcome { verdict, .. } => Some(verdict.clone()),
                _ => None,
            })
            .collect();
        assert_eq!(verdicts, sample::outcomes().into_iter().map(|outcome| outcome.verdict).collect::<Vec<_>>());
        assert_eq!(said.last(), Some(&Said::End { stopped: None }));
    }

    #[test]
    fn rubbish_is_no_line() {
        for line in ["", "{", "[1,2]", "\"hello\"", "{\"beat\":1}", "{\"begin\":-1}"] {
            assert!(Said::read(line.as_bytes()).is_err(), "{line}");
        }
        assert_eq!(Said::read(b"\"beat\"\n").unwrap(), Said::Beat);
    }
}

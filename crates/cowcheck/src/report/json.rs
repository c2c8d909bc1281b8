//! JSON lines: everything that is known of a run but the traces, one object a line, written as it
//! comes. The schema is in `docs/results.md`; what is added later stays readable by this version,
//! what is not gets a new [`VERSION`].

use std::io::{self, Write};

use cowcheck_model::collapse::Collapse;
use cowcheck_model::verdict::Verdict;
use serde::Serialize;

use super::Sink;
use super::event::{Counts, Event, Planned, Rate, Vm};

/// The version of the schema.
pub const VERSION: u32 = 1;

/// The sink. Each line is flushed, so that a kernel that dies leaves what was known before.
pub struct Json<W> {
    out: W,
    plan: Vec<Planned>,
    counts: Counts,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Line<'a> {
    Vm(&'a Vm),
    Start {
        cowcheck_results: u32,
        cowcheck: &'a str,
        kernel: &'a str,
        machine: &'a str,
        args: &'a [String],
        pmd_size: u64,
        thp_sizes: &'a [u64],
        hugetlb_sizes: &'a [u64],
        planned: usize,
    },
    Note {
        text: &'a str,
    },
    Begin {
        id: &'a str,
        repeat: u32,
    },
    Check {
        id: &'a str,
        group: &'a str,
        kind: &'a str,
        memory: &'a str,
        size: u64,
        repeat: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        #[serde(flatten)]
        verdict: &'a Verdict,
        micros: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        again: Option<Rate>,
        notes: &'a [String],
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        collapses: &'a [Collapse],
        #[serde(skip_serializing_if = "Option::is_none")]
        explanation: Option<&'a str>,
    },
    End {
        micros: u64,
        counts: Counts,
        not_run: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        stopped: Option<&'a str>,
    },
}

impl<W: Write> Json<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Json { out, plan: Vec::new(), counts: Counts::default() }
    }

    fn planned(&self, index: usize) -> io::Result<Planned> {
        self.plan.get(index).cloned().ok_or_else(|| {
            let what = format!("check {index} of a plan of {}", self.plan.len());
            io::Error::new(io::ErrorKind::InvalidInput, what)
        })
    }

    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        // One write for the whole line: a line that another writer cuts in two is no JSON.
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.out.write_all(&text)?;
        self.out.flush()
    }
}

impl<W: Write> Sink for Json<W> {
    fn event(&mut self, event: Event<'_>) -> io::Result<()> {
        match event {
            Event::Start(start) => {
                self.plan.clone_from(&start.plan);
                if let Some(vm) = &start.vm {
                    self.line(&Line::Vm(vm))?;
                }
                self.line(&Line::Start {
                    cowcheck_results: VERSION,
                    cowcheck: env!("CARGO_PKG_VERSION"),
                    kernel: &start.kernel,
                    machine: &start.machine,
                    args: &start.args,
                    pmd_size: start.pmd_size,
                    thp_sizes: &start.thp_sizes,
                    hugetlb_sizes: &start.hugetlb_sizes,
                    planned: start.plan.len(),
                })
            }
            Event::Note(text) => self.line(&Line::Note { text }),
            // What was running when the kernel died has this line and no other.
            Event::Begin(index) => {
                let Planned { id, repeat, .. } = self.planned(index)?;
                self.line(&Line::Begin { id: &id, repeat })
            }
            Event::Outcome(outcome) => {
                let planned = self.planned(outcome.index)?;
                self.counts.add(outcome.verdict.kind());
                self.line(&Line::Check {
                    id: &planned.id,
                    group: &planned.group,
                    kind: &planned.kind,
                    memory: &planned.memory,
                    size: planned.size,
                    repeat: planned.repeat,
                    description: planned.description.as_deref(),
                    verdict: &outcome.verdict,
                    micros: outcome.micros,
                    again: outcome.again,
                    notes: &outcome.notes,
                    collapses: &outcome.collapses,
                    explanation: outcome.explanation.as_deref(),
                })
            }
            Event::End { micros, stopped } => {
                let not_run = self.plan.len().saturating_sub(self.counts.total());
                self.line(&Line::End { micros, counts: self.counts, not_run, stopped })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::event::Start;
    use crate::report::sample;

    fn written(play: impl Fn(&mut Json<&mut Vec<u8>>)) -> Vec<serde_json::Value> {
        let mut out = Vec::new();
        play(&mut Json::new(&mut out));
        assert!(out.ends_with(b"\n"));
        out.split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    #[test]
    fn the_schema_is_as_documented() {
        let mut out = Vec::new();
        sample::play(&mut Json::new(&mut out));
        insta::assert_snapshot!(String::from_utf8(out).unwrap().replace(env!("CARGO_PKG_VERSION"), "VERSION"));
    }

    #[test]
    fn a_vm_is_told_before_anything_else() {
        let vm =
            Vm { handle: "debian:6.1".to_owned(), package: None, accel: "tcg".to_owned(), cpus: 2, memory: 1 << 31 };
        let start = Start { vm: Some(vm), ..sample::start() };
        let lines = written(|sink| sink.event(Event::Start(&start)).unwrap());
        let vm = serde_json::json!({
            "type": "vm", "handle": "debian:6.1", "accel": "tcg", "cpus": 2, "memory": 1_u64 << 31
        });
        assert_eq!(lines[0], vm);
        assert_eq!(lines[1]["type"], "start");
    }

    #[test]
    fn a_verdict_is_read_back_as_it_was() {
        let lines = written(|sink| sample::play(sink));
        let checks: Vec<_> = lines.iter().filter(|line| line["type"] == "check").collect();
        for (line, outcome) in checks.iter().zip(sample::outcomes()) {
            let verdict: Verdict = serde_json::from_value((*line).clone()).unwrap();
            assert_eq!(verdict, outcome.verdict);
        }
        assert_eq!(checks.len(), 8);
    }

    #[test]
    fn a_stopped_run_says_what_was_not_run() {
        let lines = written(|sink| sample::play_part(sink, 3, Some("Ctrl-C")));
        let end = lines.last().unwrap();
        assert_eq!((&end["stopped"], &end["not_run"]), (&"Ctrl-C".into(), &5.into()));
        assert_eq!((&end["counts"]["pass"], &end["counts"]["crash"]), (&1.into(), &0.into()));
    }
}

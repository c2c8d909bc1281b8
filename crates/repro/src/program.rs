//! A program while it is written: where the scenario has come to, and the C so far.

use std::collections::HashMap;

use cowcheck_model::contract::{Origin, SetId, World};
use cowcheck_model::memory::Memory;
use cowcheck_model::pages::{Run, runs_of};
use cowcheck_model::scenario::Scenario;
use cowcheck_model::stamp::Writer;
use cowcheck_model::step::{Actor, Op, Pin, PinKind, Step};

use crate::calls::{Tables, deeper};
use crate::error::Error;
use crate::helpers::{self, Helper, Helpers, Shape};
use crate::places::Places;
use crate::{head, translate};

/// A pin, as the program has it.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    /// Its variable.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: PinKind,
    /// What it holds, in pieces that lie together.
    pub(crate) runs: Vec<Run>,
}

/// A scenario on its way to C.
pub(crate) struct Program<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) page_size: u32,
    pub(crate) shape: Shape,
    pub(crate) helpers: Helpers,
    pub(crate) tables: Tables,
    /// Definitions of the pins.
    pub(crate) globals: Vec<String>,
    /// The most buffers that an io_uring has.
    pub(crate) buffers: usize,
    /// The statements of the steps.
    pub(crate) body: String,
    /// What the contract allows now.
    pub(crate) world: World,
    pub(crate) held: HashMap<Pin, Held>,
    /// How often a pin of this name was taken.
    pub(crate) taken: HashMap<Pin, u32>,
    places: HashMap<Actor, Places>,
}

impl<'a> Program<'a> {
    /// The program of a scenario that is valid.
    pub(crate) fn of(scenario: &'a Scenario, page_size: u32) -> Result<Program<'a>, Error> {
        let memory = scenario.memory;
        let shape = Shape {
            family: scenario.has(|op| matches!(op, Op::Fork(_))),
            moved: scenario.has(|op| matches!(op, Op::Mremap(_))),
            probes: scenario.has(|op| matches!(op, Op::Probe(..))),
            file: memory.kind.has_file(),
        };
        let mut program = Program {
            scenario,
            page_size,
            shape,
            helpers: Helpers::default(),
            tables: Tables::default(),
            globals: vec![],
            buffers: 0,
            body: String::new(),
            world: World::new(memory, page_size),
            held: HashMap::new(),
            taken: HashMap::new(),
            places: HashMap::from([(Actor::A, Places::new(memory, page_size))]),
        };
        if shape.family {
            program.add(&helpers::TURN);
            program.add(&helpers::SHARE);
        }
        program.add(&helpers::START);
        program.add(&helpers::MAP);
        for (number, step) in scenario.numbered() {
            program.step(number, step)?;
        }
        Ok(program)
    }

    /// The program calls this.
    pub(crate) fn add(&mut self, helper: &'static Helper) {
        self.helpers.add(helper);
    }

    pub(crate) fn memory(&self) -> Memory {
        self.scenario.memory
    }

    /// How many base pages lie between the start of the memory and the last place it is moved to.
    pub(crate) fn space(&self) -> u32 {
        match self.shape.moved {
            true => self.places.values().map(Places::end).max().unwrap_or(0),
            false => self.world.pages(),
        }
    }

    /// One call for all of `runs`, which each page needs.
    pub(crate) fn calls(&mut self, runs: &[Run], call: impl Fn(&str, &str) -> String) -> Vec<String> {
        self.tables.calls(runs, call)
    }

    /// The same, where the pages of a call must lie one behind the other.
    pub(crate) fn calls_apart(
        &mut self,
        actor: Actor,
        runs: &[Run],
        call: impl Fn(&str, &str) -> String,
    ) -> Vec<String> {
        let runs = self.apart(actor, runs);
        self.tables.calls(&runs, call)
    }

    /// `runs`, cut where pages that follow each other lie apart in `actor`'s memory.
    pub(crate) fn apart(&self, actor: Actor, runs: &[Run]) -> Vec<Run> {
        self.places.get(&actor).map_or_else(|| runs.to_vec(), |places| places.cut(runs))
    }

    /// Where `runs` lie in `actor`'s memory, in base pages behind its start.
    pub(crate) fn places_of(&self, actor: Actor, runs: &[Run]) -> Vec<Run> {
        self.places.get(&actor).map_or_else(|| runs.to_vec(), |places| places.of(runs))
    }

    /// Moves a run that lies together. Tells where to.
    pub(crate) fn move_run(&mut self, actor: Actor, run: Run) -> u32 {
        self.places.get_mut(&actor).map_or(0, |places| places.move_run(run))
    }

    /// `runs` by what their pages may hold, each set as an argument of C.
    pub(crate) fn by_set(&self, runs: &[Run], allowed: impl Fn(u32) -> Option<SetId>) -> Vec<(String, Vec<Run>)> {
        let mut groups: Vec<(SetId, Vec<u32>)> = vec![];
        for page in runs.iter().flat_map(|run| run.pages()) {
            let Some(set) = allowed(page) else { continue };
            // Neighbours mostly have the same.
            match groups.iter_mut().rev().find(|(known, _)| *known == set) {
                Some((_, pages)) => pages.push(page),
                None => groups.push((set, vec![page])),
            }
        }
        groups.into_iter().map(|(set, pages)| (one_of(self.world.origins(set)), runs_of(pages))).collect()
    }

    fn step(&mut self, number: u32, step: &Step) -> Result<(), Error> {
        let mut lines = match step.op {
            Op::Exit => vec!["_exit(KEPT);".to_owned()],
            _ => translate::step(self, number, step)?,
        };
        let heir = self.heir(step.actor);
        self.world.apply(number, step, None);
        if let Op::Fork(child) = step.op {
            let places = self.places.get(&step.actor).cloned();
            self.places.extend(places.map(|places| (child, places)));
        }
        lines.extend(translate::soft_dirty(self, number, step));
        let comment = translate::sentence(self, step);
        let note = if step.note.is_empty() { String::new() } else { format!(" ({})", step.note) };
        let comment = format!("{number}. {comment}{note}.");
        self.body.push_str(&format!("\n\t/* {} */\n", head::wrapped(&comment, 80, "\t * ")));
        self.turn(number, step.actor, &lines);
        if step.op == Op::Exit {
            self.add(&helpers::REAP);
            self.turn(number, heir, &[format!("reap({});", step.actor)]);
        }
        Ok(())
    }

    /// Who reaps `actor`: its parent, or A where that is gone.
    fn heir(&self, actor: Actor) -> Actor {
        let parent = self.world.parent(actor).map(|(parent, _)| parent);
        parent.filter(|parent| self.world.alive().any(|other| other == *parent)).unwrap_or(Actor::A)
    }

    /// Statements of one step, done by one process.
    fn turn(&mut self, number: u32, actor: Actor, lines: &[String]) {
        if !self.shape.family {
            self.body.push_str(&format!("\tstep = {number};\n"));
            lines.iter().for_each(|line| self.body.push_str(&format!("\t{}\n", deeper(line))));
            return;
        }
        let lines: Vec<String> = lines.iter().map(|line| format!("\t\t{}\n", deeper(&deeper(line)))).collect();
        let is_simple = matches!(&lines[..], [line] if line.lines().count() == 1);
        let (open, close) = if is_simple { ("", "") } else { (" {", "\t}\n") };
        self.body.push_str(&format!("\tif (turn({number}, {actor})){open}\n{}{close}", lines.concat()));
    }
}

/// A set of contents as C.
fn one_of(origins: &[Origin]) -> String {
    let names = origins.iter().map(|origin| match origin {
        Origin::Zero => "ZERO".to_owned(),
        Origin::Written(Writer::Initial) => "FILE_CONTENT".to_owned(),
        Origin::Written(Writer::Step(actor, step)) => format!("WROTE({actor}, {step})"),
    });
    let names: Vec<String> = names.collect();
    let lines: Vec<String> = names.chunks(5).map(|line| line.join(", ")).collect();
    format!("ONE_OF({})", lines.join(",\n\t\t"))
}

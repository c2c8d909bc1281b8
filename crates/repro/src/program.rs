//! A program while it is written: where the scenario has come to, and the C so far.

use std::collections::HashMap;

use cowcheck_model::contract::{Origin, SetId, World};
use cowcheck_model::memory::Memory;
use cowcheck_model::pages::{Run, runs_of};
use cowcheck_model::scenario::{Invalid, Scenario};
use cowcheck_model::stamp::Writer;
use cowcheck_model::step::{Actor, Op, Pin, PinKind, Step, Treatment, groups};
use cowcheck_model::storm::Rival;

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
    /// The functions of steps at once.
    pub(crate) functions: Vec<String>,
    /// The statements of the steps.
    pub(crate) body: String,
    /// For a step at once with others: the pages that they may close to it.
    pub(crate) beside: Option<Vec<Run>>,
    /// How many steps at once there were so far.
    pub(crate) met: usize,
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
        let at_once = scenario.steps.iter().any(|step| step.at_once);
        let fenced = scenario.has(|op| matches!(op, Op::Storm(_, rivals) if rivals.has(Rival::Mprotect)));
        let shape = Shape {
            family: at_once || scenario.has(|op| matches!(op, Op::Fork(_))),
            at_once,
            races: at_once || scenario.has(|op| matches!(op, Op::Storm(..))),
            fenced,
            changes: scenario.has(|op| matches!(op, Op::Reclaim | Op::Swapoff)),
            moved: scenario.has(|op| matches!(op, Op::Mremap(_))),
            probes: fenced
                || scenario.has(|op| matches!(op, Op::Probe(..)) || (at_once && matches!(op, Op::Mprotect(..)))),
            file: memory.kind.has_file(),
            protects: scenario.has(|op| matches!(op, Op::Treat(Treatment::UffdWp, _)))
                && !memory.kind.has_file()
                && !memory.kind.is_hugetlb(),
        };
        let mut program = Program {
            scenario,
            page_size,
            shape,
            helpers: Helpers::default(),
            tables: Tables::default(),
            globals: vec![],
            buffers: 0,
            functions: vec![],
            body: String::new(),
            beside: None,
            met: 0,
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
        let mut number = 1;
        for group in groups(&scenario.steps) {
            match group {
                [step] => program.step(number, step)?,
                _ => program.at_once(number, group)?,
            }
            number += group.len() as u32;
        }
        if shape.races {
            program.add(&helpers::MAIN_ROUNDS);
        } else if shape.changes {
            program.add(&helpers::MAIN_ONCE);
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
        groups.into_iter().map(|(set, pages)| (self.set(set), runs_of(pages))).collect()
    }

    /// A set of contents as C.
    fn set(&self, set: SetId) -> String {
        let names: Vec<String> = self.world.origins(set).iter().map(content).collect();
        let lines: Vec<String> = names.chunks(5).map(|line| line.join(", ")).collect();
        let of = if self.world.is_mixed(set) { "MIX_OF" } else { "ONE_OF" };
        format!("{of}({})", lines.join(",\n\t\t"))
    }

    /// Runs of pages that stay open to this step, and of those that others may close to it.
    pub(crate) fn open_and_closed(&self, runs: &[Run]) -> (Vec<Run>, Vec<Run>) {
        let is_closed = |page: &u32| self.beside.iter().flatten().any(|run| run.pages().contains(page));
        let (closed, open): (Vec<u32>, Vec<u32>) = runs.iter().flat_map(|run| run.pages()).partition(is_closed);
        (runs_of(open), runs_of(closed))
    }

    fn step(&mut self, number: u32, step: &Step) -> Result<(), Error> {
        let mut lines = match step.op {
            Op::Exit => vec!["_exit(KEPT);".to_owned()],
            _ => translate::step(self, number, step)?,
        };
        let heir = self.heir(step.actor);
        self.world.apply(number, step, None);
        self.settle(step);
        lines.extend(translate::soft_dirty(self, number, step));
        self.body.push_str(&format!("\n\t/* {} */\n", self.comment(number, step, "\t * ")));
        self.turn(number, step.actor, &lines);
        if step.op == Op::Exit {
            self.add(&helpers::REAP);
            self.turn(number, heir, &[format!("reap({});", step.actor)]);
        }
        Ok(())
    }

    /// A child that was forked has its pages where its parent has them.
    fn settle(&mut self, step: &Step) {
        if let Op::Fork(child) = step.op {
            let places = self.places.get(&step.actor).cloned();
            self.places.extend(places.map(|places| (child, places)));
        }
    }

    /// What a step does, for the reader.
    fn comment(&self, number: u32, step: &Step, indent: &str) -> String {
        let note = if step.note.is_empty() { String::new() } else { format!(" ({})", step.note) };
        head::wrapped(&format!("{number}. {}{note}.", translate::sentence(self, step)), 80, indent)
    }

    /// Steps at once, of which the first has this number: a function each, and a call that has threads do them.
    fn at_once(&mut self, first: u32, steps: &[Step]) -> Result<(), Error> {
        self.add(&helpers::AT_ONCE);
        let wrong = |(at, why)| Error::Invalid(Invalid { step: first as usize + at, why });
        let worlds = self.world.race(first, steps).map_err(wrong)?;
        let closed: Vec<_> = (0..steps.len()).map(|index| self.world.is_closed(steps, index)).collect();
        // What one of them reads is held against what is right on the way.
        self.world = worlds.during;
        let mut calls = String::new();
        for ((number, step), closed) in (first..).zip(steps).zip(closed) {
            self.beside = Some(closed);
            let lines: Vec<String> =
                translate::step(self, number, step)?.iter().map(|line| format!("\t{}\n", deeper(line))).collect();
            let comment = self.comment(number, step, " * ");
            self.functions
                .push(format!("/* {comment} */\nstatic void step_{number}(void)\n{{\n{}}}\n", lines.concat()));
            let forks = if matches!(step.op, Op::Fork(_)) { ", .forks = true" } else { "" };
            calls.push_str(&format!("\t\t{{ .who = {}, .work = step_{number}{forks} }},\n", step.actor));
            self.settle(step);
        }
        self.beside = None;
        self.world = worlds.after;
        self.met += steps.len();
        let last = first as usize + steps.len() - 1;
        self.body.push_str(&format!(
            "\n\t/* {first} to {last}, at once. */\n\tat_once({first}, {}, {}, (const struct beside[]) {{\n{calls}\t}});\n",
            steps.len(),
            self.met
        ));
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

/// A content as C.
fn content(origin: &Origin) -> String {
    match origin {
        Origin::Zero => "ZERO".to_owned(),
        Origin::Written(Writer::Initial) => "FILE_CONTENT".to_owned(),
        Origin::Written(Writer::Step(actor, step)) => format!("WROTE({actor}, {step})"),
    }
}

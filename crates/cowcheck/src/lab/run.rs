//! Runs the lab: first what must pass, then what must not.

use std::cell::Cell;
use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, LineWriter};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cowcheck_lab::Mutant;
use cowcheck_model::verdict::Kind;

use super::judge::{Fate, Reference, Standard, fate};
use super::matrix::{Ground, KillMatrix};
use super::order::{Killers, order};
use super::peer::{Told, compared};
use super::row::Row;
use super::seen::{Collect, Ran, Seen};
use super::store::{Line, Store, key};
use super::trial::{Family, Trial, file_name};
use super::view::View;
use crate::guest::order::{Checks, Share, What};
use crate::known::Known;
use crate::report::event::Rate;
use crate::report::fan::Fan;
use crate::report::json::Json;
use crate::suite::select::Selection;
use crate::vm::fleet;
use crate::vm::guest::Patience;
use crate::vm::load::Load;
use crate::vm::qemu::Machine;
use crate::vm::session::{self, CONSOLES, Means, ProgramEnd, Spec};
use crate::wire::Said;

/// How often what failed is run again at most, until it has failed again.
const AGAIN: u32 = 3;

/// The time limit of a check on a kernel without a bug.
const LIMIT: Duration = Duration::from_secs(30);

/// On a mutant it is so many times the longest that any check took without the bug, within these bounds.
const SLACK: u32 = 10;
const LIMITS: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(120));

/// How long everything on one kernel may take: without a bug, and, with one, so many times what that took and more.
const WHOLE: Duration = Duration::from_secs(2 * 3600);
const WHOLE_SLACK: u32 = 4;
const WHOLE_MORE: Duration = Duration::from_secs(300);

/// What a kernel without a bug is called in the key of its results.
const REFERENCE: &str = "reference";

/// With `fast`, a mutant that is argued to be unobservable is tried by so many checks: to see that is what the whole run is for.
const SAMPLE: usize = 200;

/// Where the peer lies in its guest.
const PEER: &str = "/cowcheck/program";

/// Why a guest is stopped whose last check is to be run again alone.
const ENOUGH: &str = "to be run again alone";

/// How to run it.
pub struct Lab<'a> {
    /// QEMU.
    pub qemu: &'a Path,
    /// The guests' first process: this program.
    pub init: &'a [u8],
    /// Where the guests' files go.
    pub directory: &'a Path,
    /// The machine of each guest.
    pub machine: Machine,
    /// Which checks.
    pub selection: Selection,
    /// Failures that are known.
    pub known: Known,
    /// Leave each mutant at its first kill.
    pub fast: bool,
    /// Judge by what is left, where something fails without a bug.
    pub keep_going: bool,
    /// The kernel's own cow.c, a static program.
    pub peer: Option<Vec<u8>>,
    /// How many guests run side by side.
    pub width: usize,
    /// Is it to end?
    pub interrupted: &'a AtomicBool,
    /// Where results go as they come.
    pub store: Option<&'a Store>,
}

/// What a family's kernels without a bug came to.
struct Proved {
    standard: Standard,
    references: Vec<Reference>,
    peer: Vec<Told>,
}

/// Something to be done on a kernel without a bug.
struct Part<'p> {
    /// The family's place.
    at: usize,
    /// The reference's place in the family.
    of: usize,
    trial: &'p Trial,
    work: Work<'p>,
}

/// What.
enum Work<'p> {
    /// Checks.
    Share(Share),
    /// The peer.
    Peer(&'p [u8]),
}

/// What came of it.
enum Done {
    Ran(Ran),
    Told(Told),
}

impl Lab<'_> {
    /// Runs it all.
    pub fn run(&self, families: &[Family], view: &mut View) -> io::Result<KillMatrix> {
        let began = Instant::now();
        let proved = self.references(families, view)?;
        let grounds: Vec<Ground> = families
            .iter()
            .zip(&proved)
            .map(|(family, proved)| {
                Ground::new(&family.on, family.package.clone(), &proved.references, &proved.standard)
            })
            .collect();
        let may_judge = self.keep_going || grounds.iter().all(|ground| ground.faults.is_empty());
        let mutants: Vec<(usize, &Mutant, &Trial)> = families
            .iter()
            .enumerate()
            .flat_map(|(at, family)| family.mutants.iter().map(move |(mutant, trial)| (at, mutant, trial)))
            .collect();
        let killers = Killers::default();
        view.begin("mutants", mutants.len());
        let rows = fleet::each(&mutants, self.width, |_, (at, mutant, trial)| -> io::Result<Row> {
            let (family, proved) = (&families[*at], &proved[*at]);
            let row = match may_judge {
                _ if self.is_interrupted() => unfinished(mutant, family, "interrupted"),
                false => unfinished(mutant, family, "not judged: something fails without a bug"),
                true => self.mutant(mutant, trial, family, proved, &killers, view)?,
            };
            view.done(&format!("{:<12} {} on {}: {}", row.word(), row.mutant, row.on, row.told()));
            Ok(row)
        });
        view.end();
        let rows = rows.into_iter().collect::<io::Result<Vec<Row>>>()?;
        let fit: BTreeSet<String> = proved.iter().flat_map(|proved| proved.standard.fit.iter().cloned()).collect();
        let mut matrix = KillMatrix::new(self.fast, grounds, &fit, rows);
        matrix.seconds = began.elapsed().as_secs_f64();
        Ok(matrix)
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// What the kernels without a bug come to. Each is shared by as many guests as run side by side, so that no
    /// processor waits for the last one.
    fn references(&self, families: &[Family], view: &mut View) -> io::Result<Vec<Proved>> {
        let mut parts = Vec::new();
        for (at, family) in families.iter().enumerate() {
            for (of, trial) in family.references.iter().enumerate() {
                let shares = (0..self.width).map(|number| Work::Share(Share { number, of: self.width }));
                let peer = self.peer.as_ref().map(|program| Work::Peer(program));
                parts.extend(shares.chain(peer).map(|work| Part { at, of, trial, work }));
            }
        }
        view.begin("without a bug", parts.len());
        let view = &*view;
        let done = fleet::each(&parts, self.width, |_, part| self.part(part, &families[part.at], view));
        let mut shares: Vec<Vec<Vec<Ran>>> =
            families.iter().map(|family| vec![Vec::new(); family.references.len()]).collect();
        let mut peers: Vec<Vec<Told>> = families.iter().map(|_| Vec::new()).collect();
        for (part, done) in parts.iter().zip(done) {
            match done? {
                Done::Ran(ran) => shares[part.at][part.of].push(ran),
                Done::Told(told) => peers[part.at].push(told),
            }
        }
        let prove = |((family, shares), peer): ((&Family, Vec<Vec<Ran>>), Vec<Told>)| {
            let named = family.references.iter().map(|trial| trial.name.clone());
            let references: Vec<Reference> =
                named.zip(shares).map(|(name, shares)| Reference { name, ran: Ran::whole(shares) }).collect();
            Proved { standard: Standard::by(&references), references, peer }
        };
        Ok(families.iter().zip(shares).zip(peers).map(prove).collect())
    }

    fn part(&self, part: &Part<'_>, family: &Family, view: &View) -> io::Result<Done> {
        let share = match part.work {
            Work::Share(share) => share,
            Work::Peer(program) => {
                let told = self.reference_peer(program, part.trial, family)?;
                view.done(&format!("cow.c in {} on {}: {:.0} s", part.trial.name, family.on, told.seconds));
                return Ok(Done::Told(told));
            }
        };
        let trial = &part.trial.share(share);
        let ran = self.reference(trial, share, family, view)?;
        let count = |kind| ran.seen.iter().filter(|seen| seen.verdict == kind).count();
        let bad = ran.seen.iter().filter(|seen| seen.verdict.is_bad()).count();
        let stopped = ran.stopped.as_ref().map(|why| format!("; stopped: {why}")).unwrap_or_default();
        let text = format!(
            "{} on {}: {} pass, {bad} fail, {} not tested, {:.0} s{stopped}",
            trial.name,
            family.on,
            count(Kind::Pass),
            count(Kind::Skip) + count(Kind::Inconclusive),
            ran.seconds
        );
        view.done(&text);
        Ok(Done::Ran(ran))
    }

    fn reference(&self, trial: &Trial, share: Share, family: &Family, view: &View) -> io::Result<Ran> {
        let key = self.key(trial, &format!("{REFERENCE} {} of {}", share.number, share.of))?;
        if let Some(known) = self.known(|line| match line {
            Line::Reference { key: of, reference, .. } if *of == key => Some(reference.ran.clone()),
            _ => None,
        }) {
            return Ok(known);
        }
        self.forget(&file_name(&trial.name, &family.on))?;
        let whole = self.checks(What::Selection(self.selection.clone()), LIMIT);
        let checks = Checks { share: Some(share), ..whole };
        let until = Instant::now() + WHOLE;
        let mut ran = self.session(trial, family, &checks, until, &|_| false, view)?;
        self.confirm(trial, family, &mut ran, LIMIT, until, view)?;
        if ran.stopped.is_none() {
            let reference = Reference { name: trial.name.clone(), ran: ran.clone() };
            self.keep(|| Line::Reference { key, on: family.on.clone(), reference })?;
        }
        Ok(ran)
    }

    fn mutant(
        &self,
        mutant: &Mutant,
        trial: &Trial,
        family: &Family,
        proved: &Proved,
        killers: &Killers,
        view: &View,
    ) -> io::Result<Row> {
        let key = self.key(trial, "mutant")?;
        if let Some(known) = self.known(|line| match line {
            Line::Mutant { key: of, row } if *of == key => Some(row.as_ref().clone()),
            _ => None,
        }) {
            known.kills().iter().for_each(|kill| killers.add(&kill.check));
            return Ok(known);
        }
        self.forget(&file_name(&trial.name, &family.on))?;
        let began = Instant::now();
        let standard = &proved.standard;
        let all = match self.fast {
            true => {
                let mut all = order(&standard.fit, &mutant.first, killers);
                all.truncate(if mutant.unobservable.is_some() { SAMPLE } else { all.len() });
                all
            }
            false => standard.fit.clone(),
        };
        if all.is_empty() {
            return Ok(unfinished(mutant, family, "no check passes without a bug"));
        }
        let limit = (standard.slowest * SLACK).clamp(LIMITS.0, LIMITS.1);
        let until = began + standard.whole * WHOLE_SLACK + WHOLE_MORE;
        let mut ran = Ran::default();
        let mut found = loop {
            let seen: HashSet<&str> = ran.seen.iter().map(|seen| seen.check.as_str()).collect();
            let left: Vec<String> = all.iter().filter(|check| !seen.contains(check.as_str())).cloned().collect();
            if left.is_empty() {
                // The last one was run again and did nothing more.
                ran.stopped = None;
                break fate(standard, &ran);
            }
            let checks = Checks { fail_fast: self.fast, ..self.checks(What::Ids(left), limit) };
            ran.join(self.session(trial, family, &checks, until, &|seen| self.fast && seen.is_lost(), view)?);
            self.confirm(trial, family, &mut ran, limit, until, view)?;
            let found = fate(standard, &ran);
            if ran.stopped.as_deref() != Some(ENOUGH) || matches!(found, Fate::Caught { .. }) {
                break found;
            }
        };
        if let Fate::Caught { kills, .. } = &found
            && kills.iter().all(|kill| kill.verdict != Kind::Fail)
            && let Some(reason) = self.dies_alone(trial, family, &all[0], until, view)?
        {
            found = Fate::Unviable { reason };
        }
        let mut row = Row::new(mutant, &family.on, found);
        row.kills().iter().for_each(|kill| killers.add(&kill.check));
        row.checks = ran.seen.len();
        row.untested = ran.seen.iter().filter(|seen| matches!(seen.verdict, Kind::Skip | Kind::Inconclusive)).count();
        let is_unconfirmed = |seen: &&Seen| seen.verdict.is_bad() && seen.rate.is_none_or(|rate| !rate.is_confirmed());
        row.unconfirmed = ran.seen.iter().filter(is_unconfirmed).map(|seen| seen.check.clone()).collect();
        if let Some(program) = &self.peer
            && !matches!(row.fate, Fate::Unviable { .. })
        {
            let longest = proved.peer.iter().map(|told| told.seconds).fold(0.0, f64::max);
            let limit = Duration::from_secs_f64(longest) * WHOLE_SLACK + WHOLE_MORE;
            row.peer = compared(&proved.peer, &self.peer(program, trial, family, limit)?);
        }
        row.seconds = began.elapsed().as_secs_f64();
        // What could not be judged is tried again the next time.
        if !self.is_interrupted() && matches!(row.fate, Fate::Caught { .. } | Fate::Missed) {
            self.keep(|| Line::Mutant { key, row: Box::new(row.clone()) })?;
        }
        Ok(row)
    }

    /// What took its guest along is run again alone, in a fresh guest each time.
    fn confirm(
        &self,
        trial: &Trial,
        family: &Family,
        ran: &mut Ran,
        limit: Duration,
        until: Instant,
        view: &View,
    ) -> io::Result<()> {
        let began = Instant::now();
        for seen in ran.seen.iter_mut().filter(|seen| seen.is_lost()) {
            let checks =
                Checks { repeat: AGAIN, confirm: 0, ..self.checks(What::Ids(vec![seen.check.clone()]), limit) };
            let again = self.session(trial, family, &checks, until, &|again| again.verdict.is_bad(), view)?;
            if self.is_interrupted() {
                break;
            }
            let failed = again.seen.iter().filter(|again| again.verdict.is_bad()).count() as u32;
            seen.rate = Some(Rate { failed: 1 + failed, runs: 1 + again.seen.len() as u32 });
        }
        ran.seconds += began.elapsed().as_secs_f64();
        Ok(())
    }

    /// Boots it, sets everything up and runs no check. How it dies, if it does.
    fn dies_alone(
        &self,
        trial: &Trial,
        family: &Family,
        check: &str,
        until: Instant,
        view: &View,
    ) -> io::Result<Option<String>> {
        let checks = Checks { done: BTreeSet::from([0]), ..self.checks(What::Ids(vec![check.to_owned()]), LIMIT) };
        let ran = self.session(trial, family, &checks, until, &|_| false, view)?;
        Ok(ran.stopped.filter(|_| !self.is_interrupted()).map(|why| format!("without any check: {why}")))
    }

    fn checks(&self, what: What, limit: Duration) -> Checks {
        Checks {
            what,
            share: None,
            repeat: 1,
            // In their order, and each alone.
            jobs: Some(1),
            limit_ms: limit.as_millis() as u64,
            fail_fast: false,
            confirm: AGAIN,
            traces: false,
            peers_only: false,
            fault: None,
            known: self.known.clone(),
            guest_fault: None,
            done: BTreeSet::new(),
        }
    }

    /// Runs checks, until that is stopped or one is seen that is `enough`.
    fn session(
        &self,
        trial: &Trial,
        family: &Family,
        checks: &Checks,
        until: Instant,
        enough: &dyn Fn(&Seen) -> bool,
        view: &View,
    ) -> io::Result<Ran> {
        let is_enough = Cell::new(false);
        let hear = |seen: &Seen| is_enough.set(is_enough.get() || enough(seen));
        let stop = || match () {
            () if self.is_interrupted() => Some("interrupted".to_owned()),
            () if is_enough.get() => Some(ENOUGH.to_owned()),
            () if Instant::now() >= until => Some("out of time".to_owned()),
            () => None,
        };
        let name = file_name(&trial.name, &family.on);
        let mut collect = Collect::new(Duration::from_millis(checks.limit_ms), &hear);
        let mut progress = view.guest(&trial.name);
        let mut fan = Fan::new();
        fan.add("what was seen", &mut collect);
        fan.add("progress", &mut progress);
        if let Some(store) = self.store {
            let path = store.directory().join(format!("{name}.jsonl"));
            let file = File::options().create(true).append(true).open(path)?;
            fan.add("the results", Json::new(LineWriter::new(file)));
        }
        let directory = self.directory.join(&name);
        let means = Means { sink: &mut fan, save_trace: None, stop: &stop };
        session::run(&self.spec(trial, &directory, None), checks, means)?;
        drop(fan);
        progress.clear();
        self.put_away(&directory, &name)?;
        Ok(collect.finish())
    }

    fn spec<'s>(&'s self, trial: &'s Trial, directory: &'s Path, program: Option<&'s [u8]>) -> Spec<'s> {
        Spec {
            subject: &trial.subject,
            machine: trial.machine(&self.machine),
            qemu: self.qemu,
            init: self.init,
            program: program.map(|bytes| (PEER.to_owned(), bytes)),
            directory,
            patience: Patience::default(),
        }
    }

    /// Files of an earlier run: several guests add to them.
    fn forget(&self, name: &str) -> io::Result<()> {
        let Some(store) = self.store else { return Ok(()) };
        for extension in ["jsonl", "console.log"] {
            match fs::remove_file(store.directory().join(format!("{name}.{extension}"))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// The console is kept, where results are; all else of a guest goes.
    fn put_away(&self, directory: &Path, name: &str) -> io::Result<()> {
        if let (Some(store), Ok(console)) = (self.store, fs::read(directory.join(CONSOLES))) {
            let path = store.directory().join(format!("{name}.console.log"));
            io::Write::write_all(&mut File::options().create(true).append(true).open(path)?, &console)?;
        }
        fs::remove_dir_all(directory)
    }

    fn reference_peer(&self, program: &[u8], trial: &Trial, family: &Family) -> io::Result<Told> {
        let key = self.key(trial, "peer")?;
        if let Some(known) = self.known(|line| match line {
            Line::Peer { key: of, told } if *of == key => Some(told.clone()),
            _ => None,
        }) {
            return Ok(known);
        }
        let told = self.peer(program, trial, family, WHOLE)?;
        if !self.is_interrupted() {
            self.keep(|| Line::Peer { key, told: told.clone() })?;
        }
        Ok(told)
    }

    fn peer(&self, program: &[u8], trial: &Trial, family: &Family, limit: Duration) -> io::Result<Told> {
        let began = Instant::now();
        let stop = || match () {
            () if self.is_interrupted() => Some("interrupted".to_owned()),
            () if began.elapsed() >= limit => Some(format!("out of time after {} s", limit.as_secs())),
            () => None,
        };
        let mut lines = String::new();
        let mut hear = |said: &Said| match said {
            // It begins anew in a new guest.
            Said::Hello { .. } => lines.clear(),
            Said::Printed(line) => {
                lines.push_str(line);
                lines.push('\n');
            }
            _ => {}
        };
        let name = format!("{}.peer", file_name(&trial.name, &family.on));
        let directory = self.directory.join(&name);
        let spec = self.spec(trial, &directory, Some(program));
        let end = match session::run_program(&spec, &[PEER.to_owned()], &stop, &mut hear)? {
            ProgramEnd::Exit(_) => None,
            ProgramEnd::Not(why) => Some(why),
        };
        if let Some(store) = self.store {
            fs::write(store.directory().join(format!("{name}.tap")), &lines)?;
        }
        self.put_away(&directory, &name)?;
        Ok(Told::read(&lines, end, began.elapsed().as_secs_f64()))
    }

    fn known<R>(&self, find: impl Fn(&Line) -> Option<R>) -> Option<R> {
        self.store.and_then(|store| store.known().iter().rev().find_map(find))
    }

    fn keep(&self, line: impl FnOnce() -> Line) -> io::Result<()> {
        self.store.map_or(Ok(()), |store| store.add(&line()))
    }

    /// Of all that the result depends on.
    fn key(&self, trial: &Trial, what: &str) -> io::Result<String> {
        if self.store.is_none() {
            return Ok(String::new());
        }
        let kernel = fs::read(&trial.subject.file)?;
        let module = |load: &Load| (load.name.clone(), load.parameters.clone(), load.data.clone());
        let modules = serde_json::to_vec(&trial.subject.modules.iter().map(module).collect::<Vec<_>>())?;
        let how =
            serde_json::to_vec(&(&self.selection, self.fast && what == "mutant", self.machine.memory, &self.known))?;
        let peer = if what.starts_with(REFERENCE) { &[][..] } else { self.peer.as_deref().unwrap_or_default() };
        Ok(key(&[&what, &self.init, &kernel, &modules, &trial.cmdline, &how, &peer]))
    }
}

fn unfinished(mutant: &Mutant, family: &Family, why: &str) -> Row {
    Row::new(mutant, &family.on, Fate::Unfinished { reason: why.to_owned() })
}

//! One guest, from its start to its end.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cowcheck_sys::process::die_with_parent;

use super::alive::{Silence, Spent, Watch};
use super::console::{Console, Sign};
use super::qemu::{Accel, Files, Machine};
use super::tail::Tail;
use crate::wire::Said;

/// How often its files are looked at.
const LOOK: Duration = Duration::from_millis(5);

/// How often its processor time is looked at.
const LISTEN: Duration = Duration::from_secs(1);

/// How long a guest that panicked or is done may take to be gone.
const GOING: Duration = Duration::from_secs(3);

/// Limits of silence, in processor time of the guest's own.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Until the first program: the console says something all the time.
    pub boot: Duration,
    /// Then it says every second that it is alive.
    pub run: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience { boot: Duration::from_secs(10), run: Duration::from_secs(10) }
    }
}

/// How a guest ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// As it should.
    Over,
    /// The kernel panicked; what it said.
    Panic(String),
    /// It stopped because QEMU ran code that was no longer there ([`Console::has_stale_code`]), which is no fault of the
    /// kernel; what the kernel said.
    StaleCode(String),
    /// It ran out of memory; what the kernel said.
    OutOfMemory(String),
    /// The processor could not even report a fault.
    TripleFault,
    /// It went off, without a word why.
    WentOff,
    /// It said nothing for so long, and was killed. `spins`: it used its processor all the time.
    Silent {
        /// How long.
        seconds: u64,
        /// Was it busy?
        spins: bool,
    },
    /// The process that does the work ended before it was done; how.
    Worker(String),
    /// What it said made no sense.
    Rubbish(String),
    /// QEMU could not begin, or broke; what it said.
    Qemu(String),
    /// We were asked to end; why.
    Stopped(String),
}

impl End {
    /// In a few words, for a verdict.
    pub fn told(&self) -> String {
        match self {
            End::Over => "the guest ended".to_owned(),
            End::Panic(line) => format!("the guest's kernel panicked: {line}"),
            End::StaleCode(line) => format!(
                "QEMU ran a breakpoint that the guest's kernel had taken away, as it does now and then where it emulates more \
                 than one processor: {line}"
            ),
            End::OutOfMemory(line) => format!("the guest ran out of memory: {line}"),
            End::TripleFault => "the guest's processor was reset by a triple fault".to_owned(),
            End::WentOff => "the guest went off before it was done, and its kernel did not say why".to_owned(),
            End::Silent { seconds, spins: true } => {
                format!("the guest hung: busy, but silent for {seconds} s; it was killed")
            }
            End::Silent { seconds, spins: false } => {
                format!("the guest hung: idle and silent for {seconds} s; it was killed")
            }
            End::Worker(how) => format!("the process that runs the checks {how}"),
            End::Rubbish(line) => format!("the guest's results are garbled: `{line}`"),
            End::Qemu(said) => format!("QEMU failed: {said}"),
            End::Stopped(why) => why.clone(),
        }
    }
}

/// What is heard of a guest.
#[derive(Debug, PartialEq)]
pub enum Heard {
    /// It said something.
    Said(Said),
    /// Nothing for a moment.
    Nothing,
    /// It is gone. Nothing comes after this.
    End(End),
}

/// A running guest. Dropping it kills it.
pub struct Guest {
    qemu: Child,
    files: Files,
    results: Tail,
    tail: Tail,
    console: Console,
    cpus: u32,
    /// Can it run code that is no longer there?
    may_be_stale: bool,
    patience: Patience,
    watch: Watch,
    listened: Instant,
    /// Has its first program been heard?
    is_up: bool,
    over: bool,
    /// When it should be gone.
    going: Option<Instant>,
}

impl Guest {
    /// Starts it. The initramfs is there already.
    pub fn start(program: &Path, machine: &Machine, files: Files, patience: Patience) -> io::Result<Guest> {
        for path in [files.console(), files.results()] {
            // Files of an earlier guest must not be taken for this one's.
            File::create(path)?;
        }
        let mut command = Command::new(program);
        command
            .args(machine.arguments(&files, false))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(files.errors())?);
        die_with_parent(&mut command);
        let qemu = command
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{} cannot be run: {error}", program.display())))?;
        let now = Instant::now();
        Ok(Guest {
            results: Tail::open(&files.results())?,
            tail: Tail::open(&files.console())?,
            console: Console::default(),
            cpus: machine.cpus,
            may_be_stale: machine.accel == Accel::Tcg && machine.cpus > 1,
            patience,
            watch: Watch::new(now, Spent::of(qemu.id())),
            listened: now,
            is_up: false,
            over: false,
            going: None,
            qemu,
            files,
        })
    }

    /// What its kernel said so far.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// Has its first program been heard?
    pub fn is_up(&self) -> bool {
        self.is_up
    }

    /// Waits a moment for news.
    pub fn hear(&mut self) -> Heard {
        match self.news() {
            Some(heard) => heard,
            None => {
                std::thread::sleep(LOOK);
                Heard::Nothing
            }
        }
    }

    fn news(&mut self) -> Option<Heard> {
        // Before its files are read: what it wrote before it went is in them then.
        let gone = match self.qemu.try_wait() {
            Ok(status) => status,
            Err(error) => return Some(Heard::End(End::Qemu(error.to_string()))),
        };
        let mut heard = false;
        while let Ok(Some(line)) = self.tail.line() {
            self.console.hear(&line);
            heard = true;
        }
        match self.results.line() {
            Ok(Some(line)) => {
                self.listened_now();
                return Some(self.said(&line));
            }
            Ok(None) => {}
            Err(error) => return Some(self.rubbish(&error.to_string())),
        }
        if let Some(status) = gone {
            self.console.hear(self.tail.rest());
            return Some(Heard::End(self.why_gone(status.success())));
        }
        if heard && !self.is_up {
            self.listened_now();
        }
        let now = Instant::now();
        if self.going.is_none() && (self.over || self.console.first(Sign::Panic).is_some()) {
            self.going = Some(now + GOING);
        }
        if self.going.is_some_and(|end| now >= end) {
            self.kill();
            return Some(Heard::End(self.why_gone(true)));
        }
        if now.saturating_duration_since(self.listened) >= LISTEN {
            self.listened = now;
            let limit = if self.is_up { self.patience.run } else { self.patience.boot };
            let silence = self.watch.judge(now, Spent::of(self.qemu.id()), limit, self.cpus);
            if silence != Silence::Wait {
                self.kill();
                let seconds = self.watch.silent(now).as_secs();
                return Some(Heard::End(End::Silent { seconds, spins: silence == Silence::Spins }));
            }
        }
        None
    }

    fn said(&mut self, line: &[u8]) -> Heard {
        match Said::read(line) {
            Ok(Said::Over) => {
                self.over = true;
                Heard::Nothing
            }
            Ok(said) => {
                self.is_up |= matches!(said, Said::Hello { .. });
                Heard::Said(said)
            }
            Err(_) => self.rubbish(&String::from_utf8_lossy(line)),
        }
    }

    fn rubbish(&mut self, line: &str) -> Heard {
        self.kill();
        Heard::End(End::Rubbish(line.escape_default().take(80).collect()))
    }

    fn listened_now(&mut self) {
        self.watch = Watch::new(Instant::now(), Spent::of(self.qemu.id()));
    }

    fn why_gone(&self, success: bool) -> End {
        if self.over {
            return End::Over;
        }
        if self.may_be_stale && self.console.has_stale_code() {
            return End::StaleCode(self.console.first(Sign::Oops).unwrap_or_default().to_owned());
        }
        if let Some(line) = self.console.first(Sign::Panic) {
            // A kernel without memory panics when nobody is left to be killed.
            return match self.console.first(Sign::OutOfMemory) {
                Some(line) => End::OutOfMemory(line.to_owned()),
                None => End::Panic(line.to_owned()),
            };
        }
        if let Some(line) = self.console.first(Sign::OutOfMemory) {
            return End::OutOfMemory(line.to_owned());
        }
        if !success {
            let said = fs::read_to_string(self.files.errors()).unwrap_or_default();
            let said = said.lines().next().unwrap_or("it did not say why");
            return End::Qemu(said.to_owned());
        }
        match fs::read_to_string(self.files.log()) {
            Ok(log) if log.contains("Triple fault") => End::TripleFault,
            _ => End::WentOff,
        }
    }

    /// What to say where its work ended too early: the kernel may have had a hand in it.
    pub fn why_work_ended(&mut self, how: String) -> End {
        // The console is another port: its last lines may come later.
        let end = Instant::now() + Duration::from_millis(300);
        while Instant::now() < end && self.console.first(Sign::OutOfMemory).is_none() {
            while let Ok(Some(line)) = self.tail.line() {
                self.console.hear(&line);
            }
            std::thread::sleep(LOOK);
        }
        match self.console.first(Sign::OutOfMemory) {
            Some(line) => End::OutOfMemory(line.to_owned()),
            None => End::Worker(how),
        }
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.kill();
    }
}

//! What a person sees of a campaign.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use cowcheck_explore::coverage::GOALS;
use indicatif::ProgressBar;

use super::finding::Finding;
use super::ledger::Ledger;

/// How often a line is written where there is no terminal.
const LINE: Duration = Duration::from_secs(10);

/// The progress of a campaign, on standard error.
pub struct Progress {
    bar: ProgressBar,
    is_live: bool,
    began: Instant,
    told: Instant,
    /// Scenarios that were run before.
    before: u64,
}

impl Progress {
    /// Of a campaign that has run so many scenarios before.
    pub fn new(before: u64) -> Progress {
        let is_live = io::stderr().is_terminal();
        let bar = if is_live { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        let now = Instant::now();
        Progress { bar, is_live, began: now, told: now, before }
    }

    /// Tells how far it is. `total`: how many scenarios of this shard there are, if they end; `done`: how many of
    /// these are done.
    pub fn tell(&mut self, ledger: &Ledger, total: Option<(u64, u64)>) {
        let now = Instant::now();
        if !self.is_live && now - self.told < LINE {
            return;
        }
        self.told = now;
        let took = now - self.began;
        let rate = (ledger.tally.ran() - self.before) as f64 / took.as_secs_f64().max(0.001);
        let mut line = format!("{} scenarios, {rate:.0}/s", ledger.tally.ran());
        if let Some((done, total)) = total.filter(|(_, total)| *total > 0) {
            let _ = write!(line, ", {} % of {total}", 100 * done / total);
            if rate > 0.0 {
                let _ = write!(line, ", {:.0} s left", total.saturating_sub(done) as f64 / rate);
            }
        }
        let goals = GOALS.len() - ledger.unreached().len();
        let _ = write!(
            line,
            ", {} transitions, {goals} of {} goals, {} found, {:.0} s",
            ledger.transitions(),
            GOALS.len(),
            ledger.findings.len(),
            took.as_secs_f64()
        );
        self.say_over(&line);
    }

    fn say_over(&self, line: &str) {
        match self.is_live {
            true => self.bar.set_message(line.to_owned()),
            false => eprintln!("{line}"),
        }
        self.bar.tick();
    }

    /// A line that stays.
    pub fn say(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    /// Takes the progress away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// A finding in a few lines.
pub fn finding(finding: &Finding) -> String {
    let mut text = String::new();
    let kind = match (&finding.known, finding.counts()) {
        (Some(bug), _) => format!("known: {bug}"),
        (None, true) => "found".to_owned(),
        (None, false) => "seen once, never again".to_owned(),
    };
    let times = if finding.times == 1 { "1 scenario".to_owned() } else { format!("{} scenarios", finding.times) };
    let _ = writeln!(text, "{kind}: {} ({times}; run again, it showed in {} runs)", finding.signature, finding.rate());
    for line in finding.explanation.lines() {
        let _ = writeln!(text, "    {line}");
    }
    text
}

/// What a campaign came to.
pub fn summary(ledger: &Ledger) -> String {
    let mut text = String::new();
    let tally = &ledger.tally;
    let seconds = tally.micros as f64 / 1e6;
    let _ = writeln!(
        text,
        "{} scenarios in {seconds:.1} s, {:.0}/s: {} of the seed's, {} made of others; {} transitions of page states",
        tally.ran(),
        tally.ran() as f64 / seconds.max(0.001),
        tally.numbered,
        tally.mutants,
        ledger.transitions(),
    );
    for (verdict, count) in &tally.verdicts {
        let _ = writeln!(text, "{count:>10} {verdict}");
    }
    for (title, counts) in [("not run", &tally.skipped), ("inconclusive", &tally.inconclusive)] {
        let mut counts: Vec<(&String, &u64)> = counts.iter().collect();
        counts.sort_by_key(|(reason, count)| (u64::MAX - **count, (*reason).clone()));
        for (reason, count) in counts.iter().take(12) {
            let _ = writeln!(text, "{count:>10} {title}: {reason}");
        }
        if counts.len() > 12 {
            let more: u64 = counts.iter().skip(12).map(|(_, count)| **count).sum();
            let _ = writeln!(text, "{more:>10} {title}: for {} other reasons", counts.len() - 12);
        }
    }
    for goal in ledger.unreached() {
        let _ = writeln!(text, "   never reached: {goal}");
    }
    if !ledger.pending.is_empty() {
        let _ = writeln!(text, "   {} findings are not shrunk yet: --resume goes on with them", ledger.pending.len());
    }
    text
}

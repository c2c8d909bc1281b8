//! What a person sees meanwhile.

use std::io::{self, IsTerminal};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::report::progress::Progress;

/// A line for all, and one for each guest; without a terminal, a line for each thing that is done.
pub struct View {
    bars: MultiProgress,
    whole: ProgressBar,
    is_live: bool,
}

impl View {
    /// On standard error.
    pub fn new() -> View {
        let is_live = io::stderr().is_terminal();
        let target = if is_live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        View { bars: MultiProgress::with_draw_target(target), whole: ProgressBar::hidden(), is_live }
    }

    /// So many of `what` are to come.
    pub fn begin(&mut self, what: &str, count: usize) {
        self.whole.finish_and_clear();
        let whole = self.bars.add(ProgressBar::new(count as u64));
        let template = "{prefix:20!} {bar:24} {pos:>4}/{len:<4} {elapsed:>4}, {eta} left";
        // A template that does not parse would be a bug of this file; the default serves as well.
        if let Ok(style) = ProgressStyle::with_template(template) {
            whole.set_style(style);
        }
        whole.set_prefix(what.to_owned());
        whole.enable_steady_tick(std::time::Duration::from_millis(500));
        self.whole = whole;
    }

    /// One of them is done.
    pub fn done(&self, text: &str) {
        self.whole.inc(1);
        let (done, all) = (self.whole.position(), self.whole.length().unwrap_or(0));
        self.say(&format!("[{done}/{all}] {text}"));
    }

    /// A line.
    pub fn say(&self, text: &str) {
        match self.is_live {
            // Nothing is lost where the terminal is gone.
            true => drop(self.bars.println(text)),
            false => eprintln!("{text}"),
        }
    }

    /// The line of a guest.
    pub fn guest(&self, name: &str) -> Progress {
        Progress::new(&self.bars, name)
    }

    /// It is over.
    pub fn end(&self) {
        self.whole.finish_and_clear();
    }
}

impl Default for View {
    fn default() -> Self {
        Self::new()
    }
}

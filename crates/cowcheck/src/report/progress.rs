//! One line of progress for one of several runs that go on side by side.

use std::io;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::Sink;
use super::event::{Event, Planned};
use super::name::with_repeat;

/// The sink. It is silent where the bars are hidden.
pub struct Progress {
    bar: ProgressBar,
    plan: Vec<Planned>,
}

impl Progress {
    /// A bar among others; `name` stands before it.
    pub fn new(all: &MultiProgress, name: &str) -> Progress {
        let bar = all.add(ProgressBar::new(0));
        // A template that does not parse would be a bug of this file; the default serves as well.
        if let Ok(style) =
            ProgressStyle::with_template("{prefix:20!} {bar:24} {pos:>4}/{len:<4} {elapsed:>4} {wide_msg}")
        {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        bar.set_message("boots");
        bar.enable_steady_tick(std::time::Duration::from_millis(500));
        Progress { bar, plan: Vec::new() }
    }

    /// It is over, and its line goes.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// What it is busy with.
    pub fn tell(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }
}

impl Sink for Progress {
    fn event(&mut self, event: Event<'_>) -> io::Result<()> {
        match event {
            Event::Start(start) => {
                self.plan.clone_from(&start.plan);
                self.bar.set_length(start.plan.len() as u64);
            }
            Event::Begin(index) => {
                if let Some(planned) = self.plan.get(index) {
                    self.bar.set_message(with_repeat(&planned.id, planned.repeat));
                }
            }
            Event::Outcome(_) => self.bar.inc(1),
            Event::End { stopped: None, .. } => self.bar.finish_with_message("done"),
            Event::End { stopped: Some(why), .. } => self.bar.abandon_with_message(why.to_owned()),
            Event::Note(_) => {}
        }
        Ok(())
    }
}

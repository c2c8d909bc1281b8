//! The sinks: each turns the stream of [`event`]s into one format.

pub mod event;

use std::io;

use event::Event;

/// An output format. A sink gets every event of a run, in order, and writes as it goes, so that a
/// crash leaves what was known.
pub trait Sink {
    /// Takes one event.
    fn event(&mut self, event: Event<'_>) -> io::Result<()>;
}

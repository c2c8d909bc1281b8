//! The sinks: each turns the stream of [`event`]s into one format.
//!
//! `docs/results.md` says what each format holds and what a reader may rely on.

pub mod collapses;
pub mod event;
pub mod fan;
pub mod json;
pub mod junit;
pub mod kselftest;
pub mod ktap;
mod name;
mod order;
pub mod progress;
pub mod summary;
pub mod terminal;

use std::io;

use event::Event;

pub(crate) use name::split_repeat;

/// An output format. A sink gets every event of a run, in order, and writes as it goes, so that a
/// crash leaves what was known.
pub trait Sink {
    /// Takes one event.
    fn event(&mut self, event: Event<'_>) -> io::Result<()>;
}

/// So that a sink can be lent to a [`fan::Fan`] and asked for its result afterwards.
impl<S: Sink + ?Sized> Sink for &mut S {
    fn event(&mut self, event: Event<'_>) -> io::Result<()> {
        (**self).event(event)
    }
}

/// So that sinks of different formats can be kept in one list.
impl<S: Sink + ?Sized> Sink for Box<S> {
    fn event(&mut self, event: Event<'_>) -> io::Result<()> {
        (**self).event(event)
    }
}

#[cfg(test)]
pub(crate) mod sample;

#[cfg(test)]
mod kunit;

//! One stream of events, several outputs.

use std::io;

use super::Sink;
use super::event::Event;

/// Passes every event to several sinks. One that cannot be written to does not silence the others.
#[derive(Default)]
pub struct Fan<'a> {
    sinks: Vec<(String, Box<dyn Sink + 'a>)>,
}

impl<'a> Fan<'a> {
    /// A fan without sinks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a sink. `name` is what an error calls it, as in `results.jsonl`.
    pub fn add(&mut self, name: impl Into<String>, sink: impl Sink + 'a) {
        self.sinks.push((name.into(), Box::new(sink)));
    }

    /// How many sinks are still written to.
    pub fn len(&self) -> usize {
        self.sinks.len()
    }

    /// Is there no sink that is still written to?
    pub fn is_empty(&self) -> bool {
        self.sinks.is_empty()
    }
}

impl Sink for Fan<'_> {
    /// Passes the event to every sink. A sink that fails is dropped, so each fault is told once: who
    /// goes on after an error keeps the outputs that still work.
    fn event(&mut self, event: Event<'_>) -> io::Result<()> {
        let mut fault = None;
        self.sinks.retain_mut(|(name, sink)| match sink.event(event) {
            Ok(()) => true,
            Err(error) => {
                let told = io::Error::new(error.kind(), format!("cannot write {name}: {error}"));
                fault.get_or_insert(told);
                false
            }
        });
        fault.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken;

    impl Sink for Broken {
        fn event(&mut self, _: Event<'_>) -> io::Result<()> {
            Err(io::Error::new(io::ErrorKind::StorageFull, "no space left"))
        }
    }

    #[derive(Default)]
    struct Counted(usize);

    impl Sink for Counted {
        fn event(&mut self, _: Event<'_>) -> io::Result<()> {
            self.0 += 1;
            Ok(())
        }
    }

    #[test]
    fn a_broken_sink_is_told_once_and_silences_nobody() {
        let (mut first, mut last) = (Counted::default(), Counted::default());
        let mut fan = Fan::new();
        fan.add("a", &mut first);
        fan.add("b.jsonl", Broken);
        fan.add("c", &mut last);
        let error = fan.event(Event::Note("x")).unwrap_err();
        assert_eq!(error.to_string(), "cannot write b.jsonl: no space left");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        fan.event(Event::Note("y")).unwrap();
        assert_eq!(fan.len(), 2);
        drop(fan);
        assert_eq!((first.0, last.0), (2, 2));
    }
}

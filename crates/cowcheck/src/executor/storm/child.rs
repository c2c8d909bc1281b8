//! A child that was forked in the middle of it.

use std::time::Duration;

use cowcheck_model::storm::{Eye, WRITERS};
use cowcheck_sys::area::Fault as Signal;

use super::field::{ChildWord, Counts, Field, Odd};
use crate::executor::fault::Fault;

/// How long it waits for its parent's writers to come round between its two looks.
const WAIT: Duration = Duration::from_millis(3);

/// Looks at its snapshot, waits for its parent to write, and looks again. `least` is what was surely written before the
/// fork; `words` has room for what is seen first. Leaves word of the first thing that is wrong.
pub(super) fn look(field: &Field<'_>, least: &[Counts], words: &mut [[u64; WRITERS as usize]]) {
    let word = first(field, least, words).and_then(|()| {
        field.wait_a_round(WAIT);
        if field.fault == Some(Fault::LeakySnapshot) {
            // A count that the parent has yet to write.
            let later = field.word(0, 0, count(field, 0, 0, words[0][0]) + 9);
            let _ = field.layout.area.put(field.pages[0].1 + Field::offset(0), later);
        }
        again(field, words)
    });
    field.leave(word.err().unwrap_or(ChildWord::Nothing));
}

fn first(field: &Field<'_>, least: &[Counts], words: &mut [[u64; WRITERS as usize]]) -> Result<(), ChildWord> {
    let size = field.layout.page_size();
    for (index, (least, kept)) in least.iter().zip(words).enumerate() {
        let looked = field.layout.area.read(field.pages[index].1, size, |words| {
            *kept = std::array::from_fn(|slot| words[Field::offset(slot) / 8]);
            field.odd(index, words, Eye::Snapshot, least, &field.begun(index))
        });
        told(index, looked)?;
    }
    Ok(())
}

fn again(field: &Field<'_>, words: &[[u64; WRITERS as usize]]) -> Result<(), ChildWord> {
    let size = field.layout.page_size();
    for (index, kept) in words.iter().enumerate() {
        let looked = field.layout.area.read(field.pages[index].1, size, |words| {
            let now = |slot| words[Field::offset(slot) / 8];
            let slot = (0..WRITERS as usize).find(|slot| now(*slot) != kept[*slot])?;
            let was = count(field, index, slot, kept[slot]);
            Some(Odd { eye: Eye::Again, index, offset: Field::offset(slot), least: was, most: was, word: now(slot) })
        });
        told(index, looked)?;
    }
    Ok(())
}

/// The count in a word of the first look, in which it was right.
fn count(field: &Field<'_>, index: usize, slot: usize, word: u64) -> u32 {
    if field.word(index, slot, 0) == word { 0 } else { word as u32 }
}

fn told(index: usize, looked: Result<Option<Odd>, Signal>) -> Result<(), ChildWord> {
    match looked {
        Ok(None) => Ok(()),
        Ok(Some(odd)) => Err(ChildWord::Odd(odd)),
        Err(Signal(signal)) => Err(ChildWord::Signal { signal, index }),
    }
}

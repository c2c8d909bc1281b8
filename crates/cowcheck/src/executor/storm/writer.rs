//! A thread that writes.

use cowcheck_model::storm::Eye;
use cowcheck_sys::area::Fault as Signal;

use super::field::{Field, Odd, Standing};
use crate::executor::fault::Fault;

/// So many rounds pass before a planted fault.
const BEFORE_FAULT: u32 = 5;

/// Goes round the pages until it is over, and counts up its word in each.
pub(super) fn write(field: &Field<'_>, writer: u32) {
    let (slot, area) = (writer as usize, &field.layout.area);
    let at = Field::offset(slot);
    let mut counts = vec![0u32; field.pages.len()];
    let mut round = 0;
    while !field.is_stopped() {
        for (index, count) in counts.iter_mut().enumerate() {
            let offset = field.pages[index].1 + at;
            let word = match area.get(offset) {
                Ok(word) => word,
                Err(Signal(signal)) => return field.was_hit(index, signal),
            };
            if let Some(odd) = field.check(index, slot, word, Eye::Writer, *count, *count) {
                field.saw(odd);
            }
            let loses = field.fault == Some(Fault::LostIncrement) && round == BEFORE_FAULT && index == 0;
            let (before, standing) = field.fence.standing(index);
            let stored = if loses { Ok(()) } else { area.put(offset, field.word(index, slot, *count + 1)) };
            let is_same = field.fence.standing(index).0 == before;
            match (stored, standing) {
                (Ok(()), Standing::Closed) if is_same => {
                    let word = field.word(index, slot, *count + 1);
                    field.saw(Odd { eye: Eye::Protected, index, offset: at, least: *count, most: *count, word });
                }
                (Err(Signal(signal)), Standing::Open) if is_same => return field.was_hit(index, signal),
                // Not written: another time.
                (Err(_), _) => continue,
                (Ok(()), _) => {}
            }
            *count += 1;
            field.wrote(index, slot, *count);
        }
        round += 1;
        field.came_round(writer);
    }
}

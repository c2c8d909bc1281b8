//! Sets of origins, kept once each.

use std::collections::HashMap;
use std::sync::Arc;

use super::Origin;

/// A set of origins, by its number in `Sets`: pages come in hundreds of thousands, different sets
/// in dozens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId(u32);

/// How many origins all sets together may have. Each write that a pipe may or may not follow makes
/// the sets of its pages longer by one, so a long scenario of nothing else needs memory with the
/// square of its length.
const MAX_ORIGINS: usize = 1 << 20;

#[derive(Debug, Clone, Default)]
pub(super) struct Sets {
    table: Vec<Arc<[Origin]>>,
    known: HashMap<Arc<[Origin]>, SetId>,
    unions: HashMap<(SetId, SetId), SetId>,
    /// The last union and what it came to: neighbouring pages ask for the same.
    last: Option<(SetId, SetId, SetId)>,
    origins: usize,
}

impl Sets {
    /// The set with one member.
    pub(super) fn only(&mut self, origin: Origin) -> SetId {
        self.id(&[origin])
    }

    /// The set of these, in ascending order without repetition.
    fn id(&mut self, set: &[Origin]) -> SetId {
        if let Some(id) = self.known.get(set) {
            return *id;
        }
        let id = SetId(self.table.len() as u32);
        let set: Arc<[Origin]> = set.into();
        self.origins += set.len();
        self.table.push(Arc::clone(&set));
        self.known.insert(set, id);
        id
    }

    /// The union of two sets.
    pub(super) fn with(&mut self, set: SetId, other: SetId) -> SetId {
        if set == other {
            return set;
        }
        if let Some((a, b, id)) = self.last
            && (a, b) == (set, other)
        {
            return id;
        }
        let id = match self.unions.get(&(set, other)) {
            Some(id) => *id,
            None => self.new_union(set, other),
        };
        self.last = Some((set, other, id));
        id
    }

    fn new_union(&mut self, set: SetId, other: SetId) -> SetId {
        let mut both = [self.get(set), self.get(other)].concat();
        both.sort_unstable();
        both.dedup();
        let id = self.id(&both);
        self.unions.insert((set, other), id);
        id
    }

    /// The members, in ascending order.
    pub(super) fn get(&self, set: SetId) -> &[Origin] {
        &self.table[set.0 as usize]
    }

    /// Have there been more sets than can be afforded?
    pub(super) fn are_too_many(&self) -> bool {
        self.origins > MAX_ORIGINS
    }
}

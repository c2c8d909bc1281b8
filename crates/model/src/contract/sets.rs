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

/// What is known of a set besides its members.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Traits {
    /// Steps at once left it: the words of a page may be of different members.
    mixed: bool,
    /// Which member it is was decided then; nobody knows yet, but it will not change by itself.
    decided: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Sets {
    table: Vec<(Arc<[Origin]>, Traits)>,
    known: HashMap<(Arc<[Origin]>, Traits), SetId>,
    unions: HashMap<(SetId, SetId), SetId>,
    /// The last union and what it came to: neighbouring pages ask for the same.
    last: Option<(SetId, SetId, SetId)>,
    origins: usize,
}

impl Sets {
    /// The set with one member.
    pub(super) fn only(&mut self, origin: Origin) -> SetId {
        self.id(&[origin], Traits::default())
    }

    /// The set of these, in ascending order without repetition.
    fn id(&mut self, set: &[Origin], traits: Traits) -> SetId {
        let key: (Arc<[Origin]>, Traits) = (set.into(), traits);
        if let Some(id) = self.known.get(&key) {
            return *id;
        }
        let id = SetId(self.table.len() as u32);
        self.origins += set.len();
        self.table.push(key.clone());
        self.known.insert(key, id);
        id
    }

    /// What steps at once may have left: what one order leaves, or what another does, or some words of each.
    pub(super) fn raced(&mut self, left: &[SetId]) -> SetId {
        let mut all: Vec<Origin> = left.iter().flat_map(|set| self.get(*set)).copied().collect();
        all.sort_unstable();
        all.dedup();
        let is_certain = |set: &SetId| self.get(*set).len() == 1 || self.is_decided(*set);
        let several = all.len() > 1;
        let traits = Traits { mixed: several, decided: several && left.iter().all(is_certain) };
        self.id(&all, traits)
    }

    /// May the words of a page be of different members?
    pub(super) fn is_mixed(&self, set: SetId) -> bool {
        self.table[set.0 as usize].1.mixed
    }

    /// Is a page that was seen to hold one member sure to hold it until somebody changes it?
    pub(super) fn is_decided(&self, set: SetId) -> bool {
        self.table[set.0 as usize].1.decided
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
        let mixed = self.is_mixed(set) || self.is_mixed(other);
        let id = self.id(&both, Traits { mixed, decided: false });
        self.unions.insert((set, other), id);
        id
    }

    /// The members, in ascending order.
    pub(super) fn get(&self, set: SetId) -> &[Origin] {
        &self.table[set.0 as usize].0
    }

    /// Have there been more sets than can be afforded?
    pub(super) fn are_too_many(&self) -> bool {
        self.origins > MAX_ORIGINS
    }
}

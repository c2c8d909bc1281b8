//! What is to be explored, and how.

use std::fmt;
use std::str::FromStr;

use cowcheck_explore::exhaustive::Sequences;
use cowcheck_explore::generate::Generator;
use cowcheck_model::memory::{Memory, MemoryKind};
use cowcheck_model::scenario::Scenario;
use serde::{Deserialize, Serialize};

/// Which scenarios. Two campaigns with the same are about the same ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// What random scenarios come from.
    pub seed: u64,
    /// Instead of random ones, every sequence of up to so many steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exhaustive: Option<u32>,
    /// With steps at once in every random scenario.
    #[serde(default, skip_serializing_if = "is_not")]
    pub at_once: bool,
    /// The memories, as the language writes them; those of the menu if none are given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<String>,
}

fn is_not(asked: &bool) -> bool {
    !*asked
}

impl Subject {
    fn memories(&self) -> Vec<Memory> {
        self.on.iter().filter_map(|text| memory(text)).collect()
    }

    /// The memories of exhaustive exploration, one after the other.
    pub fn exhausted(&self) -> Vec<Memory> {
        let mut all = self.memories();
        if all.is_empty() {
            all.push(Memory::new(MemoryKind::Thp, 2 << 20));
        }
        all
    }

    fn sequences(&self, most: u32) -> Vec<Sequences> {
        self.exhausted().into_iter().map(|on| Sequences::new(on, most)).collect()
    }

    /// The first scenarios, as many as `most` of each memory that has sequences of its own: they tell what the others need.
    pub fn sample(&self, most: usize) -> Vec<Scenario> {
        match self.exhaustive {
            None => {
                let mut all = self.scenarios();
                (0..most as u64).map_while(|number| all.scenario(number)).collect()
            }
            Some(steps) => self.sequences(steps).into_iter().flat_map(|all| all.take(most)).collect(),
        }
    }

    /// The scenarios, by number.
    pub fn scenarios(&self) -> Scenarios {
        match self.exhaustive {
            None => Scenarios::Random(Generator::new(self.seed, self.memories()).at_once(self.at_once)),
            Some(most) => {
                let all = self.sequences(most);
                let total = all.iter().map(Sequences::total).sum();
                Scenarios::Exhaustive { total, next: 0, sequences: Box::new(all.into_iter().flatten()) }
            }
        }
    }
}

/// A memory as the language writes it.
pub fn memory(text: &str) -> Option<Memory> {
    let text = format!("{}\nmemory {text}\n", cowcheck_model::text::HEADER);
    cowcheck_model::text::parse_valid(&text, cowcheck_explore::PAGE).ok().map(|scenario| scenario.memory)
}

/// Scenarios by number.
pub enum Scenarios {
    /// Without end.
    Random(Generator),
    /// In order only.
    Exhaustive {
        /// How many there are.
        total: u64,
        /// The number of the next.
        next: u64,
        /// Those that are left.
        sequences: Box<dyn Iterator<Item = Scenario> + Send>,
    },
}

impl Scenarios {
    /// How many there are, if they end.
    pub fn total(&self) -> Option<u64> {
        match self {
            Scenarios::Random(_) => None,
            Scenarios::Exhaustive { total, .. } => Some(*total),
        }
    }

    /// Number `number`, which must not be one before the last that was asked for.
    pub fn scenario(&mut self, number: u64) -> Option<Scenario> {
        match self {
            Scenarios::Random(generator) => Some(generator.scenario(number)),
            Scenarios::Exhaustive { next, sequences, .. } => {
                let skip = usize::try_from(number.checked_sub(*next)?).ok()?;
                *next = number + 1;
                sequences.nth(skip)
            }
        }
    }
}

/// A part of a campaign: scenario `i` belongs to shard `i mod of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shard {
    /// Which one.
    pub index: u64,
    /// Of how many.
    pub of: u64,
}

impl Shard {
    /// All of it.
    pub const WHOLE: Shard = Shard { index: 0, of: 1 };
}

/// `2/8`: shard 2 of 0 to 7.
impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let parts = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((index, of)) if index < of && of <= 1 << 20 => Ok(Shard { index, of }),
            _ => Err("expected I/N with I below N, as in 0/4 for the first of four shards".to_owned()),
        }
    }
}

impl Serialize for Shard {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Shard {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Shard, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_read_back() {
        assert_eq!("2/8".parse::<Shard>().unwrap().to_string(), "2/8");
        for text in ["8/8", "1", "/", "-1/2", "0/0", "1/2/3"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }

    #[test]
    fn sequences_can_be_passed_over() {
        let subject = Subject {
            seed: 0,
            exhaustive: Some(2),
            at_once: false,
            on: ["thp 16K", "anon 4K"].map(str::to_owned).to_vec(),
        };
        let (mut all, mut some) = (subject.scenarios(), subject.scenarios());
        let every: Vec<Scenario> = (0..).map_while(|number| all.scenario(number)).collect();
        assert_eq!(every.len() as u64, all.total().unwrap());
        let each = |kind| every.iter().filter(|scenario| scenario.memory.kind == kind).count() as u64;
        let alone = |memory: Memory| Sequences::new(memory, 2).total();
        assert_eq!(each(MemoryKind::Thp), alone(Memory::new(MemoryKind::Thp, 16 << 10)), "every memory has its own");
        let sample: std::collections::BTreeSet<MemoryKind> =
            subject.sample(2).iter().map(|one| one.memory.kind).collect();
        assert_eq!(sample.len(), 2, "and what each needs is known");
        assert_eq!(each(MemoryKind::Anon), alone(Memory::new(MemoryKind::Anon, 4 << 10)));
        let odd: Vec<Scenario> = (0..).map_while(|number| some.scenario(2 * number + 1)).collect();
        assert_eq!(odd, every.into_iter().skip(1).step_by(2).collect::<Vec<_>>());
    }
}

//! Damages a text.

use fastrand::Rng;

/// No input is longer, so that a run stays quick; what length alone does is tested elsewhere.
const MAX_LEN: usize = 8 << 10;

/// How many times an input is damaged at most.
const MAX_DAMAGE: usize = 6;

/// Numbers at which something could tip over.
const NUMBERS: [&str; 14] = [
    "0",
    "1",
    "2",
    "7",
    "8",
    "9",
    "127",
    "255",
    "4095",
    "32767",
    "65536",
    "524288",
    "4294967295",
    "18446744073709551615",
];

/// An entry of the corpus with some damage done to it.
pub(crate) fn mutate(corpus: &[Vec<u8>], words: &[&str], rng: &mut Rng) -> Vec<u8> {
    let Some(entry) = rng.choice(corpus) else { return vec![] };
    let mut text = entry.clone();
    for _ in 0..rng.usize(1..=MAX_DAMAGE) {
        match rng.u8(0..12) {
            0 => flip_bit(&mut text, rng),
            1 => set_byte(&mut text, rng),
            2 => drop_some(&mut text, rng),
            3 => repeat_some(&mut text, rng),
            4 => text.truncate(rng.usize(0..=text.len())),
            5 => join(&mut text, corpus, rng),
            6 => insert_word(&mut text, words, rng),
            7 | 8 => swap_word(&mut text, words, rng),
            9 => swap_number(&mut text, rng),
            10 => repeat_line(&mut text, rng),
            _ => borrow_line(&mut text, corpus, rng),
        }
    }
    text.truncate(MAX_LEN);
    text
}

fn flip_bit(text: &mut [u8], rng: &mut Rng) {
    if let Some(byte) = pick(text, rng) {
        *byte ^= 1 << rng.u8(0..8);
    }
}

fn set_byte(text: &mut [u8], rng: &mut Rng) {
    if let Some(byte) = pick(text, rng) {
        *byte = rng.u8(..);
    }
}

fn pick<'a>(text: &'a mut [u8], rng: &mut Rng) -> Option<&'a mut u8> {
    match text.len() {
        0 => None,
        len => text.get_mut(rng.usize(0..len)),
    }
}

/// A short stretch of the text.
fn stretch(text: &[u8], rng: &mut Rng) -> std::ops::Range<usize> {
    let from = rng.usize(0..=text.len());
    from..(from + rng.usize(0..=40)).min(text.len())
}

fn drop_some(text: &mut Vec<u8>, rng: &mut Rng) {
    let range = stretch(text, rng);
    text.drain(range);
}

fn repeat_some(text: &mut Vec<u8>, rng: &mut Rng) {
    let range = stretch(text, rng);
    let (at, some) = (range.end, text[range].repeat(rng.usize(1..=8)));
    text.splice(at..at, some);
}

/// The beginning of this text and the end of another.
fn join(text: &mut Vec<u8>, corpus: &[Vec<u8>], rng: &mut Rng) {
    if let Some(other) = rng.choice(corpus) {
        text.truncate(rng.usize(0..=text.len()));
        text.extend_from_slice(&other[rng.usize(0..=other.len())..]);
    }
}

fn insert_word(text: &mut Vec<u8>, words: &[&str], rng: &mut Rng) {
    if let Some(word) = rng.choice(words) {
        let at = rng.usize(0..=text.len());
        text.splice(at..at, word.bytes());
    }
}

/// The bytes around a random place that are all of one kind.
fn around(text: &[u8], rng: &mut Rng, kind: impl Fn(u8) -> bool) -> Option<std::ops::Range<usize>> {
    let hits: usize = text.iter().filter(|byte| kind(**byte)).count();
    let hit = text.iter().enumerate().filter(|(_, byte)| kind(**byte)).nth(rng.usize(0..hits.max(1)))?.0;
    let from = text[..hit].iter().rposition(|byte| !kind(*byte)).map_or(0, |at| at + 1);
    let to = text[hit..].iter().position(|byte| !kind(*byte)).map_or(text.len(), |at| hit + at);
    Some(from..to)
}

fn swap_word(text: &mut Vec<u8>, words: &[&str], rng: &mut Rng) {
    let range = around(text, rng, |byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if let (Some(range), Some(word)) = (range, rng.choice(words)) {
        text.splice(range, word.trim().bytes());
    }
}

fn swap_number(text: &mut Vec<u8>, rng: &mut Rng) {
    if let (Some(range), Some(number)) = (around(text, rng, |byte| byte.is_ascii_digit()), rng.choice(NUMBERS)) {
        text.splice(range, number.bytes());
    }
}

/// Lines, of a text or of the text inside a JSON string.
fn line(text: &[u8], rng: &mut Rng) -> Option<std::ops::Range<usize>> {
    let from = if text.windows(2).any(|two| two == b"\\n") { b"\\n".as_slice() } else { b"\n".as_slice() };
    let ends: Vec<usize> =
        text.windows(from.len()).enumerate().filter(|(_, at)| *at == from).map(|(at, _)| at + from.len()).collect();
    let pick = rng.usize(0..ends.len().max(2) - 1);
    Some(*ends.get(pick)?..*ends.get(pick + 1)?)
}

fn repeat_line(text: &mut Vec<u8>, rng: &mut Rng) {
    if let (Some(from), Some(to)) = (line(text, rng), line(text, rng)) {
        let some = text[from].to_vec();
        let at = if rng.bool() { to.start..to.start } else { to };
        text.splice(at, some);
    }
}

fn borrow_line(text: &mut Vec<u8>, corpus: &[Vec<u8>], rng: &mut Rng) {
    let Some(other) = rng.choice(corpus) else { return };
    if let (Some(from), Some(to)) = (line(other, rng), line(text, rng)) {
        text.splice(to.start..to.start, other[from].iter().copied());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_inputs_and_another_gives_others() {
        let corpus = [b"one two\nthree 3\nfour\n".to_vec(), b"{\"a\":\"x\\ny 1\\nz\\n\"}".to_vec()];
        let inputs = |seed| -> Vec<Vec<u8>> {
            let mut rng = Rng::with_seed(seed);
            (0..1000).map(|_| mutate(&corpus, &["word"], &mut rng)).collect()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
    }

    #[test]
    fn nothing_is_too_short_to_be_damaged() {
        let mut rng = Rng::with_seed(1);
        for corpus in [vec![], vec![vec![]], vec![b"\n".to_vec()], vec![b"\\n".to_vec(), b"\n\n".to_vec()]] {
            for _ in 0..10_000 {
                mutate(&corpus, &[], &mut rng);
                mutate(&corpus, &["word"], &mut rng);
            }
        }
    }

    #[test]
    fn no_input_is_too_long() {
        let corpus = [vec![b'x'; MAX_LEN]];
        let mut rng = Rng::with_seed(1);
        assert!((0..1000).all(|_| mutate(&corpus, &["word"], &mut rng).len() <= MAX_LEN));
    }
}

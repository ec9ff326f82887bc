//! One symbol table from those of all sources, and the numbers that the symbols of each source have in it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::MergeError;
use crate::block::BlockReader;
use crate::block::symbols::SymbolIter;

/// Strings by number, ascending; "" is number 0, as the writer counts.
#[derive(Default)]
pub struct Union {
    text: String,
    ends: Vec<usize>,
    /// For each source: the number here of each of its symbols.
    pub numbers: Vec<Vec<u32>>,
}

impl Union {
    /// Read all tables side by side.
    pub fn of(sources: &[BlockReader]) -> Result<Self, MergeError> {
        let mut union = Union {
            ends: vec![0],
            numbers: vec![Vec::new(); sources.len()],
            ..Self::default()
        };
        let mut streams: Vec<SymbolIter<'_>> = Vec::with_capacity(sources.len());
        let mut heap = BinaryHeap::with_capacity(sources.len());
        for (at, source) in sources.iter().enumerate() {
            let mut stream = source.index.symbols.iter();
            if let Some(text) = stream.next_text().map_err(MergeError::of(at))? {
                heap.push(Reverse((text.to_owned(), at)));
            }
            streams.push(stream);
        }
        while let Some(mut top) = heap.peek_mut() {
            let Reverse((text, at)) = &mut *top;
            let (at, number) = (*at, union.add(text)?);
            union.numbers[at].push(number);
            match streams[at].next_text().map_err(MergeError::of(at))? {
                Some(next) if next > text.as_str() => {
                    text.clear();
                    text.push_str(next);
                }
                Some(_) => return Err(MergeError::damaged(at, "symbols do not ascend")),
                None => drop(PeekMut::pop(top)),
            }
        }
        Ok(union)
    }

    /// The number of a symbol that is not below the last one.
    fn add(&mut self, symbol: &str) -> Result<u32, MergeError> {
        let last = self.ends.len() - 1;
        if self.get(last as u32) != symbol {
            self.text.push_str(symbol);
            self.ends.push(self.text.len());
        }
        u32::try_from(self.ends.len() - 1)
            .map_err(|_| MergeError::Output("too many symbols".into()))
    }

    pub fn get(&self, number: u32) -> &str {
        let number = number as usize;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[number]]
    }

    /// With "".
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// All but "", ascending.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (1..self.count() as u32).map(|number| self.get(number))
    }
}

/// Which numbers are used, and what number each of them has among those.
pub struct Used {
    words: Vec<u64>,
    /// How many are used below each word.
    below: Vec<u32>,
}

impl Used {
    pub fn none_of(count: usize) -> Self {
        Used {
            words: vec![0; count.div_ceil(64)],
            below: Vec::new(),
        }
    }

    pub fn mark(&mut self, number: u32) {
        self.words[number as usize / 64] |= 1 << (number % 64);
    }

    /// After the last `mark`.
    pub fn settle(&mut self) {
        self.words[0] |= 1;
        let mut sum = 0;
        self.below = Vec::with_capacity(self.words.len());
        for word in &self.words {
            self.below.push(sum);
            sum += word.count_ones();
        }
    }

    pub fn has(&self, number: u32) -> bool {
        self.words[number as usize / 64] >> (number % 64) & 1 == 1
    }

    /// "" stays 0.
    pub fn rank(&self, number: u32) -> u32 {
        let (word, bit) = (number as usize / 64, number % 64);
        self.below[word] + (self.words[word] & ((1 << bit) - 1)).count_ones()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_count_what_is_used() {
        let mut used = Used::none_of(200);
        for number in [1, 63, 64, 65, 199] {
            used.mark(number);
        }
        used.settle();
        let ranks = [0, 1, 63, 64, 65, 199].map(|number| used.rank(number));
        assert_eq!(ranks, [0, 1, 2, 3, 4, 5]);
        assert!(used.has(64) && !used.has(66));
    }
}

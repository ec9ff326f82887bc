//! `Dictionary`: the distinct strings of one label column. `Interner` builds one.

use std::hash::BuildHasher;
use std::sync::OnceLock;

use hashbrown::{DefaultHashBuilder, HashTable};

/// Strings by code, in one arena. Entries are distinct and never empty; the order is whatever the builder saw.
#[derive(Debug)]
pub struct Dictionary {
    bytes: String,
    /// `len + 1` ascending offsets into `bytes`, from 0.
    offsets: Vec<u32>,
    ranks: OnceLock<Vec<u32>>,
}

impl Dictionary {
    fn new(bytes: String, offsets: Vec<u32>) -> Self {
        Self {
            bytes,
            offsets,
            ranks: OnceLock::new(),
        }
    }

    /// From strings that the caller knows to be distinct and not empty. Codes are positions.
    ///
    /// The arena holds at most 4 GiB (an assertion), far beyond what a query may select.
    pub fn from_distinct<'a>(entries: impl IntoIterator<Item = &'a str>) -> Self {
        let mut bytes = String::new();
        let mut offsets = vec![0];
        for entry in entries {
            debug_assert!(!entry.is_empty());
            bytes.push_str(entry);
            offsets.push(arena_offset(bytes.len()));
        }
        Self::new(bytes, offsets)
    }

    /// From ascending entries in one arena; offsets ascend strictly, from 0 to its length (the caller vouches for it).
    pub fn ascending(bytes: String, offsets: Vec<u32>) -> Self {
        let dictionary = Self::new(bytes, offsets);
        dictionary
            .ranks
            .get_or_init(|| (0..dictionary.len() as u32).collect());
        dictionary
    }

    /// The same, checked: None when the entries do not ascend, or an offset is not between two characters.
    pub fn from_ascending(bytes: String, offsets: Vec<u32>) -> Option<Self> {
        if !offsets
            .iter()
            .all(|&at| bytes.is_char_boundary(at as usize))
        {
            return None;
        }
        let dictionary = Self::ascending(bytes, offsets);
        dictionary
            .iter()
            .is_sorted_by(|a, b| a < b)
            .then_some(dictionary)
    }

    /// Whether codes are ranks.
    pub fn is_ascending(&self) -> bool {
        (0..).zip(self.ranks()).all(|(code, &rank)| code == rank)
    }

    pub fn same_entries(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || (self.offsets == other.offsets && self.bytes == other.bytes)
    }

    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The string of a code. Panics on a code out of range.
    pub fn get(&self, code: usize) -> &str {
        &self.bytes[self.offsets[code] as usize..self.offsets[code + 1] as usize]
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.offsets
            .windows(2)
            .map(|w| &self.bytes[w[0] as usize..w[1] as usize])
    }

    /// Place of each entry in bytewise order, 0 first. Computed once per dictionary.
    pub fn ranks(&self) -> &[u32] {
        self.ranks.get_or_init(|| {
            let mut order: Vec<u32> = (0..self.len() as u32).collect();
            order.sort_unstable_by_key(|&code| self.get(code as usize));
            let mut ranks = vec![0; order.len()];
            for (rank, &code) in order.iter().enumerate() {
                ranks[code as usize] = rank as u32;
            }
            ranks
        })
    }

    /// Bytes held: arena, offsets and ranks if computed.
    pub fn memory_bytes(&self) -> usize {
        let ranks = self.ranks.get().map_or(0, Vec::len);
        self.bytes.capacity() + 4 * (self.offsets.capacity() + ranks)
    }
}

pub fn arena_offset(len: usize) -> u32 {
    u32::try_from(len).expect("a label dictionary holds less than 4 GiB")
}

/// Gives equal strings equal codes, counting from 0 in order of first appearance.
pub struct Interner {
    bytes: String,
    offsets: Vec<u32>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Default for Interner {
    fn default() -> Self {
        Self {
            bytes: String::new(),
            offsets: vec![0],
            table: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        }
    }
}

impl Interner {
    /// Code of `entry`, which must not be empty.
    pub fn intern(&mut self, entry: &str) -> i32 {
        debug_assert!(!entry.is_empty());
        let Self {
            bytes,
            offsets,
            table,
            hasher,
        } = self;
        let at = |code: u32| {
            let code = code as usize;
            &bytes.as_bytes()[offsets[code] as usize..offsets[code + 1] as usize]
        };
        let slot = table.entry(
            hasher.hash_one(entry.as_bytes()),
            |&code| at(code) == entry.as_bytes(),
            |&code| hasher.hash_one(at(code)),
        );
        match slot {
            hashbrown::hash_table::Entry::Occupied(found) => *found.get() as i32,
            hashbrown::hash_table::Entry::Vacant(free) => {
                let code = (offsets.len() - 1) as u32;
                free.insert(code);
                bytes.push_str(entry);
                offsets.push(arena_offset(bytes.len()));
                code as i32
            }
        }
    }

    pub fn get(&self, code: i32) -> &str {
        let code = code as usize;
        &self.bytes[self.offsets[code] as usize..self.offsets[code + 1] as usize]
    }

    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn finish(mut self) -> Dictionary {
        self.bytes.shrink_to_fit();
        self.offsets.shrink_to_fit();
        Dictionary::new(self.bytes, self.offsets)
    }
}

/// Brings codes of several dictionaries into one: only entries that are asked for are interned.
pub struct Translation {
    /// Code in the target per code of the source; `UNSEEN` until asked for.
    map: Vec<i32>,
}

const UNSEEN: i32 = -2;

impl Translation {
    pub fn new(source: &Dictionary) -> Self {
        Self {
            map: vec![UNSEEN; source.len()],
        }
    }

    /// Target code of a source code; -1 stays -1.
    pub fn code(&mut self, source: &Dictionary, target: &mut Interner, code: i32) -> i32 {
        if code < 0 {
            return -1;
        }
        let slot = &mut self.map[code as usize];
        if *slot == UNSEEN {
            *slot = target.intern(source.get(code as usize));
        }
        *slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interner_gives_equal_strings_equal_codes() {
        let mut interner = Interner::default();
        let codes: Vec<i32> = ["b", "a", "b", "ab", "a"]
            .iter()
            .map(|s| interner.intern(s))
            .collect();
        assert_eq!(codes, [0, 1, 0, 2, 1]);
        let dictionary = interner.finish();
        assert_eq!(dictionary.iter().collect::<Vec<_>>(), ["b", "a", "ab"]);
        assert_eq!(dictionary.ranks(), [2, 0, 1]);
    }

    #[test]
    fn interner_survives_growth() {
        let mut interner = Interner::default();
        for i in 0..10_000 {
            assert_eq!(interner.intern(&i.to_string()), i);
        }
        for i in 0..10_000 {
            assert_eq!(interner.intern(&i.to_string()), i);
        }
    }
}

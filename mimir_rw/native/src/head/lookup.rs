//! Series by hash, made for looking up many at once.
//!
//! An open-addressed table of one word per slot: the upper half of the word is a tag of the hash, the lower half the
//! series number. A lookup that misses every cache is common (half a million series in any order), so lookups run in
//! blocks: first all slots are read, then all hashes compared. The loads of one pass do not depend on each other, and
//! the processor has many of them under way at a time.

/// Rows that are looked up together.
pub const BLOCK: usize = 64;

const FREE: u64 = u64::MAX;

pub struct HashLookup {
    /// A power of two, at most three quarters in use.
    slots: Vec<u64>,
    len: usize,
}

fn tag(hash: u128) -> u64 {
    (hash >> 96) as u64
}

impl Default for HashLookup {
    fn default() -> Self {
        HashLookup {
            slots: vec![FREE; 16],
            len: 0,
        }
    }
}

impl HashLookup {
    /// Series 0, 1, ... by these hashes.
    pub fn of(hashes: &[u128]) -> Self {
        let slots = (hashes.len() * 4 / 3 + 1).next_power_of_two().max(16);
        let mut lookup = HashLookup {
            slots: vec![FREE; slots],
            len: hashes.len(),
        };
        for (sid, &hash) in hashes.iter().enumerate() {
            lookup.insert(hash, sid as u32);
        }
        lookup
    }

    fn slot(&self, hash: u128) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    fn holds(word: u64, hash: u128, hashes: &[u128]) -> bool {
        word != FREE && word >> 32 == tag(hash) && hashes[word as u32 as usize] == hash
    }

    pub fn find(&self, hash: u128, hashes: &[u128]) -> Option<u32> {
        let mut at = self.slot(hash);
        loop {
            let word = self.slots[at];
            if Self::holds(word, hash, hashes) {
                return Some(word as u32);
            }
            if word == FREE {
                return None;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// Look up at most `BLOCK` hashes; `found` gets a series for each, or `unknown`.
    pub fn find_block(&self, wanted: &[u128], hashes: &[u128], unknown: u32, found: &mut Vec<u32>) {
        let mut words = [FREE; BLOCK];
        for (word, hash) in words.iter_mut().zip(wanted) {
            *word = self.slots[self.slot(*hash)];
        }
        for (&word, &hash) in words.iter().zip(wanted) {
            found.push(match Self::holds(word, hash, hashes) {
                true => word as u32,
                false => self.find(hash, hashes).unwrap_or(unknown),
            });
        }
    }

    /// Add the next series: number `hashes.len() - 1`, whose hash is the last one.
    pub fn push(&mut self, hashes: &[u128]) {
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            self.slots = vec![FREE; self.slots.len() * 2];
            for (sid, &hash) in hashes[..self.len].iter().enumerate() {
                self.insert(hash, sid as u32);
            }
        }
        if let Some(&hash) = hashes.last() {
            self.insert(hash, self.len as u32);
            self.len += 1;
        }
    }

    fn insert(&mut self, hash: u128, sid: u32) {
        let mut at = self.slot(hash);
        while self.slots[at] != FREE {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = tag(hash) << 32 | u64::from(sid);
    }

    pub fn memory_bytes(&self) -> usize {
        self.slots.capacity() * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_added_among_colliding_hashes() {
        let hash = |i: u128| (i % 7) | ((i / 7) << 40) | ((i % 3) << 96);
        let mut lookup = HashLookup::default();
        let mut hashes = Vec::new();
        for i in 0..500 {
            hashes.push(hash(i));
            lookup.push(&hashes);
        }
        let mut found = Vec::new();
        let wanted: Vec<u128> = (0..600).map(hash).collect();
        for block in wanted.chunks(BLOCK) {
            lookup.find_block(block, &hashes, u32::MAX, &mut found);
        }
        for (i, sid) in found.iter().enumerate() {
            let want = if i < 500 { i as u32 } else { u32::MAX };
            assert_eq!(*sid, want);
            assert_eq!(
                lookup.find(wanted[i], &hashes),
                (i < 500).then_some(i as u32)
            );
        }
    }
}

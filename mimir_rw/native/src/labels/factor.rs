//! Factorisation: rows with equal codes in several columns get equal ids.
//!
//! Columns are folded in one after another: (id so far, code) becomes a new id through a table, direct where the
//! product of both ranges is small, hashed otherwise. Ids count in order of first appearance after every step.

use hashbrown::HashMap;

/// Ids per row, and how many there are.
pub struct Factor {
    pub ids: Vec<u32>,
    pub count: usize,
}

const UNSEEN: u32 = u32::MAX;

impl Factor {
    /// All rows equal.
    pub fn new(rows: usize) -> Self {
        Self {
            ids: vec![0; rows],
            count: rows.min(1),
        }
    }

    /// No further column can tell more rows apart.
    pub fn is_complete(&self) -> bool {
        self.count == self.ids.len()
    }

    /// Tell rows apart by `codes` too: one per row, each -1 (absent) or below `cardinality`.
    pub fn refine(&mut self, codes: impl Iterator<Item = i32>, cardinality: usize) {
        if self.is_complete() {
            return;
        }
        let width = cardinality as u64 + 1;
        let keys = width.saturating_mul(self.count as u64);
        if keys <= 4 * self.ids.len() as u64 + 65_536 {
            self.refine_direct(codes, width as usize, keys as usize);
        } else {
            self.refine_hashed(codes, width);
        }
    }

    fn refine_direct(&mut self, codes: impl Iterator<Item = i32>, width: usize, keys: usize) {
        let mut table = vec![UNSEEN; keys];
        let mut count = 0;
        for (id, code) in self.ids.iter_mut().zip(codes) {
            let slot = &mut table[*id as usize * width + (code + 1) as usize];
            if *slot == UNSEEN {
                *slot = count;
                count += 1;
            }
            *id = *slot;
        }
        self.count = count as usize;
    }

    fn refine_hashed(&mut self, codes: impl Iterator<Item = i32>, width: u64) {
        let mut table: HashMap<u64, u32> = HashMap::with_capacity(self.count);
        for (id, code) in self.ids.iter_mut().zip(codes) {
            let next = table.len() as u32;
            let key = u64::from(*id) * width + (code + 1) as u64;
            *id = *table.entry(key).or_insert(next);
        }
        self.count = table.len();
    }

    /// First row of each id, ascending.
    pub fn first_rows(&self) -> Vec<usize> {
        let mut first = Vec::with_capacity(self.count);
        for (row, &id) in self.ids.iter().enumerate() {
            if id as usize == first.len() {
                first.push(row);
            }
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_by_first_appearance() {
        let mut factor = Factor::new(5);
        factor.refine([1, 0, 1, -1, 0].into_iter(), 2);
        assert_eq!(
            (factor.ids.as_slice(), factor.count),
            (&[0, 1, 0, 2, 1][..], 3)
        );
        factor.refine([0, 0, 1, 0, 0].into_iter(), 2);
        assert_eq!(
            (factor.ids.as_slice(), factor.count),
            (&[0, 1, 2, 3, 1][..], 4)
        );
        assert_eq!(factor.first_rows(), [0, 1, 2, 3]);
    }

    #[test]
    fn hashed_equals_direct() {
        let rows = 1000;
        let codes = |m: i32| (0..rows).map(move |i: i32| (i * 7919) % m - 1);
        let mut direct = Factor::new(rows as usize);
        let mut hashed = Factor::new(rows as usize);
        for m in [3, 17, 40] {
            direct.refine(codes(m), m as usize);
            hashed.refine_hashed(codes(m), u64::from(m as u32) + 1);
        }
        assert_eq!(direct.ids, hashed.ids);
        assert_eq!(direct.count, hashed.count);
    }
}

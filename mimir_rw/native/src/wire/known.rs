//! `KnownSeries`: which canonical label sets of one tenant have already passed validation, and their ring tokens.
//!
//! A scrape repeats the same label sets for ever. An entry (128-bit keyed hash, token) says that exactly those bytes
//! are valid under the label limits the set was filled with, so a row that is found here needs neither validation nor
//! a token. Being absent costs time only; an entry is never wrong, because a change of tenant or limits empties the
//! set.
//!
//! The table is an array of cache lines with three entries each; an entry may live in either of two lines chosen by
//! its hash. An entry not seen for two generations of five minutes (of the caller's clock) gives way to a new one; at
//! the bound the one longest unseen does. About 27 bytes an entry, never more than 32 once some thousands are held.
//!
//! One mutex, taken twice a body at most, never while the GIL is held by a kernel.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;

const SLOTS: usize = 3;
const LINES_MIN: usize = 32;
const GENERATION_MS: i64 = 5 * 60 * 1000;
/// Generations unseen after which an entry is no longer kept for its own sake.
const STALE_AFTER: u8 = 2;
/// Entries moved to make room for one.
const MOVES_MAX: usize = 48;

/// Limits on label sets; what an entry's validity depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelLimits {
    pub label_names_max: usize,
    pub info_label_names_max: usize,
    pub name_bytes_max: usize,
    pub value_bytes_max: usize,
    pub utf8_names: bool,
}

#[repr(align(64))]
#[derive(Clone, Copy, Default)]
struct Line {
    hash: [[u32; 4]; SLOTS],
    token: [u32; SLOTS],
    seen: [u8; SLOTS],
    /// Bit i: slot i holds an entry.
    used: u8,
}

fn words(hash: u128) -> [u32; 4] {
    std::array::from_fn(|i| (hash >> (32 * i)) as u32)
}

fn whole(words: [u32; 4]) -> u128 {
    words
        .iter()
        .rev()
        .fold(0, |acc, &word| acc << 32 | u128::from(word))
}

impl Line {
    #[inline]
    fn find(&self, key: &[u32; 4]) -> Option<usize> {
        (0..SLOTS).find(|&i| self.hash[i] == *key && self.used & 1 << i != 0)
    }

    fn free(&self) -> Option<usize> {
        (0..SLOTS).find(|&i| self.used & 1 << i == 0)
    }

    fn put(&mut self, slot: usize, hash: u128, token: u32, seen: u8) {
        self.hash[slot] = words(hash);
        self.token[slot] = token;
        self.seen[slot] = seen;
        self.used |= 1 << slot;
    }
}

#[derive(Default)]
pub struct Table {
    lines: Vec<Line>,
    entries: usize,
    entries_max: usize,
    scope: Option<(String, LabelLimits)>,
}

pub fn generation(now_ms: i64) -> u8 {
    now_ms.div_euclid(GENERATION_MS) as u8
}

impl Table {
    pub fn new(entries_max: usize) -> Self {
        Self {
            entries_max,
            ..Self::default()
        }
    }

    /// Empty the set unless it was filled for this tenant under these limits.
    pub fn enter(&mut self, tenant: &str, limits: &LabelLimits) {
        let same = self
            .scope
            .as_ref()
            .is_some_and(|(t, l)| t == tenant && l == limits);
        if !same {
            self.lines = Vec::new();
            self.entries = 0;
            self.scope = Some((tenant.to_owned(), limits.clone()));
        }
    }

    fn candidates(&self, hash: u128) -> [usize; 2] {
        let n = self.lines.len() as u128;
        [
            (((hash >> 64) * n) >> 64) as usize,
            (((hash & u128::from(u64::MAX)) * n) >> 64) as usize,
        ]
    }

    /// Fill `tokens[i]` for each hash found; push the numbers of the others to `missed`.
    pub fn find(&mut self, hashes: &[u128], now: u8, tokens: &mut [u32], missed: &mut Vec<u32>) {
        if self.lines.is_empty() {
            missed.extend(0..hashes.len() as u32);
            return;
        }
        for (row, &hash) in hashes.iter().enumerate() {
            let key = words(hash);
            let [first, second] = self.candidates(hash);
            let found = match self.lines[first].find(&key) {
                Some(slot) => Some((first, slot)),
                None => self.lines[second].find(&key).map(|slot| (second, slot)),
            };
            let Some((line, slot)) = found else {
                missed.push(row as u32);
                continue;
            };
            let line = &mut self.lines[line];
            tokens[row] = line.token[slot];
            if line.seen[slot] != now {
                line.seen[slot] = now;
            }
        }
    }

    pub fn insert(&mut self, hash: u128, token: u32, now: u8) {
        if self.entries_max == 0 {
            return;
        }
        if self.entries * 5 >= self.lines.len() * SLOTS * 4 && self.entries < self.entries_max {
            self.grow(now);
        }
        let [first, second] = self.candidates(hash);
        let key = words(hash);
        if [first, second]
            .iter()
            .any(|&line| self.lines[line].find(&key).is_some())
        {
            return;
        }
        if self.entries < self.entries_max {
            self.place(hash, token, now);
        } else {
            self.replace_oldest(first, second, hash, token, now);
        }
    }

    /// Put an entry into one of its lines; where both are full, entries move to their other line (cuckoo hashing).
    /// Should the chain not end, the entry then in hand is dropped: it will be a miss.
    fn place(&mut self, mut hash: u128, mut token: u32, mut seen: u8) {
        let [mut line, second] = self.candidates(hash);
        if self.lines[line].free().is_none() && self.lines[second].free().is_some() {
            line = second;
        }
        for step in 0..MOVES_MAX {
            let here = &mut self.lines[line];
            if let Some(slot) = here.free() {
                here.put(slot, hash, token, seen);
                self.entries += 1;
                return;
            }
            let slot = (hash as usize >> step) % SLOTS;
            let moved = (whole(here.hash[slot]), here.token[slot], here.seen[slot]);
            here.put(slot, hash, token, seen);
            (hash, token, seen) = moved;
            let [a, b] = self.candidates(hash);
            line = if a == line { b } else { a };
        }
    }

    fn replace_oldest(&mut self, first: usize, second: usize, hash: u128, token: u32, now: u8) {
        let oldest = [first, second]
            .into_iter()
            .flat_map(|line| (0..SLOTS).map(move |slot| (line, slot)))
            .filter(|&(line, slot)| self.lines[line].used & 1 << slot != 0)
            .max_by_key(|&(line, slot)| now.wrapping_sub(self.lines[line].seen[slot]));
        if let Some((line, slot)) = oldest {
            self.lines[line].put(slot, hash, token, now);
        }
    }

    /// A quarter more lines, without the entries that are stale.
    fn grow(&mut self, now: u8) {
        let lines_max = (self.entries_max * 5).div_ceil(SLOTS * 4) + 1;
        let lines = (self.lines.len() + self.lines.len() / 4)
            .max(LINES_MIN)
            .min(lines_max);
        let old = std::mem::replace(&mut self.lines, vec![Line::default(); lines]);
        self.entries = 0;
        for line in old {
            for slot in 0..SLOTS {
                let fresh = now.wrapping_sub(line.seen[slot]) < STALE_AFTER;
                if line.used & 1 << slot != 0 && fresh {
                    self.place(whole(line.hash[slot]), line.token[slot], line.seen[slot]);
                }
            }
        }
    }
}

/// Python's handle on one tenant's set. Share one object between all calls for a tenant.
#[pyclass(frozen, module = "mimir_rw._native")]
pub struct KnownSeries {
    table: Mutex<Table>,
}

impl KnownSeries {
    pub fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl KnownSeries {
    #[new]
    #[pyo3(signature = (*, entries_max))]
    pub fn new(entries_max: usize) -> Self {
        Self {
            table: Mutex::new(Table::new(entries_max)),
        }
    }

    fn __len__(&self) -> usize {
        self.lock().entries
    }

    #[getter]
    fn memory_bytes(&self) -> usize {
        self.lock().lines.capacity() * size_of::<Line>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(label_names_max: usize) -> LabelLimits {
        LabelLimits {
            label_names_max,
            info_label_names_max: 80,
            name_bytes_max: 1024,
            value_bytes_max: 2048,
            utf8_names: false,
        }
    }

    fn hash(n: u64) -> u128 {
        let mix = |x: u64| {
            let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            x ^ (x >> 31)
        };
        u128::from(mix(n + 1)) << 64 | u128::from(mix(n + (1 << 40)))
    }

    fn missed(table: &mut Table, range: std::ops::Range<u64>, now: u8) -> usize {
        let hashes: Vec<u128> = range.clone().map(hash).collect();
        let mut tokens = vec![0; hashes.len()];
        let mut missed = Vec::new();
        table.find(&hashes, now, &mut tokens, &mut missed);
        for (i, n) in range.enumerate() {
            if !missed.contains(&(i as u32)) {
                assert_eq!(tokens[i], n as u32);
            }
        }
        missed.len()
    }

    fn filled(entries_max: usize, n: u64) -> Table {
        let mut table = Table::new(entries_max);
        table.enter("t", &limits(30));
        for i in 0..n {
            table.insert(hash(i), i as u32, 0);
        }
        table
    }

    #[test]
    fn a_line_is_a_cache_line() {
        assert_eq!(size_of::<Line>(), 64);
    }

    #[test]
    fn holds_all_below_the_bound_in_32_bytes_an_entry() {
        for n in [1, 100, 5_000, 20_000] {
            let mut table = filled(1_000_000, n);
            assert_eq!(missed(&mut table, 0..n, 0), 0, "{n}");
            assert_eq!(table.entries as u64, n);
            assert!(
                n < 5_000 || table.lines.len() * 64 <= n as usize * 34,
                "{n}"
            );
        }
    }

    #[test]
    fn never_exceeds_the_bound_and_prefers_what_was_seen() {
        let mut table = filled(1000, 1000);
        assert_eq!(missed(&mut table, 0..500, 1), 0);
        for i in 1000..1200 {
            table.insert(hash(i), i as u32, 1);
            assert!(table.entries <= 1000);
        }
        let lost = missed(&mut table, 0..500, 1) + missed(&mut table, 1000..1200, 1);
        assert!(lost < 70, "{lost} of 700 entries in use gave way to others");
    }

    #[test]
    fn stale_entries_go_when_the_table_would_grow() {
        let mut table = filled(1_000_000, 2000);
        for i in 5000..20_000 {
            table.insert(hash(i), i as u32, STALE_AFTER);
        }
        assert_eq!(table.entries, 15_000);
        assert_eq!(missed(&mut table, 0..2000, STALE_AFTER), 2000);
    }

    #[test]
    fn another_tenant_or_other_limits_empty_it() {
        for (tenant, limit) in [("u", 30), ("t", 31)] {
            let mut table = filled(1000, 10);
            table.enter("t", &limits(30));
            assert_eq!(table.entries, 10);
            table.enter(tenant, &limits(limit));
            assert_eq!(missed(&mut table, 0..10, 0), 10);
        }
    }

    #[test]
    fn a_bound_of_zero_keeps_nothing() {
        let mut table = filled(0, 10);
        assert_eq!(missed(&mut table, 0..10, 0), 10);
    }
}

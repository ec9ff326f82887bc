//! `SentSeries`: the series that one receiver is believed to hold, as 63 bits of their keyed hash each.
//!
//! Being wrong either way costs a round trip or some label bytes, never a sample: the receiver looks up all 128 bits and
//! names the rows that it could not resolve. So few bits are enough, entries may be dropped at will, and no clock is
//! asked: `age` drops what nobody looked for since it was last called.
//!
//! The table is an array of cache lines with eight entries each; an entry may live in either of two lines. Its lowest
//! bit says that it was looked for since the last `age`. Zero is free.
//!
//! One mutex, held for a batch, never while the GIL is.

use std::sync::{Mutex, MutexGuard, PoisonError};

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;

use crate::batch::WriteBatch;

const SLOTS: usize = 8;
const LINES_MIN: usize = 8;
const SEEN: u64 = 1;
/// Odd; spreads an entry's bits for its second line.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

#[repr(align(64))]
#[derive(Clone, Copy, Default)]
struct Line([u64; SLOTS]);

impl Line {
    #[inline]
    fn find(&self, entry: u64) -> Option<usize> {
        self.0.iter().position(|&slot| slot & !SEEN == entry)
    }

    fn used(&self) -> usize {
        self.0.iter().filter(|&&slot| slot != 0).count()
    }
}

pub struct Table {
    lines: Vec<Line>,
    entries: usize,
    entries_max: usize,
}

/// What is kept of a hash; never zero, lowest bit clear.
#[inline]
fn entry_of(hash: u128) -> u64 {
    (hash as u64 & !SEEN).max(2)
}

impl Table {
    pub fn new(entries_max: usize) -> Self {
        Self {
            lines: Vec::new(),
            entries: 0,
            entries_max,
        }
    }

    #[inline]
    fn candidates(&self, entry: u64) -> [usize; 2] {
        let line = |bits: u64| ((u128::from(bits) * self.lines.len() as u128) >> 64) as usize;
        [line(entry), line(entry.wrapping_mul(MIX))]
    }

    /// The slot of an entry.
    #[inline]
    fn find(&mut self, entry: u64) -> Option<&mut u64> {
        if self.lines.is_empty() {
            return None;
        }
        let [first, second] = self.candidates(entry);
        let (line, slot) = match self.lines[first].find(entry) {
            Some(slot) => (first, slot),
            None => (second, self.lines[second].find(entry)?),
        };
        Some(&mut self.lines[line].0[slot])
    }

    #[inline]
    pub fn contains(&mut self, hash: u128) -> bool {
        let Some(slot) = self.find(entry_of(hash)) else {
            return false;
        };
        if *slot & SEEN == 0 {
            *slot |= SEEN;
        }
        true
    }

    pub fn insert(&mut self, hash: u128) {
        let entry = entry_of(hash);
        if self.entries_max == 0 || self.contains(hash) {
            return;
        }
        if self.entries < self.entries_max && self.entries * 10 >= self.lines.len() * SLOTS * 7 {
            self.grow();
        }
        self.place(entry | SEEN);
    }

    /// Into the emptier of its lines; where both are full, or at the bound, another entry there gives way.
    fn place(&mut self, slot: u64) {
        let lines = self.candidates(slot & !SEEN);
        let [first, second] = lines.map(|line| self.lines[line].used());
        let emptier = &mut self.lines[lines[usize::from(second < first)]].0;
        if self.entries < self.entries_max
            && let Some(free) = emptier.iter_mut().find(|slot| **slot == 0)
        {
            *free = slot;
            self.entries += 1;
            return;
        }
        let fuller = &mut self.lines[lines[usize::from(second > first)]].0;
        let (start, mut victim) = ((slot.wrapping_mul(MIX) >> 61) as usize, None);
        for at in (0..SLOTS).map(|i| (start + i) % SLOTS) {
            match fuller[at] {
                0 => {}
                seen if seen & SEEN != 0 => victim = victim.or(Some(at)),
                _ => {
                    victim = Some(at);
                    break;
                }
            }
        }
        if let Some(at) = victim {
            fuller[at] = slot;
        }
    }

    pub fn remove(&mut self, hash: u128) {
        if let Some(slot) = self.find(entry_of(hash)) {
            *slot = 0;
            self.entries -= 1;
        }
    }

    fn grow(&mut self) {
        let lines_max = (self.entries_max * 10).div_ceil(SLOTS * 7) + 1;
        let lines = (self.lines.len() + self.lines.len() / 2)
            .max(LINES_MIN)
            .min(lines_max);
        let old = std::mem::replace(&mut self.lines, vec![Line::default(); lines]);
        self.entries = 0;
        for slot in old.into_iter().flat_map(|line| line.0) {
            if slot != 0 {
                self.place(slot);
            }
        }
    }

    /// Drop the entries that nobody looked for since this was last called.
    pub fn age(&mut self) {
        for slot in self.lines.iter_mut().flat_map(|line| &mut line.0) {
            if *slot & SEEN == 0 {
                self.entries -= usize::from(*slot != 0);
                *slot = 0;
            }
            *slot &= !SEEN;
        }
    }
}

/// Python's handle: the set of one tenant and one receiver.
#[pyclass(frozen, module = "mimir_rw._native")]
pub struct SentSeries(Mutex<Table>);

impl SentSeries {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl SentSeries {
    #[new]
    #[pyo3(signature = (*, entries_max))]
    fn new(entries_max: usize) -> Self {
        Self(Mutex::new(Table::new(entries_max)))
    }

    fn __len__(&self) -> usize {
        self.lock().entries
    }

    #[getter]
    fn memory_bytes(&self) -> usize {
        self.lock().lines.capacity() * size_of::<Line>()
    }

    #[pyo3(signature = (batch, rows=None))]
    fn missing<'py>(
        &self,
        py: Python<'py>,
        batch: &Bound<'py, WriteBatch>,
        rows: Option<PyReadonlyArray1<'py, u32>>,
    ) -> PyResult<Bound<'py, PyArray1<u32>>> {
        let batch = batch.get();
        let mut rows = batch.row_numbers(rows)?;
        py.detach(|| {
            let mut table = self.lock();
            rows.retain(|&row| !table.contains(batch.hash[row as usize]));
        });
        Ok(rows.into_pyarray(py))
    }

    #[pyo3(signature = (batch, rows=None))]
    fn add(
        &self,
        py: Python<'_>,
        batch: &Bound<'_, WriteBatch>,
        rows: Option<PyReadonlyArray1<'_, u32>>,
    ) -> PyResult<()> {
        let batch = batch.get();
        let rows = batch.row_numbers(rows)?;
        py.detach(|| {
            let mut table = self.lock();
            rows.iter()
                .for_each(|&row| table.insert(batch.hash[row as usize]));
        });
        Ok(())
    }

    #[pyo3(signature = (batch, rows=None))]
    fn remove(
        &self,
        py: Python<'_>,
        batch: &Bound<'_, WriteBatch>,
        rows: Option<PyReadonlyArray1<'_, u32>>,
    ) -> PyResult<()> {
        let batch = batch.get();
        let rows = batch.row_numbers(rows)?;
        py.detach(|| {
            let mut table = self.lock();
            rows.iter()
                .for_each(|&row| table.remove(batch.hash[row as usize]));
        });
        Ok(())
    }

    fn clear(&self) {
        let mut table = self.lock();
        *table = Table::new(table.entries_max);
    }

    fn age(&self, py: Python<'_>) {
        py.detach(|| self.lock().age());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> u128 {
        let mix = |x: u64| {
            let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            x ^ (x >> 31)
        };
        u128::from(mix(n + 1)) << 64 | u128::from(mix(n + (1 << 40)))
    }

    fn held(table: &mut Table, range: std::ops::Range<u64>) -> usize {
        range.filter(|&n| table.contains(hash(n))).count()
    }

    #[test]
    fn a_line_is_a_cache_line() {
        assert_eq!(size_of::<Line>(), 64);
    }

    #[test]
    fn holds_all_below_the_bound_in_18_bytes_an_entry() {
        for n in [1u64, 100, 5_000, 50_000] {
            let mut table = Table::new(1_000_000);
            (0..n).for_each(|i| table.insert(hash(i)));
            let held = held(&mut table, 0..n);
            assert_eq!(held as u64, n);
            assert!(
                n < 5_000 || table.lines.len() * 64 <= n as usize * 18,
                "{n}"
            );
            assert_eq!(table.entries, held);
        }
    }

    #[test]
    fn never_holds_more_than_the_bound_nor_what_was_not_added() {
        for bound in [0, 1, 7, 100, 1000] {
            let mut table = Table::new(bound);
            for i in 0..5_000 {
                table.insert(hash(i));
                let used: usize = table.lines.iter().map(Line::used).sum();
                assert!(used == table.entries && used <= bound);
            }
            assert_eq!(held(&mut table, 5_000..10_000), 0);
            assert!(held(&mut table, 0..5_000) * 10 >= bound * 8, "{bound}");
        }
    }

    #[test]
    fn what_is_removed_is_gone_and_the_rest_stays() {
        let mut table = Table::new(1000);
        (0..100).for_each(|i| table.insert(hash(i)));
        (0..50).for_each(|i| table.remove(hash(i)));
        table.remove(hash(0));
        assert_eq!(
            (held(&mut table, 0..50), held(&mut table, 50..100)),
            (0, 50)
        );
        assert_eq!(table.entries, 50);
    }

    #[test]
    fn ageing_drops_what_was_not_looked_for() {
        let mut table = Table::new(1000);
        (0..100).for_each(|i| table.insert(hash(i)));
        table.age();
        assert_eq!((table.entries, held(&mut table, 0..50)), (100, 50));
        table.age();
        assert_eq!((table.entries, held(&mut table, 0..100)), (50, 50));
    }

    #[test]
    fn any_hash_can_be_held() {
        let mut table = Table::new(10);
        for hash in [0, 1, 2, 3, u128::MAX, 1 << 64] {
            table.insert(hash);
            assert!(table.contains(hash));
            table.remove(hash);
            assert!(!table.contains(hash));
        }
    }
}

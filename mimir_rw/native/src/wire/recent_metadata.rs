//! Metadata that one tenant has sent of late.
//!
//! Remote write 2.0 sends it with every series of every push, and 1.0 once a minute. What came within the last minute is
//! not handed on again: ingesters keep it for longer than that.

use std::sync::{Mutex, PoisonError};

use hashbrown::HashMap;
use pyo3::prelude::*;

const AGAIN_AFTER_MS: i64 = 60_000;

/// Entries by the keyed hash of their text, and when they were last handed on.
#[pyclass(frozen, module = "mimir_rw._native")]
pub struct RecentMetadata {
    entries: Mutex<HashMap<u128, i64>>,
    entries_max: usize,
}

impl RecentMetadata {
    /// Keep those of the hashes that are to be handed on now.
    pub fn retain_new(&self, hashes: &[u128], now_ms: i64) -> Vec<bool> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_new = |&hash: &u128| {
            if let Some(&handed_ms) = entries.get(&hash)
                && (handed_ms..handed_ms.saturating_add(AGAIN_AFTER_MS)).contains(&now_ms)
            {
                return false;
            }
            if entries.len() >= self.entries_max && !entries.contains_key(&hash) {
                entries.clear();
            }
            if self.entries_max > 0 {
                entries.insert(hash, now_ms);
            }
            true
        };
        hashes.iter().map(&mut is_new).collect()
    }
}

#[pymethods]
impl RecentMetadata {
    #[new]
    #[pyo3(signature = (*, entries_max))]
    pub fn new(entries_max: usize) -> Self {
        Self {
            entries: Mutex::default(),
            entries_max,
        }
    }

    fn __len__(&self) -> usize {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_again_after_a_minute() {
        let recent = RecentMetadata::new(3);
        assert_eq!(recent.retain_new(&[1, 2, 1], 1000), [true, true, false]);
        assert_eq!(recent.retain_new(&[1, 3], 60_999), [false, true]);
        assert_eq!(recent.retain_new(&[1, 3], 61_000), [true, false]);
        assert_eq!(recent.retain_new(&[1], 0), [true]);
    }

    #[test]
    fn never_holds_more_than_the_bound() {
        let recent = RecentMetadata::new(3);
        for hash in 0..100 {
            assert_eq!(recent.retain_new(&[hash], 0), [true]);
            assert!(recent.__len__() <= 3);
        }
        let none = RecentMetadata::new(0);
        assert_eq!(none.retain_new(&[1, 1], 0), [true, true]);
    }
}

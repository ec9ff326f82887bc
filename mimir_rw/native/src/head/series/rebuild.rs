//! Taking series without samples out of the table: a new table of the others, most of it made beside appends.
//!
//! Series numbers are dense, so every column is made anew. What takes time (labels, postings, the hash table) is made
//! from slices of the old table while appends go on: series are only ever added, and their labels never change. What is
//! left for the moment of the change is a copy of the columns that appends write to.

use std::ops::Range;

use super::{Extra, NO_EXTRA, Open, SeriesTable};
use crate::head::lookup::HashLookup;
use crate::head::postings::LabelIndex;

/// The labels, hashes and postings of the series that stay.
pub struct Rebuild {
    labels: LabelIndex,
    hashes: Vec<u128>,
    lookup: HashLookup,
    /// Number in the old table of each series.
    order: Vec<u32>,
    /// Series that had no samples.
    empty: Vec<u32>,
    /// Changes of key when it was begun.
    rekeyed: u64,
    /// Series of the old table looked at.
    seen: u32,
}

/// What the old table had; freeing it takes time that no lock should be held for.
pub struct Discarded {
    _labels: LabelIndex,
    _extras: Vec<Extra>,
    _lookup: HashLookup,
    pub series_dropped: u64,
}

impl Rebuild {
    pub fn new(table: &SeriesTable) -> Self {
        Rebuild {
            labels: table.labels.empty_like(),
            hashes: Vec::new(),
            lookup: HashLookup::default(),
            order: Vec::new(),
            empty: Vec::new(),
            rekeyed: table.rekeyed,
            seen: 0,
        }
    }

    /// Whether any series can go.
    pub fn is_needed(&self) -> bool {
        !self.empty.is_empty()
    }

    /// Look at the next series; all have been when the range is empty.
    pub fn take(&mut self, table: &SeriesTable, sids: Range<u32>) {
        for sid in sids {
            match table.has_samples(sid) {
                true => self.push(table, sid),
                false => self.empty.push(sid),
            }
            self.seen = sid + 1;
        }
    }

    pub fn seen(&self) -> u32 {
        self.seen
    }

    /// Do what needs no table.
    pub fn index(&mut self) {
        self.lookup = HashLookup::of(&self.hashes);
    }

    fn push(&mut self, table: &SeriesTable, sid: u32) {
        self.labels.push(table.labels.labels(sid));
        self.hashes.push(table.hashes[sid as usize]);
        self.order.push(sid);
    }
}

impl SeriesTable {
    /// Become the table of the series that stay: those that were taken, those that got samples since then, and new ones.
    pub fn rebuild(&mut self, mut next: Rebuild) -> Discarded {
        let before = self.len();
        let indexed = next.hashes.len();
        for sid in std::mem::take(&mut next.empty) {
            if self.has_samples(sid) {
                next.push(self, sid);
            }
        }
        for sid in next.seen..self.len() as u32 {
            next.push(self, sid);
        }
        let order = next.order;
        let of = |sid: &u32| *sid as usize;
        if next.rekeyed != self.rekeyed {
            next.hashes = order.iter().map(|sid| self.hashes[of(sid)]).collect();
            next.lookup = HashLookup::of(&next.hashes);
        } else {
            for end in indexed + 1..=next.hashes.len() {
                next.lookup.push(&next.hashes[..end]);
            }
        }
        if let Some(owned) = &mut self.owned {
            *owned = owned.renumbered(&order);
        }
        let identical = order
            .iter()
            .enumerate()
            .all(|(new, &old)| new == old as usize);
        if !identical || self.sparse_refs.is_some() {
            self.sparse_refs = Some(order.iter().map(|&sid| self.ref_of(sid)).collect());
        }
        self.tokens = order.iter().map(|sid| self.tokens[of(sid)]).collect();
        self.hashes = next.hashes;
        let mut extras = Vec::new();
        let mut open: Vec<Open> = Vec::with_capacity(order.len());
        for sid in &order {
            let mut one = self.open[of(sid)];
            if let Some(extra) = self.extras.get_mut(one.extra as usize) {
                one.extra = NO_EXTRA;
                if !extra.is_empty() {
                    one.extra = extras.len() as u32;
                    extras.push(std::mem::take(extra));
                }
            }
            open.push(one);
        }
        self.open = open;
        self.exemplars.renumber(before, &order);
        self.series_removed += (before - order.len()) as u64;
        Discarded {
            _labels: std::mem::replace(&mut self.labels, next.labels),
            _extras: std::mem::replace(&mut self.extras, extras),
            _lookup: std::mem::replace(&mut self.by_hash, next.lookup),
            series_dropped: (before - order.len()) as u64,
        }
    }
}

//! Exemplars of one tenant: the newest ones, in a ring (the rules are those of Prometheus' circular buffer).
//!
//! A new exemplar takes the place of the oldest of all. Those of one series ascend by time, then value, then labels: one
//! that equals the series' newest is dropped, one that would come before it is refused.

use std::cmp::Ordering;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::batch::Exemplar;

const NONE: u32 = u32::MAX;

struct Entry {
    sid: u32,
    /// The next newer one of the series.
    newer: u32,
    exemplar: Arc<Exemplar>,
}

#[derive(Clone, Copy)]
struct Ends {
    oldest: u32,
    newest: u32,
}

#[derive(Default)]
pub struct Exemplars {
    /// A ring once it is full: `next` is then the oldest.
    entries: Vec<Entry>,
    next: usize,
    max: usize,
    by_series: HashMap<u32, Ends>,
    pub appended: u64,
    /// Refused, here or before they came here.
    pub out_of_order: u64,
    label_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    New,
    /// The series' newest is the same.
    Duplicate,
    OutOfOrder,
    /// None are kept.
    Off,
}

fn order(a: &Exemplar, b: &Exemplar) -> Ordering {
    let value = a.value.partial_cmp(&b.value).unwrap_or(Ordering::Equal);
    a.ts.cmp(&b.ts).then(value).then(a.labels.cmp(&b.labels))
}

fn same(a: &Exemplar, b: &Exemplar) -> bool {
    a.ts == b.ts && a.value.to_bits() == b.value.to_bits() && a.labels == b.labels
}

impl Exemplars {
    pub fn new(max: usize) -> Self {
        Exemplars {
            max,
            ..Self::default()
        }
    }

    pub fn max(&self) -> usize {
        self.max
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn series_count(&self) -> usize {
        self.by_series.len()
    }

    /// Keep at most so many from now on; the newest stay.
    pub fn resize(&mut self, max: usize) {
        if max == self.max {
            return;
        }
        let mut entries = std::mem::take(&mut self.entries);
        entries.rotate_left(self.next);
        let surplus = entries.len().saturating_sub(max);
        let counted = (self.appended, self.out_of_order);
        *self = Self::new(max);
        for entry in entries.into_iter().skip(surplus) {
            self.push(entry.sid, entry.exemplar);
        }
        (self.appended, self.out_of_order) = counted;
    }

    /// Series have other numbers from now on: the place in `order` of the number that each had, below `before`. The
    /// exemplars of those that are not in it go.
    pub fn renumber(&mut self, before: usize, order: &[u32]) {
        if self.entries.is_empty() {
            return;
        }
        let mut new_number = vec![NONE; before];
        for (new, &old) in order.iter().enumerate() {
            new_number[old as usize] = new as u32;
        }
        let mut entries = std::mem::take(&mut self.entries);
        entries.rotate_left(self.next);
        let counted = (self.appended, self.out_of_order);
        *self = Self::new(self.max);
        for entry in entries {
            match new_number[entry.sid as usize] {
                NONE => {}
                sid => self.push(sid, entry.exemplar),
            }
        }
        (self.appended, self.out_of_order) = counted;
    }

    pub fn admit(&self, sid: u32, exemplar: &Exemplar) -> Admission {
        if self.max == 0 {
            return Admission::Off;
        }
        let Some(ends) = self.by_series.get(&sid) else {
            return Admission::New;
        };
        let newest = &self.entries[ends.newest as usize].exemplar;
        match order(exemplar, newest) {
            _ if same(exemplar, newest) => Admission::Duplicate,
            Ordering::Less => Admission::OutOfOrder,
            _ => Admission::New,
        }
    }

    /// Add one if it is admitted.
    pub fn add(&mut self, sid: u32, exemplar: &Arc<Exemplar>) {
        match self.admit(sid, exemplar) {
            Admission::New => self.push(sid, exemplar.clone()),
            Admission::OutOfOrder => self.out_of_order += 1,
            Admission::Duplicate | Admission::Off => {}
        }
    }

    fn push(&mut self, sid: u32, exemplar: Arc<Exemplar>) {
        self.appended += 1;
        self.label_bytes += exemplar.labels.len();
        let entry = Entry {
            sid,
            newer: NONE,
            exemplar,
        };
        let at = match self.entries.len() < self.max {
            true => {
                self.entries.push(entry);
                self.entries.len() - 1
            }
            false => {
                let at = self.next;
                self.forget(at);
                self.entries[at] = entry;
                self.next = (at + 1) % self.max;
                at
            }
        };
        let only = Ends {
            oldest: at as u32,
            newest: at as u32,
        };
        let ends = self.by_series.entry(sid).or_insert(only);
        if ends.newest != at as u32 {
            self.entries[ends.newest as usize].newer = at as u32;
            ends.newest = at as u32;
        }
    }

    /// Take the oldest of all, which is the oldest of its series, out of the index.
    fn forget(&mut self, at: usize) {
        let Entry {
            sid,
            newer,
            exemplar,
        } = &self.entries[at];
        self.label_bytes -= exemplar.labels.len();
        match *newer {
            NONE => {
                self.by_series.remove(sid);
            }
            newer => {
                if let Some(ends) = self.by_series.get_mut(sid) {
                    ends.oldest = newer;
                }
            }
        }
    }

    /// Series that have any, ascending.
    pub fn series(&self) -> Vec<u32> {
        let mut sids: Vec<u32> = self.by_series.keys().copied().collect();
        sids.sort_unstable();
        sids
    }

    /// Those of a series with mint <= t <= maxt, ascending.
    pub fn of(&self, sid: u32, mint: i64, maxt: i64) -> impl Iterator<Item = &Arc<Exemplar>> {
        let oldest = self.by_series.get(&sid).map_or(NONE, |ends| ends.oldest);
        let entry = |at: u32| self.entries.get(at as usize);
        let all = std::iter::successors(entry(oldest), move |e| entry(e.newer));
        all.map(|entry| &entry.exemplar)
            .filter(move |e| mint <= e.ts && e.ts <= maxt)
    }

    /// Time of the one that was added last.
    pub fn last_t(&self) -> Option<i64> {
        let last = match self.next {
            0 => self.entries.last(),
            next => self.entries.get(next - 1),
        };
        last.map(|entry| entry.exemplar.ts)
    }

    pub fn memory_bytes(&self) -> usize {
        let each = size_of::<Entry>() + size_of::<Exemplar>() + 2 * size_of::<usize>();
        self.entries.capacity() * size_of::<Entry>()
            + self.entries.len() * (each - size_of::<Entry>())
            + self.label_bytes
            + self.by_series.capacity() * size_of::<(u32, Ends)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exemplar(ts: i64, value: f64) -> Arc<Exemplar> {
        Arc::new(Exemplar {
            ts,
            value,
            labels: Vec::new(),
        })
    }

    fn times(ring: &Exemplars, sid: u32) -> Vec<i64> {
        ring.of(sid, i64::MIN, i64::MAX).map(|e| e.ts).collect()
    }

    #[test]
    fn the_newest_stay_in_order_whatever_the_size() {
        let mut ring = Exemplars::new(5);
        let mut all: Vec<(u32, i64)> = Vec::new();
        for i in 0..200i64 {
            let sid = (i * i % 7 % 3) as u32;
            ring.add(sid, &exemplar(i, 0.0));
            all.push((sid, i));
            if i % 17 == 0 {
                ring.resize([5, 9, 1, 3][i as usize % 4]);
            }
            let kept = ring.len();
            assert!(kept <= ring.max() && (kept == ring.max() || i < 5 || i % 17 < 9));
            let newest = &all[all.len() - kept..];
            for sid in 0..3 {
                let want: Vec<i64> = newest.iter().filter(|e| e.0 == sid).map(|e| e.1).collect();
                assert_eq!(times(&ring, sid), want, "at {i}");
            }
            assert_eq!(ring.last_t(), Some(i));
        }
    }

    #[test]
    fn equal_ones_are_dropped_and_earlier_ones_refused() {
        let mut ring = Exemplars::new(10);
        for (t, value) in [(5, 1.0), (5, 1.0), (5, 2.0), (5, 1.0), (4, 9.0), (6, 0.0)] {
            ring.add(1, &exemplar(t, value));
        }
        assert_eq!(times(&ring, 1), [5, 5, 6]);
        assert_eq!((ring.appended, ring.out_of_order), (3, 2));
        ring.resize(0);
        ring.add(1, &exemplar(9, 1.0));
        assert!(ring.is_empty() && ring.series().is_empty());
    }
}

//! Label sets and their index: interned (name, value) pairs with the series that have them.
//!
//! A label set is a run of pair ids in one arena, sorted by label name. A pair knows its series, ascending. Pairs are
//! found by a keyed hash, so that chosen label values cannot collide on purpose.

use hashbrown::HashTable;
use highway::{HighwayHash, HighwayHasher, Key};

use crate::codec::Damaged;

/// The key of all hashes of label sets, a secret of the cluster.
pub type HashKey = [u8; 32];

pub struct Pair {
    at: u64,
    len: u32,
    pub series: SeriesList,
}

/// Series numbers, ascending. Most pairs of a wide label have one series.
pub enum SeriesList {
    One(u32),
    Many(Vec<u32>),
}

impl SeriesList {
    pub fn as_slice(&self) -> &[u32] {
        match self {
            SeriesList::One(sid) => std::slice::from_ref(sid),
            SeriesList::Many(sids) => sids,
        }
    }

    fn push(&mut self, sid: u32) {
        match self {
            SeriesList::One(first) => *self = SeriesList::Many(vec![*first, sid]),
            SeriesList::Many(sids) => sids.push(sid),
        }
    }
}

struct Name {
    text: Box<str>,
    /// Pairs of this name in order of first appearance.
    pairs: Vec<u32>,
}

pub struct LabelIndex {
    key: Key,
    names: Vec<Name>,
    by_name: HashTable<u32>,
    values: Vec<u8>,
    pairs: Vec<Pair>,
    /// Name of each pair.
    pair_name: Vec<u32>,
    by_pair: HashTable<u32>,
    sets: Vec<u32>,
    /// End of each series' run in `sets`.
    set_end: Vec<u64>,
}

impl LabelIndex {
    pub fn new(key: HashKey) -> Self {
        LabelIndex {
            key: Key(std::array::from_fn(|i| {
                u64::from_le_bytes(std::array::from_fn(|b| key[8 * i + b]))
            })),
            names: Vec::new(),
            by_name: HashTable::new(),
            values: Vec::new(),
            pairs: Vec::new(),
            pair_name: Vec::new(),
            by_pair: HashTable::new(),
            sets: Vec::new(),
            set_end: Vec::new(),
        }
    }

    /// One without series, under the same key.
    pub fn empty_like(&self) -> Self {
        LabelIndex {
            key: self.key,
            ..Self::new([0; 32])
        }
    }

    pub fn series_count(&self) -> usize {
        self.set_end.len()
    }

    /// Pair ids of a series, by label name.
    pub fn set(&self, sid: u32) -> &[u32] {
        let sid = sid as usize;
        let start = if sid == 0 { 0 } else { self.set_end[sid - 1] };
        &self.sets[start as usize..self.set_end[sid] as usize]
    }

    pub fn labels(&self, sid: u32) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.set(sid)
            .iter()
            .map(|&pair| (self.name(self.pair_name[pair as usize]), self.value(pair)))
    }

    pub fn name_count(&self) -> usize {
        self.names.len()
    }

    pub fn pair_count(&self) -> usize {
        self.pairs.len()
    }

    pub fn name(&self, name: u32) -> &str {
        &self.names[name as usize].text
    }

    pub fn name_of(&self, pair: u32) -> u32 {
        self.pair_name[pair as usize]
    }

    pub fn value(&self, pair: u32) -> &str {
        // Only valid UTF-8 is ever interned.
        std::str::from_utf8(self.value_bytes(pair)).unwrap_or_default()
    }

    fn value_bytes(&self, pair: u32) -> &[u8] {
        let pair = &self.pairs[pair as usize];
        &self.values[pair.at as usize..pair.at as usize + pair.len as usize]
    }

    pub fn series_of(&self, pair: u32) -> &[u32] {
        self.pairs[pair as usize].series.as_slice()
    }

    /// Pairs of a name, in order of first appearance.
    pub fn pairs_of(&self, name: u32) -> &[u32] {
        &self.names[name as usize].pairs
    }

    pub fn find_name(&self, name: &str) -> Option<u32> {
        let hash = self.name_hash(name);
        let found = self
            .by_name
            .find(hash, |&id| &*self.names[id as usize].text == name);
        found.copied()
    }

    pub fn find_pair(&self, name: u32, value: &str) -> Option<u32> {
        let hash = self.pair_hash(name, value.as_bytes());
        let found = self.by_pair.find(hash, |&pair| {
            self.pair_name[pair as usize] == name && self.value_bytes(pair) == value.as_bytes()
        });
        found.copied()
    }

    fn name_hash(&self, name: &str) -> u64 {
        HighwayHasher::new(self.key).hash64(name.as_bytes())
    }

    fn pair_hash(&self, name: u32, value: &[u8]) -> u64 {
        let mut hasher = HighwayHasher::new(self.key);
        hasher.append(&name.to_le_bytes());
        hasher.append(value);
        hasher.finalize64()
    }

    /// Add the next series; `labels` ascend by name, no value is empty.
    pub fn push<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a str)>) -> u32 {
        let sid = self.set_end.len() as u32;
        let (before, before_end) = match self.set_end.len() {
            0 => (0, 0),
            1 => (0, self.sets.len()),
            n => (self.set_end[n - 2] as usize, self.sets.len()),
        };
        for (place, (name, value)) in labels.enumerate() {
            // Series come in families: most labels equal those at the same place of the series before.
            let near = (before + place < before_end).then(|| self.sets[before + place]);
            let pair = match near {
                Some(pair) if self.is(pair, name, value) => pair,
                _ => self.intern(name, value),
            };
            if (pair as usize) < self.pairs.len() {
                self.pairs[pair as usize].series.push(sid);
            } else {
                self.add_pair(pair, name, value, sid);
            }
            self.sets.push(pair);
        }
        self.set_end.push(self.sets.len() as u64);
        sid
    }

    fn is(&self, pair: u32, name: &str, value: &str) -> bool {
        self.value_bytes(pair) == value.as_bytes()
            && self.name(self.pair_name[pair as usize]) == name
    }

    /// Id of the pair; the next free one when it is new.
    fn intern(&mut self, name: &str, value: &str) -> u32 {
        let known = self
            .find_name(name)
            .and_then(|id| self.find_pair(id, value));
        known.unwrap_or(self.pairs.len() as u32)
    }

    fn add_pair(&mut self, pair: u32, name: &str, value: &str, sid: u32) {
        let name = self.intern_name(name);
        let hash = self.pair_hash(name, value.as_bytes());
        self.pairs.push(Pair {
            at: self.values.len() as u64,
            len: value.len() as u32,
            series: SeriesList::One(sid),
        });
        self.pair_name.push(name);
        self.values.extend_from_slice(value.as_bytes());
        self.names[name as usize].pairs.push(pair);
        let mut by_pair = std::mem::take(&mut self.by_pair);
        by_pair.insert_unique(hash, pair, |&p| {
            self.pair_hash(self.pair_name[p as usize], self.value_bytes(p))
        });
        self.by_pair = by_pair;
    }

    fn intern_name(&mut self, name: &str) -> u32 {
        if let Some(id) = self.find_name(name) {
            return id;
        }
        let id = self.names.len() as u32;
        let hash = self.name_hash(name);
        self.names.push(Name {
            text: name.into(),
            pairs: Vec::new(),
        });
        let mut by_name = std::mem::take(&mut self.by_name);
        by_name.insert_unique(hash, id, |&n| self.name_hash(&self.names[n as usize].text));
        self.by_name = by_name;
        id
    }

    pub fn memory_bytes(&self) -> usize {
        let lists: usize = self
            .pairs
            .iter()
            .map(|p| match &p.series {
                SeriesList::One(_) => 0,
                SeriesList::Many(sids) => 4 * sids.capacity() + 16,
            })
            .sum();
        lists
            + self.values.capacity()
            + self.pairs.capacity() * size_of::<Pair>()
            + self.pair_name.capacity() * 4
            + self.by_pair.capacity() * 5
            + self.sets.capacity() * 4
            + self.set_end.capacity() * 8
            + self
                .names
                .iter()
                .map(|n| n.pairs.capacity() * 4)
                .sum::<usize>()
    }
}

/// Labels of the canonical protobuf form (batch.rs): `0a len 0a n name 12 m value`, one after another.
pub struct CanonicalLabels<'a> {
    rest: &'a [u8],
}

impl<'a> CanonicalLabels<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        CanonicalLabels { rest: bytes }
    }

    fn field(rest: &mut &'a [u8], tag: u8) -> Result<&'a [u8], Damaged> {
        const BAD: Damaged = Damaged("label set is not in canonical form");
        let mut cursor = crate::codec::varint::Cursor::new(rest);
        if cursor.u8().map_err(|_| BAD)? != tag {
            return Err(BAD);
        }
        let field = cursor.uvstr().map_err(|_| BAD)?;
        let used = rest.len() - cursor.remaining();
        *rest = &rest[used..];
        Ok(field)
    }
}

impl<'a> Iterator for CanonicalLabels<'a> {
    type Item = Result<(&'a str, &'a str), Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Damaged("label is not UTF-8"));
        let label = Self::field(&mut self.rest, 0x0a).and_then(|mut label| {
            let name = Self::field(&mut label, 0x0a)?;
            let value = Self::field(&mut label, 0x12)?;
            Ok((text(name)?, text(value)?))
        });
        if label.is_err() {
            self.rest = &[];
        }
        Some(label)
    }
}

/// Append one label in canonical form.
pub fn put_canonical(out: &mut Vec<u8>, name: &str, value: &str) {
    use crate::codec::varint::{put_uvarint, put_uvstr};
    let field = |s: &str| 1 + uvarint_len(s.len() as u64) + s.len();
    out.push(0x0a);
    put_uvarint(out, (field(name) + field(value)) as u64);
    out.push(0x0a);
    put_uvstr(out, name.as_bytes());
    out.push(0x12);
    put_uvstr(out, value.as_bytes());
}

fn uvarint_len(v: u64) -> usize {
    (64 - (v | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_form_round_trips_and_damage_is_an_error() {
        let long = "v".repeat(300);
        let mut bytes = Vec::new();
        put_canonical(&mut bytes, "__name__", "up");
        put_canonical(&mut bytes, "job", &long);
        let got: Result<Vec<_>, _> = CanonicalLabels::new(&bytes).collect();
        assert_eq!(got.unwrap(), [("__name__", "up"), ("job", long.as_str())]);
        for cut in 1..bytes.len() {
            let got: Result<Vec<_>, _> = CanonicalLabels::new(&bytes[..cut]).collect();
            assert!(got.is_err() || got.unwrap().len() == 1);
        }
    }

    #[test]
    fn pairs_know_their_series() {
        let mut index = LabelIndex::new([7; 32]);
        let rows: Vec<Vec<(String, String)>> = (0..50)
            .map(|i| {
                vec![
                    ("__name__".into(), format!("m{}", i % 3)),
                    ("pod".into(), format!("p{i}")),
                ]
            })
            .collect();
        for row in &rows {
            index.push(row.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        }
        let name = index.find_name("__name__").unwrap();
        let pair = index.find_pair(name, "m1").unwrap();
        let want: Vec<u32> = (0..50).filter(|i| i % 3 == 1).collect();
        assert_eq!(index.series_of(pair), want);
        assert_eq!(
            index.labels(7).collect::<Vec<_>>(),
            [("__name__", "m1"), ("pod", "p7")]
        );
        let pod = index.find_name("pod").unwrap();
        assert_eq!(index.pairs_of(pod).len(), 50);
        assert!(index.find_pair(pod, "m1").is_none());
    }
}

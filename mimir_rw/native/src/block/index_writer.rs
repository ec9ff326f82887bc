//! Writes an index as Prometheus does: symbols, series as they come, then postings and their table.
//!
//! In memory: the symbols, 4 bytes for each label of each series (which label pair it is), 4 bytes for each series
//! (its id), and a table of the label pairs. Postings are made at the end, of so many label pairs at a time as
//! `BATCH_IDS` allows: a pass over the labels of all series for each batch.

use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;
use std::path::Path;

use super::BlockError;
use super::layout::{INDEX_MAGIC, INDEX_VERSION, SERIES_ALIGN, Toc};
use super::postings;
use super::series::{self, ChunkMeta};
use super::writer::Output;
use crate::codec::varint::{put_uvarint, put_uvstr};

/// Ids of postings held at once.
const BATCH_IDS: usize = 4 << 20;

fn order(what: impl Into<String>) -> BlockError {
    BlockError::Order(what.into())
}

/// The symbols: ascending, "" first.
#[derive(Default)]
struct Symbols {
    text: String,
    ends: Vec<usize>,
    lookup: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Symbols {
    fn new<'a>(symbols: impl Iterator<Item = &'a str>) -> Result<Self, BlockError> {
        let mut table = Symbols {
            ends: vec![0],
            ..Self::default()
        };
        for symbol in symbols {
            let last = (table.ends.len() - 1) as u32;
            match table.get(last) < symbol {
                true => {
                    table.text.push_str(symbol);
                    table.ends.push(table.text.len());
                }
                false if last == 0 && symbol.is_empty() => {}
                false => return Err(order(format!("symbol {symbol:?} is not in order"))),
            }
        }
        let count = u32::try_from(table.ends.len()).map_err(|_| order("too many symbols"))?;
        let mut lookup = HashTable::with_capacity(table.ends.len());
        for number in 0..count {
            let hash = table.hasher.hash_one(table.get(number));
            lookup.insert_unique(hash, number, |&n| table.hasher.hash_one(table.get(n)));
        }
        table.lookup = lookup;
        Ok(table)
    }

    fn get(&self, number: u32) -> &str {
        let number = number as usize;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[number]]
    }

    fn find(&self, symbol: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(symbol);
        self.lookup
            .find(hash, |&number| self.get(number) == symbol)
            .copied()
    }

    fn len(&self) -> u32 {
        self.ends.len() as u32
    }

    fn encode(&self) -> Result<Vec<u8>, BlockError> {
        let mut out = vec![0; 4];
        out.extend_from_slice(&self.len().to_be_bytes());
        for number in 0..self.len() {
            put_uvstr(&mut out, self.get(number).as_bytes());
        }
        let len = u32::try_from(out.len() - 4).map_err(|_| order("the symbols exceed 4 GiB"))?;
        out[..4].copy_from_slice(&len.to_be_bytes());
        let crc = crc32c::crc32c(&out[4..]);
        out.extend_from_slice(&crc.to_be_bytes());
        Ok(out)
    }
}

/// Label pairs in order of appearance.
#[derive(Default)]
struct Pairs {
    /// Name << 32 | value.
    keys: Vec<u64>,
    counts: Vec<u32>,
    lookup: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Pairs {
    fn add(&mut self, key: u64) -> u32 {
        let Pairs { keys, hasher, .. } = self;
        let slot = self.lookup.entry(
            hasher.hash_one(key),
            |&pair| keys[pair as usize] == key,
            |&pair| hasher.hash_one(keys[pair as usize]),
        );
        match slot {
            hashbrown::hash_table::Entry::Occupied(found) => *found.get(),
            hashbrown::hash_table::Entry::Vacant(free) => {
                let pair = keys.len() as u32;
                free.insert(pair);
                keys.push(key);
                self.counts.push(0);
                pair
            }
        }
    }
}

pub struct IndexWriter {
    out: Output,
    toc: Toc,
    symbols: Symbols,
    pairs: Pairs,
    /// Pairs of all series, one series after another, and how many each has.
    labels: Vec<u32>,
    label_counts: Vec<u16>,
    ids: Vec<u32>,
    last: Vec<(u32, u32)>,
    last_reference: u64,
    references: Vec<(u32, u32)>,
    body: Vec<u8>,
    /// `BATCH_IDS`; less in tests.
    pub(super) batch_ids: usize,
}

impl IndexWriter {
    /// symbols: ascending, distinct; "" is added.
    pub fn create<'a>(
        path: &Path,
        symbols: impl Iterator<Item = &'a str>,
    ) -> Result<Self, BlockError> {
        let symbols = Symbols::new(symbols)?;
        let mut out = Output::create(path)?;
        out.write(&INDEX_MAGIC)?;
        out.write(&[INDEX_VERSION])?;
        let mut toc = Toc {
            symbols: out.position(),
            ..Toc::default()
        };
        out.write(&symbols.encode()?)?;
        toc.series = out.position();
        Ok(IndexWriter {
            out,
            toc,
            symbols,
            pairs: Pairs::default(),
            labels: Vec::new(),
            label_counts: Vec::new(),
            ids: Vec::new(),
            last: Vec::new(),
            last_reference: 0,
            references: Vec::new(),
            body: Vec::new(),
            batch_ids: BATCH_IDS,
        })
    }

    pub fn series_count(&self) -> usize {
        self.ids.len()
    }

    /// See `BlockWriter::series`.
    pub fn series(
        &mut self,
        labels: &[(&str, &str)],
        chunks: &[ChunkMeta],
    ) -> Result<(), BlockError> {
        let mut references = std::mem::take(&mut self.references);
        references.clear();
        for &(name, value) in labels {
            let found = self.symbols.find(name).zip(self.symbols.find(value));
            let missing = || order(format!("{name}={value:?} is not among the symbols"));
            references.push(found.ok_or_else(missing)?);
        }
        let added = self.series_by_symbols(&references, chunks);
        self.references = references;
        added
    }

    /// The same with labels as numbers of symbols ("" is 0): they compare as the strings do.
    pub fn series_by_symbols(
        &mut self,
        labels: &[(u32, u32)],
        chunks: &[ChunkMeta],
    ) -> Result<(), BlockError> {
        self.check(labels, chunks)?;
        self.out.align(SERIES_ALIGN)?;
        let id = u32::try_from(self.out.position() / SERIES_ALIGN)
            .map_err(|_| order("the index exceeds 64 GiB"))?;
        self.body.clear();
        series::encode(labels, chunks, &mut self.body);
        let mut len = Vec::with_capacity(10);
        put_uvarint(&mut len, self.body.len() as u64);
        let crc = crc32c::crc32c(&self.body).to_be_bytes();
        self.body.extend_from_slice(&crc);
        self.out.write(&len)?;
        self.out.write(&self.body)?;
        self.ids.push(id);
        self.add_pairs(labels);
        self.last.clear();
        self.last.extend_from_slice(labels);
        Ok(())
    }

    fn check(&mut self, labels: &[(u32, u32)], chunks: &[ChunkMeta]) -> Result<(), BlockError> {
        let in_order = labels.windows(2).all(|pair| pair[0].0 < pair[1].0)
            && labels.iter().all(|label| label.0 > 0 && label.1 > 0)
            && labels
                .iter()
                .all(|label| label.0.max(label.1) < self.symbols.len());
        if labels.is_empty() || labels.len() > usize::from(u16::MAX) || !in_order {
            return Err(order("the labels of a series are not in order"));
        }
        if labels <= self.last.as_slice() {
            return Err(order("a series does not follow the one before it"));
        }
        let apart = chunks.windows(2).all(|pair| pair[0].maxt < pair[1].mint);
        if chunks.is_empty() || !apart || chunks.iter().any(|c| c.mint > c.maxt) {
            return Err(order("the chunks of a series are not in order"));
        }
        for chunk in chunks {
            if chunk.reference < self.last_reference {
                return Err(order("the references of chunks do not ascend"));
            }
            self.last_reference = chunk.reference;
        }
        Ok(())
    }

    /// Series come in families: most pairs equal those at the same place of the series before.
    fn add_pairs(&mut self, labels: &[(u32, u32)]) {
        let before = self.labels.len() - self.last.len();
        for (place, label) in labels.iter().enumerate() {
            let pair = match self.last.get(place) == Some(label) {
                true => self.labels[before + place],
                false => self
                    .pairs
                    .add(u64::from(label.0) << 32 | u64::from(label.1)),
            };
            self.pairs.counts[pair as usize] += 1;
            self.labels.push(pair);
        }
        self.label_counts.push(labels.len() as u16);
    }

    /// Write what follows the series; how many there are.
    pub fn finish(mut self) -> Result<u64, BlockError> {
        self.toc.label_indices = self.out.position();
        self.toc.postings = self.out.position();
        let mut order: Vec<u32> = (0..self.pairs.keys.len() as u32).collect();
        order.sort_unstable_by_key(|&pair| self.pairs.keys[pair as usize]);
        let mut offsets = Vec::with_capacity(order.len() + 1);
        let mut scratch = Vec::new();
        put_list(&mut self.out, &self.ids, &mut scratch, &mut offsets)?;
        let mut rest = order.as_slice();
        while !rest.is_empty() {
            let mut total = 0;
            let fits = |&&pair: &&u32| {
                total += self.pairs.counts[pair as usize] as usize;
                total <= self.batch_ids
            };
            let (batch, after) = rest.split_at(rest.iter().take_while(fits).count().max(1));
            self.put_batch(batch, &mut scratch, &mut offsets)?;
            rest = after;
        }
        self.toc.label_index_table = self.out.position();
        self.toc.postings_table = self.out.position();
        self.put_table(&order, &offsets)?;
        self.out.write(&self.toc.encode())?;
        self.out.finish()?;
        Ok(self.ids.len() as u64)
    }

    /// The lists of a batch of pairs, by a counting sort.
    fn put_batch(
        &mut self,
        batch: &[u32],
        scratch: &mut Vec<u8>,
        offsets: &mut Vec<u64>,
    ) -> Result<(), BlockError> {
        const ELSEWHERE: u32 = u32::MAX;
        let mut next = vec![ELSEWHERE; self.pairs.keys.len()];
        let mut total = 0u32;
        for &pair in batch {
            next[pair as usize] = total;
            total += self.pairs.counts[pair as usize];
        }
        let mut lists = vec![0u32; total as usize];
        let mut labels = self.labels.iter();
        for (&id, &count) in self.ids.iter().zip(&self.label_counts) {
            for &pair in labels.by_ref().take(usize::from(count)) {
                let place = &mut next[pair as usize];
                if *place != ELSEWHERE {
                    lists[*place as usize] = id;
                    *place += 1;
                }
            }
        }
        let mut rest = lists.as_slice();
        for &pair in batch {
            let (list, after) = rest.split_at(self.pairs.counts[pair as usize] as usize);
            put_list(&mut self.out, list, scratch, offsets)?;
            rest = after;
        }
        Ok(())
    }

    fn put_table(&mut self, pairs: &[u32], offsets: &[u64]) -> Result<(), BlockError> {
        let mut out = vec![0; 4];
        let count = u32::try_from(offsets.len()).map_err(|_| order("too many label pairs"))?;
        out.extend_from_slice(&count.to_be_bytes());
        let all = std::iter::once(("", ""));
        let texts = all.chain(pairs.iter().map(|&pair| {
            let key = self.pairs.keys[pair as usize];
            (
                self.symbols.get((key >> 32) as u32),
                self.symbols.get(key as u32),
            )
        }));
        for ((name, value), &offset) in texts.zip(offsets) {
            out.push(2);
            put_uvstr(&mut out, name.as_bytes());
            put_uvstr(&mut out, value.as_bytes());
            put_uvarint(&mut out, offset);
        }
        let len = u32::try_from(out.len() - 4).map_err(|_| order("the table exceeds 4 GiB"))?;
        out[..4].copy_from_slice(&len.to_be_bytes());
        let crc = crc32c::crc32c(&out[4..]);
        out.extend_from_slice(&crc.to_be_bytes());
        self.out.write(&out)
    }
}

fn put_list(
    out: &mut Output,
    ids: &[u32],
    scratch: &mut Vec<u8>,
    offsets: &mut Vec<u64>,
) -> Result<(), BlockError> {
    out.align(4)?;
    offsets.push(out.position());
    scratch.clear();
    postings::encode(ids, scratch);
    out.write(scratch)
}

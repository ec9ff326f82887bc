//! The postings offset table: label pairs, ascending, with where their lists of series are in the index.
//!
//! In memory: names, and of the values of each name every 32nd with its place in the table. A look-up searches those,
//! then reads 32 entries at most. A list ends where the next begins, the last one where the postings section does.

use std::ops::Range;

use super::BlockError;
use super::layout::{CRC_BYTES, SAMPLING};
use super::source::{Source, Stream};

pub struct PostingsTable {
    source: Source,
    names: Vec<Name>,
    /// Sampled values, one after another.
    values: String,
    samples: Vec<Sample>,
    /// Position of the first entry.
    start: u64,
    /// Position after the last entry.
    end: u64,
}

struct Name {
    name: Box<str>,
    values: u32,
    samples: Range<u32>,
    /// Position of the first entry of the next name, less `start`.
    end: u32,
    /// Where its lists are in the index: values of a name lie side by side.
    lists: Range<u64>,
}

#[derive(Clone, Copy)]
struct Sample {
    /// End of the value in `values`; it begins where that of the sample before ends.
    value_end: u32,
    /// Position in the table, less `start`.
    at: u32,
}

/// A postings list: bytes start..end of the index. Padding of up to 3 bytes may be at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListSpan {
    pub start: u64,
    pub end: u64,
}

impl ListSpan {
    /// How many series it has, about.
    pub fn series(&self) -> u64 {
        (self.end - self.start).saturating_sub(12) / 4
    }
}

struct Entry<'a> {
    name: &'a str,
    value: &'a str,
    offset: u64,
}

/// Read an entry and hand it to `each`.
fn entry<T>(
    stream: &mut Stream<'_>,
    scratch: &mut (String, String),
    each: impl FnOnce(Entry<'_>) -> T,
) -> Result<T, BlockError> {
    if stream.u8()? != 2 {
        return Err(stream.damaged("an entry of the postings table is not a label pair"));
    }
    scratch.0.clear();
    scratch.0.push_str(stream.text()?);
    scratch.1.clear();
    scratch.1.push_str(stream.text()?);
    let offset = stream.uvarint()?;
    Ok(each(Entry {
        name: &scratch.0,
        value: &scratch.1,
        offset,
    }))
}

impl PostingsTable {
    /// Read the table that begins at `at`, checking order and checksum. postings: where the lists are in the index.
    pub fn open(source: Source, at: u64, postings: Range<u64>) -> Result<Self, BlockError> {
        let mut stream = Stream::new(&*source, at, source.size());
        let len = u64::from(stream.be32()?);
        if len < 4 || len.saturating_add(CRC_BYTES) > stream.remaining() {
            return Err(stream.damaged("the postings table is longer than the file"));
        }
        let end = stream.position() + len;
        stream.start_crc();
        let count = stream.be32()?;
        let start = stream.position();
        // An entry takes 4 bytes at least.
        if u64::from(count) > (len - 4) / 4 {
            return Err(stream.damaged("the postings table has more entries than it can hold"));
        }
        let mut builder = Builder::new(start, postings);
        let mut scratch = (String::new(), String::new());
        for _ in 0..count {
            let at = stream.position();
            let added = entry(&mut stream, &mut scratch, |entry| builder.add(&entry, at))?;
            added.map_err(|what| stream.damaged(what))?;
            if stream.position() > end {
                return Err(stream.damaged("an entry reaches beyond the postings table"));
            }
        }
        if stream.position() != end {
            return Err(stream.damaged("the entries do not fill the postings table"));
        }
        let crc = stream.crc();
        if stream.be32()? != crc {
            return Err(stream.damaged("the checksum of the postings table differs"));
        }
        drop(stream);
        Ok(builder.finish(source, end))
    }

    pub fn memory_bytes(&self) -> usize {
        let names = |name: &Name| size_of::<Name>() + name.name.len();
        self.names.iter().map(names).sum::<usize>()
            + self.values.capacity()
            + self.samples.capacity() * size_of::<Sample>()
    }

    fn name(&self, name: &str) -> Option<&Name> {
        let at = self.names.binary_search_by(|n| (*n.name).cmp(name)).ok()?;
        Some(&self.names[at])
    }

    /// Names in order, without that of the list of all series.
    pub fn label_names(&self) -> impl Iterator<Item = &str> {
        let names = self.names.iter().map(|name| &*name.name);
        names.filter(|name| !name.is_empty())
    }

    /// How many values a name has.
    pub fn value_count(&self, name: &str) -> u32 {
        self.name(name).map_or(0, |name| name.values)
    }

    /// Where the lists of all values of a name are, side by side.
    pub fn lists_of(&self, name: &str) -> Option<ListSpan> {
        let lists = &self.name(name)?.lists;
        Some(ListSpan {
            start: lists.start,
            end: lists.end,
        })
    }

    /// The list of all series.
    pub fn all(&self) -> Option<ListSpan> {
        self.lists_of("")
    }

    fn sample_value(&self, sample: u32) -> &str {
        let start = match sample {
            0 => 0,
            n => self.samples[n as usize - 1].value_end,
        };
        &self.values[start as usize..self.samples[sample as usize].value_end as usize]
    }

    /// Values of a name from `from` on, ascending, with their lists, as long as `each` says true.
    pub fn values_from(
        &self,
        name: &str,
        from: &str,
        mut each: impl FnMut(&str, ListSpan) -> bool,
    ) -> Result<(), BlockError> {
        let Some(name) = self.name(name) else {
            return Ok(());
        };
        let mut stream = Stream::new(&*self.source, self.start, self.end);
        self.scan(&mut stream, name, from, &mut |value, span| {
            value < from || each(value, span)
        })
    }

    /// The lists of those of `values` (ascending) that a name has.
    pub fn lookup(
        &self,
        name: &str,
        values: &[String],
        mut each: impl FnMut(&str, ListSpan),
    ) -> Result<(), BlockError> {
        let Some(name) = self.name(name) else {
            return Ok(());
        };
        let mut stream = Stream::new(&*self.source, self.start, self.end);
        for wanted in values {
            self.scan(&mut stream, name, wanted, &mut |value, span| {
                if value == wanted {
                    each(value, span);
                }
                value < wanted.as_str()
            })?;
        }
        Ok(())
    }

    /// Entries of a name from the last sampled one that is not behind `from`.
    fn scan(
        &self,
        stream: &mut Stream<'_>,
        name: &Name,
        from: &str,
        each: &mut dyn FnMut(&str, ListSpan) -> bool,
    ) -> Result<(), BlockError> {
        let (mut low, mut high) = (name.samples.start, name.samples.end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.sample_value(middle) <= from {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        let first = low.saturating_sub(1).max(name.samples.start);
        let mut scratch = (String::new(), String::new());
        let end = self.start + u64::from(name.end);
        stream.seek(self.start + u64::from(self.samples[first as usize].at));
        let mut before: Option<(String, u64)> = None;
        while stream.position() < end {
            let mut wanted = true;
            entry(stream, &mut scratch, |entry| {
                if let Some((value, start)) = &before {
                    let span = ListSpan {
                        start: *start,
                        end: entry.offset.max(*start),
                    };
                    wanted = each(value, span);
                }
                let (value, offset) = before.get_or_insert_default();
                value.clear();
                value.push_str(entry.value);
                *offset = entry.offset;
            })?;
            if !wanted {
                return Ok(());
            }
        }
        if let Some((value, start)) = before {
            let end = name.lists.end.max(start);
            each(&value, ListSpan { start, end });
        }
        Ok(())
    }
}

struct Builder {
    names: Vec<Name>,
    values: String,
    samples: Vec<Sample>,
    start: u64,
    postings: Range<u64>,
    last_value: String,
    last_offset: u64,
}

impl Builder {
    fn new(start: u64, postings: Range<u64>) -> Self {
        Builder {
            names: Vec::new(),
            values: String::new(),
            samples: Vec::new(),
            start,
            last_offset: postings.start,
            postings,
            last_value: String::new(),
        }
    }

    fn add(&mut self, entry: &Entry<'_>, at: u64) -> Result<(), &'static str> {
        // At least 12 bytes: length, count, checksum.
        if entry.offset < self.last_offset || entry.offset.saturating_add(12) > self.postings.end {
            return Err("a postings list is not where lists are");
        }
        let at = u32::try_from(at - self.start).map_err(|_| "the postings table is too long")?;
        let known = self.names.last().map(|name| (*name.name).cmp(entry.name));
        match known {
            Some(std::cmp::Ordering::Equal) if entry.value <= self.last_value.as_str() => {
                return Err("the values of a label do not ascend");
            }
            Some(std::cmp::Ordering::Equal) => {}
            Some(std::cmp::Ordering::Greater) => return Err("the names of labels do not ascend"),
            _ => self.add_name(entry, at),
        }
        if let Some(name) = self.names.last_mut() {
            if name.values.is_multiple_of(SAMPLING as u32) {
                self.values.push_str(entry.value);
                self.samples.push(Sample {
                    value_end: self.values.len() as u32,
                    at,
                });
                name.samples.end += 1;
            }
            name.values += 1;
        }
        self.last_value.clear();
        self.last_value.push_str(entry.value);
        self.last_offset = entry.offset;
        Ok(())
    }

    fn add_name(&mut self, entry: &Entry<'_>, at: u32) {
        if let Some(before) = self.names.last_mut() {
            before.end = at;
            before.lists.end = entry.offset;
        }
        let sample = self.samples.len() as u32;
        self.names.push(Name {
            name: entry.name.into(),
            values: 0,
            samples: sample..sample,
            end: 0,
            lists: entry.offset..self.postings.end,
        });
    }

    fn finish(mut self, source: Source, end: u64) -> PostingsTable {
        if let Some(last) = self.names.last_mut() {
            last.end = (end - self.start) as u32;
        }
        self.names.shrink_to_fit();
        self.samples.shrink_to_fit();
        self.values.shrink_to_fit();
        PostingsTable {
            source,
            names: self.names,
            values: self.values,
            samples: self.samples,
            start: self.start,
            end,
        }
    }
}

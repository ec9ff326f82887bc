//! The symbol table of an index: strings by number. In memory: where every 32nd begins.

use super::BlockError;
use super::layout::{CRC_BYTES, SAMPLING};
use super::source::{Source, Stream};

pub struct SymbolTable {
    source: Source,
    count: u32,
    /// Positions of strings 0, 32, 64, ...
    sampled: Vec<u64>,
    /// After the last string.
    end: u64,
}

impl SymbolTable {
    /// Read the table that begins at `at`, checking its checksum.
    pub fn open(source: Source, at: u64) -> Result<Self, BlockError> {
        let mut stream = Stream::new(&*source, at, source.size());
        let len = u64::from(stream.be32()?);
        if len < 4 || len.saturating_add(CRC_BYTES) > stream.remaining() {
            return Err(stream.damaged("the symbol table is longer than the file"));
        }
        let end = stream.position() + len;
        stream.start_crc();
        let count = stream.be32()?;
        // A string takes a byte at least.
        if u64::from(count) > len - 4 {
            return Err(stream.damaged("the symbol table has more strings than it can hold"));
        }
        let mut sampled = Vec::with_capacity(count as usize / SAMPLING + 1);
        for number in 0..count as usize {
            if number.is_multiple_of(SAMPLING) {
                sampled.push(stream.position());
            }
            let len = stream.uvarint()?;
            if len > end.saturating_sub(stream.position()) {
                return Err(stream.damaged("a symbol reaches beyond the table"));
            }
            stream.bytes(len)?;
        }
        if stream.position() != end {
            return Err(stream.damaged("the symbols do not fill their table"));
        }
        let crc = stream.crc();
        if stream.be32()? != crc {
            return Err(stream.damaged("the checksum of the symbol table differs"));
        }
        Ok(SymbolTable {
            source,
            count,
            sampled,
            end,
        })
    }

    pub fn len(&self) -> usize {
        self.count as usize
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Position after the last string.
    pub fn end(&self) -> u64 {
        self.end
    }

    pub fn memory_bytes(&self) -> usize {
        self.sampled.capacity() * 8
    }

    /// All strings in order.
    pub fn iter(&self) -> SymbolIter<'_> {
        let start = self.sampled.first().copied().unwrap_or(self.end);
        SymbolIter {
            stream: Stream::new(&*self.source, start, self.end),
            left: self.count,
        }
    }

    /// Hand the strings of numbers, which ascend, to `each`.
    pub fn resolve(
        &self,
        numbers: &[u32],
        mut each: impl FnMut(u32, &str),
    ) -> Result<(), BlockError> {
        let mut stream = Stream::new(&*self.source, self.end, self.end);
        let mut next = u32::MAX;
        for &number in numbers {
            if number >= self.count {
                return Err(stream.damaged(format_args!("there is no symbol {number}")));
            }
            let block = number / SAMPLING as u32;
            if next > number || next / (SAMPLING as u32) < block {
                stream.seek(self.sampled[block as usize]);
                next = block * SAMPLING as u32;
            }
            while next < number {
                let len = stream.uvarint()?;
                stream.bytes(len)?;
                next += 1;
            }
            each(number, stream.text()?);
            next += 1;
        }
        Ok(())
    }
}

pub struct SymbolIter<'a> {
    stream: Stream<'a>,
    left: u32,
}

impl SymbolIter<'_> {
    /// The next string, without a copy.
    pub fn next_text(&mut self) -> Result<Option<&str>, BlockError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.stream.text().map(Some)
    }
}

impl Iterator for SymbolIter<'_> {
    type Item = Result<String, BlockError>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.next_text().map(|text| text.map(str::to_owned));
        text.transpose()
    }
}

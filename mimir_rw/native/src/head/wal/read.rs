//! Reading a segment record by record, in bounded memory (wal.md section 4).

use std::io::{self, Read};

use crc32c::crc32c;

use super::frame::{FIRST, FULL, HEADER_BYTES, LAST, MIDDLE, PAGE_BYTES, SNAPPY, ZSTD};

/// Largest record that a compressed one may claim to be.
const RECORD_BYTES_MAX: usize = 256 << 20;

#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    Record(&'a [u8]),
    /// The end. `torn` bytes behind the last whole record belong to one that was never finished.
    End {
        torn: u64,
    },
    /// The bytes after the last whole record are not a log.
    Corrupt(&'static str),
    /// A record that this reader cannot read, though it is whole.
    Unsupported(&'static str),
}

pub struct SegmentReader {
    input: Box<dyn Read + Send>,
    page: Vec<u8>,
    pos: usize,
    /// Offset of the page in the segment.
    page_start: u64,
    record: Vec<u8>,
    plain: Vec<u8>,
    /// Compression bits of the record whose fragments are being joined.
    open: Option<u8>,
    good_end: u64,
}

impl SegmentReader {
    pub fn new(input: Box<dyn Read + Send>) -> Self {
        SegmentReader {
            input,
            page: Vec::new(),
            pos: 0,
            page_start: 0,
            record: Vec::new(),
            plain: Vec::new(),
            open: None,
            good_end: 0,
        }
    }

    /// Offset behind the last whole record (and the padding that follows it).
    pub fn good_end(&self) -> u64 {
        self.good_end
    }

    /// Bytes read so far.
    pub fn offset(&self) -> u64 {
        self.page_start + self.pos as u64
    }

    pub fn step(&mut self) -> io::Result<Step<'_>> {
        self.record.clear();
        loop {
            if self.pos == self.page.len() && !self.next_page()? {
                return Ok(self.end());
            }
            if self.page[self.pos] == 0 {
                if self.page[self.pos..].iter().any(|&b| b != 0) {
                    return Ok(Step::Corrupt("page padding is not zero"));
                }
                self.pos = self.page.len();
                self.mark_good();
                continue;
            }
            match self.fragment() {
                Fragment::Torn => {
                    self.pos = self.page.len();
                    return Ok(self.end());
                }
                Fragment::Bad(why) => return Ok(Step::Corrupt(why)),
                Fragment::More => {}
                Fragment::Whole(compression) => {
                    self.mark_good();
                    return Ok(self.deliver(compression));
                }
            }
        }
    }

    fn end(&self) -> Step<'static> {
        Step::End {
            torn: self.offset() - self.good_end,
        }
    }

    fn mark_good(&mut self) {
        if self.open.is_none() {
            self.good_end = self.offset();
        }
    }

    /// Load the next page, which is short at the end of the file; false when there is none.
    fn next_page(&mut self) -> io::Result<bool> {
        self.page_start += self.page.len() as u64;
        self.pos = 0;
        self.page.resize(PAGE_BYTES, 0);
        let mut have = 0;
        while have < PAGE_BYTES {
            match self.input.read(&mut self.page[have..]) {
                Ok(0) => break,
                Ok(n) => have += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.page.truncate(have);
        Ok(have > 0)
    }

    fn fragment(&mut self) -> Fragment {
        let rest = &self.page[self.pos..];
        let at_file_end = self.page.len() < PAGE_BYTES;
        let Some((header, body)) = rest.split_first_chunk::<HEADER_BYTES>() else {
            return Fragment::cut_short(at_file_end);
        };
        let kind = header[0] & 7;
        let compression = header[0] & (SNAPPY | ZSTD);
        if header[0] != kind | compression || kind > LAST || compression == SNAPPY | ZSTD {
            return Fragment::Bad("unknown fragment type");
        }
        let len = usize::from(u16::from_be_bytes([header[1], header[2]]));
        if self.pos + HEADER_BYTES + len > PAGE_BYTES {
            return Fragment::Bad("fragment is longer than its page");
        }
        let Some(payload) = body.get(..len) else {
            return Fragment::cut_short(at_file_end);
        };
        if crc32c(payload).to_be_bytes() != header[3..] {
            return Fragment::Bad("checksum mismatch");
        }
        if (kind == FULL || kind == FIRST) != self.open.is_none() {
            return Fragment::Bad("fragments out of sequence");
        }
        if self.open.is_some_and(|before| before != compression) {
            return Fragment::Bad("fragments of one record differ in compression");
        }
        self.record.extend_from_slice(payload);
        self.pos += HEADER_BYTES + len;
        if kind == FIRST || kind == MIDDLE {
            self.open = Some(compression);
            return Fragment::More;
        }
        self.open = None;
        Fragment::Whole(compression)
    }

    fn deliver(&mut self, compression: u8) -> Step<'_> {
        match compression {
            0 => Step::Record(&self.record),
            SNAPPY => self.decompress(),
            _ => Step::Unsupported("record is compressed with zstd"),
        }
    }

    fn decompress(&mut self) -> Step<'_> {
        const BAD: Step<'static> = Step::Corrupt("snappy block does not decode");
        let Ok(len) = snap::raw::decompress_len(&self.record) else {
            return BAD;
        };
        // A snappy byte stands for at most some 21; a claim beyond that is a lie.
        if len > RECORD_BYTES_MAX || len / 64 > self.record.len() {
            return BAD;
        }
        self.plain.resize(len, 0);
        match snap::raw::Decoder::new().decompress(&self.record, &mut self.plain) {
            Ok(n) if n == len => Step::Record(&self.plain),
            _ => BAD,
        }
    }
}

enum Fragment {
    More,
    Whole(u8),
    /// The file ends inside it.
    Torn,
    Bad(&'static str),
}

impl Fragment {
    fn cut_short(at_file_end: bool) -> Self {
        if at_file_end {
            Fragment::Torn
        } else {
            Fragment::Bad("fragment crosses its page")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::put_record;
    use super::*;

    fn read_all(bytes: &[u8]) -> (Vec<Vec<u8>>, Result<u64, &'static str>, u64) {
        let mut reader = SegmentReader::new(Box::new(io::Cursor::new(bytes.to_vec())));
        let mut records = Vec::new();
        loop {
            match reader.step().unwrap() {
                Step::Record(r) => records.push(r.to_vec()),
                Step::End { torn } => return (records, Ok(torn), reader.good_end()),
                Step::Corrupt(why) | Step::Unsupported(why) => {
                    return (records, Err(why), reader.good_end());
                }
            }
        }
    }

    fn sample_log(compress: bool) -> (Vec<Vec<u8>>, Vec<u8>, Vec<usize>) {
        let lens = [10, 0, 32_700, 80, 100_000, 5, 32_754];
        let records: Vec<Vec<u8>> = lens
            .iter()
            .map(|&n| (0..n).map(|i| (i % 251) as u8 + 1).collect())
            .collect();
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for record in &records {
            put_record(&mut bytes, 0, record, compress);
            ends.push(bytes.len());
        }
        (records, bytes, ends)
    }

    #[test]
    fn what_is_framed_is_read() {
        for compress in [false, true] {
            let (records, bytes, _) = sample_log(compress);
            let (got, end, good) = read_all(&bytes);
            assert_eq!((got, end, good), (records, Ok(0), bytes.len() as u64));
        }
    }

    #[test]
    fn a_cut_anywhere_gives_the_whole_records_before_it() {
        let (records, bytes, ends) = sample_log(false);
        let near =
            |cut: usize| ends.iter().any(|&e| cut.abs_diff(e) < 20) || cut.is_multiple_of(997);
        for cut in (0..bytes.len()).filter(|&c| near(c) || c % PAGE_BYTES < 9) {
            let (got, end, good) = read_all(&bytes[..cut]);
            let whole = ends.iter().filter(|&&e| e <= cut).count();
            assert_eq!(got, records[..whole], "cut at {cut}");
            assert!(good as usize <= cut);
            assert_eq!(end, Ok(cut as u64 - good), "cut at {cut}");
        }
    }

    #[test]
    fn damage_keeps_the_records_before_it() {
        let (records, bytes, ends) = sample_log(true);
        for at in (0..bytes.len()).step_by(61) {
            let mut bad = bytes.clone();
            bad[at] ^= 0x40;
            let (got, _, good) = read_all(&bad);
            let before = ends.iter().filter(|&&e| e <= at).count();
            assert!(
                got.len() >= before && good as usize >= ends[..before].last().copied().unwrap_or(0)
            );
            assert_eq!(got[..before], records[..before]);
        }
    }

    #[test]
    fn a_snappy_bomb_is_damage() {
        let mut bomb = vec![0xff, 0xff, 0xff, 0xff, 0x0f];
        bomb.extend_from_slice(&[0; 10]);
        let mut bytes = vec![FULL | SNAPPY, 0, bomb.len() as u8];
        bytes.extend_from_slice(&crc32c(&bomb).to_be_bytes());
        bytes.extend_from_slice(&bomb);
        assert_eq!(read_all(&bytes).1, Err("snappy block does not decode"));
    }
}

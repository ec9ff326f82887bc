//! `LabelFrame` between processes.
//!
//! ```text
//! version u8 (1)
//! uvarint rows, uvarint columns
//! per column, ascending by name: name after its uvarint length; uvarint entries, the uvarint length of each, their text;
//!     u8 width (1, 2 or 4); per row an integer LE of that width: 0 = no label, else 1 + number of the entry
//! ```
//!
//! Entries ascend, and only those in use are sent: their numbers are their ranks, so frames that were read sort, compare
//! and merge by integers alone. What is decoded takes at most four times the bytes that it came in, and dictionaries'
//! ranks.

use std::ops::Range;
use std::sync::Arc;

use super::dictionary::Dictionary;
use super::frame::{Column, LabelFrame};
use crate::codec::Damaged;
use crate::codec::varint::{Cursor, put_uvarint, put_uvstr};

const VERSION: u8 = 1;
/// Entries per row of a part below which a table over the whole dictionary is worth its zeroing.
const DENSE: usize = 8;

/// Append the encoding of some rows of a frame.
pub fn encode(frame: &LabelFrame, rows: Range<usize>, out: &mut Vec<u8>) {
    out.push(VERSION);
    put_uvarint(out, rows.len() as u64);
    let used: Vec<(&Column, Used)> = frame
        .columns()
        .iter()
        .map(|column| (column, Used::new(column, rows.clone())))
        .filter(|(_, used)| !used.entries.is_empty())
        .collect();
    put_uvarint(out, used.len() as u64);
    for (column, used) in used {
        put_uvstr(out, column.name.as_bytes());
        put_uvarint(out, used.entries.len() as u64);
        let entries = || {
            used.entries
                .iter()
                .map(|&code| column.dictionary.get(code as usize))
        };
        for entry in entries() {
            put_uvarint(out, entry.len() as u64);
        }
        for entry in entries() {
            out.extend_from_slice(entry.as_bytes());
        }
        let codes = column.codes[rows.clone()].iter();
        let places =
            codes.map(|&code| usize::try_from(code).map_or(0, |code| used.place(column, code)));
        match used.entries.len() {
            ..=0xff => {
                out.push(1);
                out.extend(places.map(|place| place as u8));
            }
            0x100..=0xffff => {
                out.push(2);
                places.for_each(|place| out.extend_from_slice(&(place as u16).to_le_bytes()));
            }
            _ => {
                out.push(4);
                places.for_each(|place| out.extend_from_slice(&place.to_le_bytes()));
            }
        }
    }
}

/// The entries of a column that some rows use.
struct Used {
    /// Codes by rank.
    entries: Vec<u32>,
    /// 1 + place in `entries` per code, where the dictionary is small.
    places: Vec<u32>,
}

impl Used {
    fn new(column: &Column, rows: Range<usize>) -> Self {
        let ranks = column.dictionary.ranks();
        let dense = ranks.len() <= DENSE * (rows.len() + 8);
        let mut places = vec![0; if dense { ranks.len() } else { 0 }];
        let mut entries = Vec::new();
        let mut last = -1;
        for &code in &column.codes[rows] {
            if code < 0 || code == last {
                continue;
            }
            last = code;
            if !dense || std::mem::replace(&mut places[code as usize], 1) == 0 {
                entries.push(code as u32);
            }
        }
        entries.sort_by_key(|&code| ranks[code as usize]);
        entries.dedup();
        if dense {
            for (place, &code) in (1..).zip(&entries) {
                places[code as usize] = place;
            }
        }
        Used { entries, places }
    }

    fn place(&self, column: &Column, code: usize) -> u32 {
        if let Some(&place) = self.places.get(code) {
            return place;
        }
        let ranks = column.dictionary.ranks();
        1 + self
            .entries
            .partition_point(|&other| ranks[other as usize] < ranks[code]) as u32
    }
}

/// Read a frame; the cursor is then behind it.
pub fn decode(cursor: &mut Cursor<'_>) -> Result<LabelFrame, Damaged> {
    if cursor.u8()? != VERSION {
        return Err(Damaged("unknown version of a label frame"));
    }
    let rows = cursor.uvarint()?;
    let rows =
        i32::try_from(rows).map_err(|_| Damaged("a label frame has less than 2^31 rows"))? as usize;
    let count = cursor.uvarint()?;
    let mut columns: Vec<(Arc<str>, Arc<Dictionary>, Vec<i32>)> = Vec::new();
    for _ in 0..count {
        let name = text(cursor.uvstr()?)?;
        if columns.last().is_some_and(|before| &*before.0 >= name) {
            return Err(Damaged("label names of a frame do not ascend"));
        }
        let dictionary = read_dictionary(cursor)?;
        let codes = read_codes(cursor, rows, dictionary.len())?;
        columns.push((name.into(), Arc::new(dictionary), codes));
    }
    Ok(LabelFrame::from_columns(rows, columns))
}

/// A frame and nothing else.
pub fn decode_all(data: &[u8]) -> Result<LabelFrame, Damaged> {
    let mut cursor = Cursor::new(data);
    let frame = decode(&mut cursor)?;
    match cursor.is_empty() {
        true => Ok(frame),
        false => Err(Damaged("bytes after the end of a label frame")),
    }
}

fn text(bytes: &[u8]) -> Result<&str, Damaged> {
    std::str::from_utf8(bytes).map_err(|_| Damaged("label is not UTF-8"))
}

fn read_dictionary(cursor: &mut Cursor<'_>) -> Result<Dictionary, Damaged> {
    let count = usize::try_from(cursor.uvarint()?).unwrap_or(usize::MAX);
    // Each has a length and at least one byte.
    if count > cursor.remaining() / 2 {
        return Err(Damaged(
            "a label dictionary says that it has more entries than it can hold",
        ));
    }
    let mut offsets = Vec::with_capacity(count + 1);
    let mut end = 0u32;
    offsets.push(end);
    for _ in 0..count {
        let len = u32::try_from(cursor.uvarint()?).unwrap_or(u32::MAX);
        end = match len {
            0 => return Err(Damaged("a label dictionary has an empty entry")),
            len => end.saturating_add(len),
        };
        offsets.push(end);
    }
    if end == u32::MAX {
        return Err(Damaged("a label dictionary holds less than 4 GiB"));
    }
    let entries = text(cursor.bytes(end as usize)?)?;
    Dictionary::from_ascending(entries.to_owned(), offsets)
        .ok_or(Damaged("the entries of a label dictionary do not ascend"))
}

fn read_codes(cursor: &mut Cursor<'_>, rows: usize, entries: usize) -> Result<Vec<i32>, Damaged> {
    let width = cursor.u8()?;
    if !matches!(width, 1 | 2 | 4) {
        return Err(Damaged("unknown width of label codes"));
    }
    let bytes = cursor.bytes(rows.saturating_mul(usize::from(width)))?;
    let codes: Vec<i32> = match width {
        1 => bytes.iter().map(|&code| i32::from(code) - 1).collect(),
        2 => {
            let codes = bytes.as_chunks::<2>().0.iter();
            codes
                .map(|code| i32::from(u16::from_le_bytes(*code)) - 1)
                .collect()
        }
        _ => {
            let codes = bytes.as_chunks::<4>().0.iter();
            codes
                .map(|code| i32::from_le_bytes(*code).wrapping_sub(1))
                .collect()
        }
    };
    let fits = |code: &i32| *code >= -1 && (*code as i64) < entries as i64;
    match codes.iter().fold(true, |all, code| all & fits(code)) {
        true => Ok(codes),
        false => Err(Damaged("a label code is not in its dictionary")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::FrameBuilder;
    use super::*;

    fn frame(rows: usize, values: usize) -> LabelFrame {
        let mut builder = FrameBuilder::default();
        for row in 0..rows {
            builder.label("__name__", "up");
            builder.label("pod", &format!("p{}", row * 7919 % values));
            if row % 3 == 0 {
                builder.label("z", &format!("é{}", row % 2));
            }
            builder.end_row();
        }
        builder.finish()
    }

    fn rows_of(frame: &LabelFrame, rows: Range<usize>) -> Vec<Vec<(String, String)>> {
        let row = |row| {
            frame
                .labels(row)
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
                .collect()
        };
        rows.map(row).collect()
    }

    #[test]
    fn every_width_and_any_rows_round_trip() {
        for (rows, values) in [(0, 1), (1, 1), (255, 255), (300, 300), (70_000, 66_000)] {
            let frame = frame(rows, values);
            for range in [
                0..rows,
                rows / 3..rows / 2,
                rows / 2..rows / 2,
                rows.saturating_sub(3)..rows,
            ] {
                let mut data = Vec::new();
                encode(&frame, range.clone(), &mut data);
                let got = decode_all(&data).unwrap();
                assert_eq!(rows_of(&got, 0..got.len()), rows_of(&frame, range));
                let dictionaries = got.columns().iter().map(|column| &column.dictionary);
                assert!(dictionaries.clone().all(|d| d.iter().is_sorted()));
            }
        }
        let mut data = Vec::new();
        encode(&LabelFrame::empty_rows(5), 0..5, &mut data);
        assert_eq!(decode_all(&data).unwrap().len(), 5);
    }

    #[test]
    fn every_cut_and_flipped_bit_is_a_frame_or_an_error() {
        let mut data = Vec::new();
        encode(&frame(20, 20), 0..20, &mut data);
        for cut in 0..data.len() {
            assert!(decode_all(&data[..cut]).is_err(), "cut at {cut}");
        }
        for bit in 0..data.len() * 8 {
            let mut bad = data.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            if let Ok(frame) = decode_all(&bad) {
                let mut again = Vec::new();
                encode(&frame, 0..frame.len(), &mut again);
                let got = decode_all(&again).unwrap();
                assert_eq!(rows_of(&got, 0..got.len()), rows_of(&frame, 0..frame.len()));
            }
        }
    }
}

//! Framing of records into pages (wal.md sections 2 and 3).

use crc32c::crc32c;

pub const PAGE_BYTES: usize = 32 * 1024;
pub const HEADER_BYTES: usize = 7;

pub const FULL: u8 = 1;
pub const FIRST: u8 = 2;
pub const MIDDLE: u8 = 3;
pub const LAST: u8 = 4;
pub const SNAPPY: u8 = 8;
pub const ZSTD: u8 = 16;

/// Upper bound of the bytes that a record of `len` takes, padding included.
pub fn framed_bytes_max(len: usize) -> usize {
    len + HEADER_BYTES * (len / (PAGE_BYTES - HEADER_BYTES) + 3)
}

/// Append `record` to `out`, whose first byte will stand at `start` in its segment.
pub fn put_record(out: &mut Vec<u8>, start: u64, record: &[u8], compress: bool) {
    let compressed = compress.then(|| snap::raw::Encoder::new().compress_vec(record));
    match compressed {
        Some(Ok(small)) if small.len() < record.len() => fragments(out, start, &small, SNAPPY),
        _ => fragments(out, start, record, 0),
    }
}

fn fragments(out: &mut Vec<u8>, start: u64, record: &[u8], compression: u8) {
    let mut rest = record;
    let mut first = true;
    loop {
        let page_left = PAGE_BYTES - ((start as usize + out.len()) % PAGE_BYTES);
        // A fragment needs its header and, but for an empty record, a byte of payload.
        if page_left < HEADER_BYTES + usize::from(!rest.is_empty()) {
            out.resize(out.len() + page_left, 0);
            continue;
        }
        let n = rest.len().min(page_left - HEADER_BYTES);
        let (payload, after) = rest.split_at(n);
        let kind = match (first, after.is_empty()) {
            (true, true) => FULL,
            (true, false) => FIRST,
            (false, false) => MIDDLE,
            (false, true) => LAST,
        };
        out.push(kind | compression);
        out.extend_from_slice(&(n as u16).to_be_bytes());
        out.extend_from_slice(&crc32c(payload).to_be_bytes());
        out.extend_from_slice(payload);
        rest = after;
        first = false;
        if rest.is_empty() {
            return;
        }
    }
}

/// Zeros that fill the page which ends at or after `offset`.
pub fn page_padding(offset: u64) -> usize {
    let used = offset as usize % PAGE_BYTES;
    if used == 0 { 0 } else { PAGE_BYTES - used }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::hex;
    use super::*;

    #[test]
    fn frames_of_the_format_paper() {
        let series = hex(
            "01 00 00 00 00 00 00 00 01 02 08 5f 5f 6e 61 6d 65 5f 5f 02 75 70 03 6a 6f 62 01 61",
        );
        let mut out = Vec::new();
        put_record(&mut out, 0, &series, false);
        assert_eq!(out[..7], hex("01 00 1c e2 13 77 03"));
        assert_eq!(out[7..], series);
    }

    #[test]
    fn a_record_is_padded_past_a_page_end_without_room() {
        let mut out = Vec::new();
        put_record(&mut out, PAGE_BYTES as u64 - 7, &[9], false);
        assert_eq!(out[..7], [0; 7]);
        assert_eq!(out[7], FULL);
        let mut out = Vec::new();
        put_record(&mut out, PAGE_BYTES as u64 - 7, &[], false);
        assert_eq!(out, [FULL, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn the_bound_holds() {
        for len in [0, 1, 100, 32_761, 32_762, 200_000] {
            for start in [0, 1, 32_760, 32_761, 32_767] {
                let mut out = Vec::new();
                put_record(&mut out, start, &vec![5; len], false);
                assert!(
                    out.len() <= framed_bytes_max(len),
                    "len {len} start {start}"
                );
            }
        }
    }
}

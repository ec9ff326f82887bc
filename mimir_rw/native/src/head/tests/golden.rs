//! Histograms as a real Prometheus 3.14 logs and stores them; tests/golden/histograms/record.py recorded the files.

use std::io::Cursor;

use super::replicas::snapshot;
use super::*;
use crate::codec::histogram::kind::{Float, Integer};
use crate::codec::histogram::tests::encoded_again;
use crate::codec::varint::Cursor as Bytes;
use crate::head::wal::read::{SegmentReader, Step};
use crate::head::wal::record::tests::Collected;
use crate::head::wal::record::{self, HistogramKind};
use crate::series_set::runs::{RunSource, XOR};

const WAL: &[u8] = include_bytes!("../../../../../tests/golden/histograms/wal.bin");
const WBL: &[u8] = include_bytes!("../../../../../tests/golden/histograms/wbl.bin");
const CHUNKS: &[u8] = include_bytes!("../../../../../tests/golden/histograms/chunks.bin");

/// Encoding and bytes of each chunk of the segment.
fn chunks() -> Vec<(u8, &'static [u8])> {
    let mut rest = Bytes::new(&CHUNKS[8..]);
    let mut found = Vec::new();
    while !rest.is_empty() {
        let len = rest.uvarint().unwrap() as usize;
        let encoding = rest.u8().unwrap();
        found.push((encoding, rest.bytes(len).unwrap()));
        rest.bytes(4).unwrap();
    }
    found
}

fn head_of(logs: &[(&str, &[u8])]) -> Head {
    let fs = MemFs::default();
    for (name, bytes) in logs {
        let path = format!("/t/{name}/00000000").into();
        fs.0.lock().unwrap().files.insert(path, bytes.to_vec());
    }
    let bounds = Bounds {
        exemplars_max: 1000,
        ..BOUNDS
    };
    let head = open_bounded(&fs, bounds);
    let report = head.replay_report().unwrap();
    assert_eq!((report.torn, report.damage.len()), (0, 0));
    head
}

#[test]
fn our_chunks_of_its_log_are_its_chunks() {
    let head = head_of(&[("wal", WAL)]);
    let snapshot = snapshot(&head, i64::MIN, i64::MAX);
    let mut theirs = chunks().into_iter();
    for row in 0..snapshot.len() {
        let mut runs: Vec<_> = snapshot.runs(row).collect();
        runs.sort_by_key(|run| run.mint);
        let last = runs.len() - 1;
        for (at, run) in runs.iter().enumerate() {
            let (encoding, chunk) = run.samples.chunk().unwrap();
            let (mut ours, theirs) = (chunk.to_vec(), theirs.next().unwrap());
            if encoding != XOR && at == last && theirs.1[2] == 0 {
                // An open chunk is encoded again for a block, and forgets what was before it.
                ours[2] = 0;
            }
            assert_eq!((encoding, &ours[..]), theirs, "row {row} chunk {at}");
        }
    }
    assert_eq!(theirs.next(), None);
}

#[test]
fn its_chunks_encode_to_their_own_bytes() {
    let mut seen = [0; 4];
    for (encoding, chunk) in chunks() {
        let again = match encoding {
            2 => encoded_again::<Integer>(chunk),
            3 => encoded_again::<Float>(chunk),
            _ => chunk.to_vec(),
        };
        assert_eq!(again, chunk);
        seen[encoding as usize] += 1;
    }
    assert!(seen[1] > 0 && seen[2] > 20 && seen[3] > 20, "{seen:?}");
}

#[test]
fn its_records_encode_to_their_own_bytes() {
    let mut seen = [0; 16];
    for log in [WAL, WBL] {
        let mut reader = SegmentReader::new(Box::new(Cursor::new(log)));
        while let Step::Record(bytes) = reader.step().unwrap() {
            let kind = bytes[0];
            seen[kind as usize] += 1;
            let mut got = Collected::default();
            record::decode(bytes, &mut got).unwrap();
            let mut again = Vec::new();
            let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
            match kind {
                4 => {
                    let rows = got.exemplars.iter().map(|(r, e)| (*r, e));
                    record::put_exemplars(&mut again, rows);
                }
                7..=10 => {
                    let base = (number(1), number(9) as i64);
                    let rows = got.histograms.iter().map(|(r, t, h)| (*r, *t, h));
                    let kinds = [0, 2, 1, 3].map(|at| HistogramKind::ALL[at]);
                    let kind = kinds[usize::from(kind) - 7];
                    record::put_histograms(&mut again, kind, Some(base), rows);
                }
                _ => continue,
            }
            assert_eq!(again, bytes);
        }
    }
    assert!(
        [4, 7, 8, 9, 10].iter().all(|&kind| seen[kind] > 5),
        "{seen:?}"
    );
}

#[test]
fn late_histograms_and_exemplars_are_there_too() {
    let head = head_of(&[("wal", WAL), ("wbl", WBL)]);
    let table = head.table().unwrap();
    assert!(table.ooo_appended > 20 && table.histograms_appended > 3_000);
    assert!(table.exemplars.len() > 20 && table.exemplars.series_count() == 1);
}

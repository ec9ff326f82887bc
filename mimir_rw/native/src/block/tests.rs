//! Blocks to the byte, there and back, and damaged.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::index::Index;
use super::index_writer::IndexWriter;
use super::layout::SEGMENT_BYTES;
use super::segments::SegmentReader;
use super::series::{ChunkMeta, SeriesEntry};
use super::source::MemorySource;
use super::{BlockError, BlockReader, BlockStats, BlockWriter, ChunkRef};
use crate::codec::xor::chunk_of;

/// A directory of its own for each test, removed when it ends.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("block-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a scratch directory");
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).expect("digits");
        u8::from_str_radix(text, 16).expect("digits")
    };
    digits.chunks(2).map(byte).collect()
}

/// tsdb-block.md section 12.7.
pub fn example_index() -> Vec<u8> {
    hex("ba aa d7 00 02|00 00 00 19|00 00 00 06|00|08 5f
         5f 6e 61 6d 65 5f 5f|01 61|01 62|03 6a 6f 62|02
         75 70|9d 4a dd 99|00 00 00 00 00 00 00 00 00 00
         10|02|01 05|04 02|01|80 80 f4 f6 90 5d|d2 df 02
         08|f9 98 19 90|00 00 00 00 00 00 00 00 00 00 00
         16|02|01 05|04 03|02|80 80 f4 f6 90 5d|d2 df 02
         27|8e 75|b0 ea 01|3e|22 81 a5 1f|00|00 00 00 0c
         00 00 00 02|00 00 00 03|00 00 00 05|bb 33 cb d4
         00 00 00 0c|00 00 00 02|00 00 00 03|00 00 00 05
         bb 33 cb d4|00 00 00 08|00 00 00 01|00 00 00 03
         a7 69 2e d2|00 00 00 08|00 00 00 01|00 00 00 05
         81 c8 c9 3a|00 00 00 29|00 00 00 04|02 00 00 6c
         02|08 5f 5f 6e 61 6d 65 5f 5f|02 75 70|80 01|02
         03 6a 6f 62|01 61|94 01|02|03 6a 6f 62|01 62|a4
         01|da dc d1 3c|00 00 00 00 00 00 00 05|00 00 00
         00 00 00 00 26|00 00 00 00 00 00 00 6b|00 00 00
         00 00 00 00 b4|00 00 00 00 00 00 00 6b|00 00 00
         00 00 00 00 b4|61 87 c8 64")
}

fn example_chunks() -> [ChunkMeta; 3] {
    let chunk = |mint, maxt, reference| ChunkMeta {
        mint,
        maxt,
        reference,
    };
    [
        chunk(1_600_000_000_000, 1_600_000_045_010, 8),
        chunk(1_600_000_000_000, 1_600_000_045_010, 39),
        chunk(1_600_000_060_000, 1_600_000_090_000, 70),
    ]
}

#[test]
fn the_index_of_the_specification_to_the_byte() {
    let scratch = Scratch::new("example");
    let path = scratch.0.join("index");
    let symbols = ["__name__", "a", "b", "job", "up"];
    let mut writer = IndexWriter::create(&path, symbols.into_iter()).expect("created");
    let chunks = example_chunks();
    let series = [("a", &chunks[..1]), ("b", &chunks[1..])];
    for (job, chunks) in series {
        writer
            .series(&[("__name__", "up"), ("job", job)], chunks)
            .expect("in order");
    }
    assert_eq!(writer.finish().expect("written"), 2);
    let written = std::fs::read(&path).expect("readable");
    assert_eq!(written.len(), 281);
    assert_eq!(written, example_index());
}

#[test]
fn the_segment_of_the_specification_to_the_byte() {
    let scratch = Scratch::new("segment");
    let (one, two, half) = (1f64.to_bits(), 2f64.to_bits(), 2.5f64.to_bits());
    let t = 1_600_000_000_000;
    let data = chunk_of(&[
        (t, one),
        (t + 15_000, one),
        (t + 30_000, two),
        (t + 45_010, half),
    ]);
    let symbols = ["__name__", "up"];
    let mut writer =
        BlockWriter::create(&scratch.0, symbols.into_iter(), SEGMENT_BYTES).expect("created");
    let chunk = ChunkRef {
        mint: t,
        maxt: t + 45_010,
        encoding: 1,
        data: &data,
    };
    writer
        .series(&[("__name__", "up")], &[chunk])
        .expect("in order");
    let stats = writer.finish().expect("written");
    let want = BlockStats {
        series: 1,
        chunks: 1,
        samples: 4,
        floats: 4,
        histograms: 0,
        mint: t,
        maxt: t + 45_010,
    };
    assert_eq!(stats, want);
    let segment = std::fs::read(scratch.0.join("chunks/000001")).expect("readable");
    let want = hex("85 bd 40 dd 01 00 00 00
         19 01 00 04 80 80 f4 f6 90 5d 3f f0 00 00 00 00 00 00 98 75 30 97 ff e0 02 b6 83
         17 f2 4e cc");
    assert_eq!(segment, want);
    let tombstones = std::fs::read(scratch.0.join("tombstones")).expect("readable");
    assert_eq!(tombstones, hex("01 30 ba 30 01 00 00 00 00"));
}

/// Labels and chunks (first time, data) of row i: names of many values, of few, and of some rows only.
type Row = (Vec<(String, String)>, Vec<(i64, i64, Vec<u8>)>);

fn rows(count: usize) -> Vec<Row> {
    let row = |i: usize| {
        let mut labels = vec![
            ("__name__".to_string(), format!("m{}", i % 3)),
            ("pod".to_string(), format!("pod-{:05}", i / 3)),
        ];
        if i.is_multiple_of(2) {
            labels.push(("zone".to_string(), format!("z{}", i % 5)));
        }
        let chunk = |c: usize| {
            let start = 1_000 * (100 * c as i64);
            let samples: Vec<(i64, u64)> = (0..20 + i as i64 % 7)
                .map(|s| (start + 1_000 * s, (i as u64) << 40 | s as u64))
                .collect();
            (start, samples[samples.len() - 1].0, chunk_of(&samples))
        };
        (labels, (0..1 + i % 4).map(chunk).collect())
    };
    let mut rows: Vec<Row> = (0..count).map(row).collect();
    rows.sort();
    rows
}

fn write(directory: &Path, rows: &[Row], segment_bytes: u64) -> BlockStats {
    let texts = rows.iter().flat_map(|row| &row.0);
    let mut symbols: Vec<&str> = texts.flat_map(|(n, v)| [n.as_str(), v.as_str()]).collect();
    symbols.sort_unstable();
    symbols.dedup();
    let mut writer =
        BlockWriter::create(directory, symbols.into_iter(), segment_bytes).expect("created");
    for (labels, chunks) in rows {
        let labels: Vec<(&str, &str)> = labels
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        let chunks: Vec<ChunkRef<'_>> = chunks
            .iter()
            .map(|(mint, maxt, data)| ChunkRef {
                mint: *mint,
                maxt: *maxt,
                encoding: 1,
                data,
            })
            .collect();
        writer.series(&labels, &chunks).expect("in order");
    }
    writer.finish().expect("written")
}

#[test]
fn what_is_written_is_read() {
    let scratch = Scratch::new("round");
    let rows = rows(500);
    let stats = write(&scratch.0, &rows, 4 << 10);
    assert_eq!(stats.series, 500);
    let block = BlockReader::open(&scratch.0).expect("a block");
    assert!(block.segments.len() > 5);
    let symbols: Vec<String> = block.symbols().map(|s| s.expect("sound")).collect();
    assert_eq!(symbols[0], "");
    assert!(symbols.is_sorted_by(|a, b| a < b));
    let (mut cursor, mut entry) = (block.series_in_order(), SeriesEntry::default());
    let mut ids = Vec::new();
    let mut chunks = block.chunk_cursor();
    for (labels, want) in &rows {
        assert!(cursor.read_next(&mut entry).expect("sound"));
        ids.push(entry.id);
        let text = |number: u32| symbols[number as usize].clone();
        let got: Vec<(String, String)> = entry
            .labels
            .iter()
            .map(|&(n, v)| (text(n), text(v)))
            .collect();
        assert_eq!(&got, labels);
        let got: Vec<(i64, i64, Vec<u8>)> = entry
            .chunks
            .iter()
            .map(|chunk| {
                let (encoding, data) = block.chunk(chunk.reference).expect("sound");
                let mut again = Vec::new();
                assert_eq!(chunks.read(chunk.reference, &mut again).expect("sound"), 1);
                assert_eq!((encoding, &data), (1, &again));
                (chunk.mint, chunk.maxt, data)
            })
            .collect();
        assert_eq!(&got, want);
    }
    assert!(!cursor.read_next(&mut entry).expect("sound"));
    assert_eq!(block.postings("", "").expect("sound"), ids);
    let names: Vec<&str> = block.label_names().collect();
    assert_eq!(names, ["__name__", "pod", "zone"]);
    for name in names {
        let mut values: Vec<&str> = rows
            .iter()
            .flat_map(|row| row.0.iter().filter(|(n, _)| n == name))
            .map(|(_, v)| v.as_str())
            .collect();
        values.sort_unstable();
        values.dedup();
        assert_eq!(block.label_values(name).expect("sound"), values);
        for value in values.iter().step_by(7) {
            let has = |row: &Row| row.0.iter().any(|(n, v)| n == name && v == value);
            let want: Vec<u32> = (0..rows.len())
                .filter(|&i| has(&rows[i]))
                .map(|i| ids[i])
                .collect();
            assert_eq!(block.postings(name, value).expect("sound"), want);
        }
    }
    assert!(block.postings("pod", "pod-").expect("sound").is_empty());
    assert!(block.postings("none", "x").expect("sound").is_empty());
}

/// Read all there is to read of an index.
fn read_all(bytes: Vec<u8>) -> Result<usize, BlockError> {
    let index = Index::over(Arc::new(MemorySource(bytes, "index")))?;
    let mut series = 0;
    let (mut cursor, mut entry) = (index.series_in_order(), SeriesEntry::default());
    while cursor.read_next(&mut entry)? {
        series += 1;
        let mut symbols: Vec<u32> = entry.labels.iter().flat_map(|&(n, v)| [n, v]).collect();
        symbols.sort_unstable();
        index.symbols.resolve(&symbols, |_, _| ())?;
    }
    let mut ids = Vec::new();
    let names: Vec<String> = index.table.label_names().map(str::to_owned).collect();
    for name in std::iter::once(String::new()).chain(names) {
        let mut spans = Vec::new();
        index.table.values_from(&name, "", |_, span| {
            spans.push(span);
            true
        })?;
        for span in spans {
            ids.clear();
            index.read_list(span, &mut ids)?;
            index.series_at(&ids, |_| ())?;
        }
    }
    Ok(series)
}

#[test]
fn an_index_with_a_damaged_byte_is_an_error() {
    let good = example_index();
    assert_eq!(read_all(good.clone()).expect("sound"), 2);
    // Padding belongs to no checksum.
    let padding = [0x26..0x30, 0x45..0x50, 0x6b..0x6c];
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x40;
        let harmless = padding.iter().any(|range| range.contains(&at));
        match read_all(bytes) {
            Ok(_) => assert!(harmless, "byte {at} may not differ"),
            Err(BlockError::Damaged(_)) => assert!(!harmless, "byte {at} says nothing"),
            Err(other) => panic!("byte {at}: {other}"),
        }
        assert!(read_all(good[..at].to_vec()).is_err(), "cut at {at}");
    }
}

#[test]
fn a_segment_with_a_damaged_byte_is_an_error() {
    let scratch = Scratch::new("damage");
    write(&scratch.0, &rows(2), SEGMENT_BYTES);
    let good = std::fs::read(scratch.0.join("chunks/000001")).expect("readable");
    let index = Index::open(&scratch.0.join("index")).expect("sound");
    let read = |bytes: Vec<u8>| -> Result<(), BlockError> {
        let segments = SegmentReader::over(vec![Arc::new(MemorySource(bytes, "segment"))])?;
        let (mut cursor, mut entry) = (index.series_in_order(), SeriesEntry::default());
        while cursor.read_next(&mut entry)? {
            for chunk in &entry.chunks {
                segments.chunk(chunk.reference)?;
                segments.cursor().read(chunk.reference, &mut Vec::new())?;
            }
        }
        Ok(())
    };
    read(good.clone()).expect("sound");
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x81;
        // The header's padding means nothing.
        assert_eq!(read(bytes).is_ok(), (5..8).contains(&at), "byte {at}");
        assert!(read(good[..at].to_vec()).is_err(), "cut at {at}");
    }
}

#[test]
fn what_is_out_of_order_is_refused() {
    let chunk = |mint, maxt, data| ChunkRef {
        mint,
        maxt,
        encoding: 1,
        data,
    };
    let data = chunk_of(&[(5, 1)]);
    let good = [chunk(5, 5, data.as_slice())];
    type Series<'a> = (&'a [(&'a str, &'a str)], &'a [ChunkRef<'a>]);
    let overlap = [good[0], good[0]];
    let backwards = [chunk(5, 4, data.as_slice())];
    let strange = [ChunkRef {
        encoding: 9,
        ..good[0]
    }];
    let short = [chunk(5, 5, &data[..1])];
    let cases: [(&str, Series<'_>); 9] = [
        ("no chunks", (&[("a", "b")], &[])),
        ("overlap", (&[("a", "b")], &overlap)),
        ("backwards", (&[("a", "b")], &backwards)),
        ("unknown encoding", (&[("a", "b")], &strange)),
        ("no count", (&[("a", "b")], &short)),
        ("not a symbol", (&[("a", "x")], &good)),
        ("empty value", (&[("a", "")], &good)),
        ("names", (&[("b", "a"), ("a", "b")], &good)),
        ("no labels", (&[], &good)),
    ];
    for (number, (what, (labels, chunks))) in cases.into_iter().enumerate() {
        let scratch = Scratch::new(&format!("order-{number}"));
        let mut writer =
            BlockWriter::create(&scratch.0, ["a", "b"].into_iter(), SEGMENT_BYTES).expect("new");
        let refused = writer.series(labels, chunks);
        assert!(matches!(refused, Err(BlockError::Order(_))), "{what}");
    }
    let scratch = Scratch::new("order-series");
    let mut writer =
        BlockWriter::create(&scratch.0, ["a", "b"].into_iter(), SEGMENT_BYTES).expect("new");
    writer.series(&[("a", "b")], &good).expect("in order");
    assert!(writer.series(&[("a", "b")], &good).is_err());
    assert!(writer.series(&[("a", "a")], &good).is_err());
    let unordered = IndexWriter::create(&scratch.0.join("other"), ["b", "a"].into_iter());
    assert!(matches!(unordered, Err(BlockError::Order(_))));
}

#[test]
fn postings_made_in_batches_are_the_same() {
    let scratch = Scratch::new("batches");
    let rows = rows(300);
    let chunk = ChunkMeta {
        mint: 1,
        maxt: 2,
        reference: 8,
    };
    let mut symbols: Vec<&str> = rows
        .iter()
        .flat_map(|row| &row.0)
        .flat_map(|(n, v)| [n.as_str(), v.as_str()])
        .collect();
    symbols.sort_unstable();
    symbols.dedup();
    let written = |batch_ids: usize| {
        let path = scratch.0.join(format!("index-{batch_ids}"));
        let mut writer = IndexWriter::create(&path, symbols.iter().copied()).expect("created");
        writer.batch_ids = batch_ids;
        for (labels, _) in &rows {
            let labels: Vec<(&str, &str)> = labels
                .iter()
                .map(|(n, v)| (n.as_str(), v.as_str()))
                .collect();
            writer.series(&labels, &[chunk]).expect("in order");
        }
        writer.finish().expect("written");
        std::fs::read(&path).expect("readable")
    };
    let whole = written(1 << 20);
    // Fewer than the longest list has, too.
    for batch_ids in [1, 7, 250] {
        assert!(written(batch_ids) == whole, "batches of {batch_ids}");
    }
}

#[test]
fn sizes_are_held_against_the_file_before_memory_is_taken() {
    let good = example_index();
    // Length and count of the symbols, of the first list, and of the table of postings.
    for at in [5, 9, 0x6c, 0x70, 0xb4, 0xb8] {
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(&[0xff; 4]);
        assert!(
            matches!(read_all(bytes), Err(BlockError::Damaged(_))),
            "byte {at}"
        );
    }
    let mut entry = SeriesEntry::default();
    for bomb in [
        &[0xff, 0xff, 0xff, 0xff, 0x0f][..],
        &[0, 0xff, 0xff, 0xff, 0xff, 0x0f],
    ] {
        assert!(super::series::decode(bomb, &mut entry).is_err());
    }
}

//! Files of blocks: bytes are an error or a block whose parts agree with each other.

use std::sync::Arc;

use _native::block::header::{self, IndexHeader};
use _native::block::index::Index;
use _native::block::layout::TOC_BYTES;
use _native::block::plan::Plan;
use _native::block::postings;
use _native::block::segments::{SegmentReader, samples_of, split};
use _native::block::series::{self, ChunkMeta, SeriesEntry};
use _native::block::source::{MemorySource, Source};
use _native::block::tombstones;
use _native::block::{BlockWriter, ChunkRef};
use _native::labels::{CompiledMatcher, MatchType};

fn memory(data: &[u8]) -> Source {
    Arc::new(MemorySource(data.to_vec(), "input"))
}

/// An index: what opens is read whole; a series that a list names is one of those in order.
pub fn target_index(data: &[u8]) {
    let Ok(index) = Index::over(memory(data)) else {
        return;
    };
    let (mut cursor, mut entry) = (index.series_in_order(), SeriesEntry::default());
    let mut ids = Vec::new();
    while let Ok(true) = cursor.read_next(&mut entry) {
        ids.push(entry.id);
        let mut symbols: Vec<u32> = entry.labels.iter().flat_map(|&(n, v)| [n, v]).collect();
        symbols.sort_unstable();
        let _ = index.symbols.resolve(&symbols, |_, _| ());
    }
    assert!(ids.is_sorted_by(|a, b| a < b));
    let names: Vec<String> = index.table.label_names().map(str::to_owned).collect();
    for name in names.iter().take(20) {
        let mut spans = Vec::new();
        let mut values = Vec::new();
        let _ = index.table.values_from(name, "", |value, span| {
            values.push(value.to_owned());
            spans.push(span);
            true
        });
        assert_eq!(values.len(), index.table.value_count(name) as usize);
        let mut found = 0;
        let _ = index.table.lookup(name, &values, |_, _| found += 1);
        assert_eq!(found, values.len());
        for span in spans.iter().take(50) {
            let mut list = Vec::new();
            if index.read_list(*span, &mut list).is_ok() {
                let _ = index.series_at(&list, |_| ());
            }
        }
    }
    let _ = index.symbols.iter().count();
}

/// An index-header: what opens answers matchers with lists inside the postings.
pub fn target_header(data: &[u8]) {
    let Ok(header) = IndexHeader::over(memory(data)) else {
        return;
    };
    let matchers = [
        (MatchType::Regex, "job", "a|b"),
        (MatchType::NotRegex, "job", ".*b"),
        (MatchType::NotEqual, "none", ""),
    ];
    for (kind, name, value) in matchers {
        let matcher = CompiledMatcher::new(kind, name, value).expect("valid");
        if let Ok(plan) = Plan::new(&header.table, vec![matcher]) {
            for span in plan.spans() {
                assert!(header.toc.postings <= span.start && span.start <= span.end);
                assert!(span.end <= header.toc.postings_end());
            }
        }
    }
}

/// A segment, a chunk, a series, a list, tombstones: all small decoders.
pub fn target_parts(data: &[u8]) {
    if let Ok(reader) = SegmentReader::over(vec![memory(data)]) {
        for at in 0..data.len().min(200) as u64 {
            let one = reader.chunk(at);
            let mut bytes = Vec::new();
            let two = reader.cursor().read(at, &mut bytes);
            assert_eq!(one.is_ok(), two.is_ok());
        }
    }
    if let Ok(Some((encoding, chunk, used))) = split(data) {
        assert!(used <= data.len() && chunk.len() < used);
        let _ = samples_of(encoding, chunk);
    }
    let mut entry = SeriesEntry::default();
    if series::decode(data, &mut entry).is_ok() {
        let mut again = Vec::new();
        series::encode(&entry.labels, &entry.chunks, &mut again);
        let mut other = SeriesEntry::default();
        assert_eq!(series::decode(&again, &mut other), Ok(()));
        assert_eq!(other, entry);
    }
    let mut ids = Vec::new();
    if postings::decode(data, &mut ids).is_ok() {
        let mut again = Vec::new();
        postings::encode(&ids, &mut again);
        assert_eq!(again, data[..again.len()]);
    }
    if let Ok(found) = tombstones::decode(data) {
        assert_eq!(tombstones::decode(&tombstones::encode(&found)), Ok(found));
    }
}

/// index and segment of a block with so many series.
fn block(series: usize) -> (Vec<u8>, Vec<u8>) {
    let directory =
        std::env::temp_dir().join(format!("fuzz-block-{}-{series}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let jobs: Vec<String> = (0..series).map(|i| format!("b{i:04}")).collect();
    let symbols = ["__name__", "a"]
        .into_iter()
        .chain(jobs.iter().map(String::as_str));
    let symbols = symbols.chain(["job", "up"]);
    let mut writer = BlockWriter::create(&directory, symbols, 1 << 20).expect("a block");
    for (i, job) in jobs.iter().enumerate() {
        let chunk = |mint| ChunkRef {
            mint,
            maxt: mint + 5,
            encoding: 1,
            data: &[0, 2, 1, 2, 3],
        };
        let labels = [("__name__", "up"), ("a", "a"), ("job", job.as_str())];
        let chunks = [chunk(0), chunk(10)];
        writer.series(&labels, &chunks[i % 2..]).expect("in order");
    }
    writer.finish().expect("written");
    let read = |name: &str| std::fs::read(directory.join(name)).unwrap_or_default();
    let files = (read("index"), read("chunks/000001"));
    let _ = std::fs::remove_dir_all(&directory);
    files
}

pub fn seeds_index() -> Vec<Vec<u8>> {
    [0, 1, 4, 80].map(|series| block(series).0).to_vec()
}

pub fn seeds_header() -> Vec<Vec<u8>> {
    let header = |index: Vec<u8>| {
        let toc = &index[index.len() - TOC_BYTES as usize..];
        let (symbols, tail) = header::ranges(toc, index.len() as u64).expect("sound");
        let part = |range: std::ops::Range<u64>| &index[range.start as usize..range.end as usize];
        header::build(&index[..5], toc, part(symbols), part(tail)).expect("sound")
    };
    seeds_index().into_iter().map(header).collect()
}

pub fn seeds_parts() -> Vec<Vec<u8>> {
    let segment = block(10).1;
    let chunk = |mint, reference| ChunkMeta {
        mint,
        maxt: mint + 10,
        reference,
    };
    let (mut entry, mut list) = (Vec::new(), Vec::new());
    series::encode(&[(1, 5), (4, 2)], &[chunk(5, 8), chunk(90, 40)], &mut entry);
    postings::encode(&[3, 5, 900], &mut list);
    let tombstone = tombstones::Tombstone {
        series: 7,
        mint: 1000,
        maxt: 2000,
    };
    let chunks = segment[8..].to_vec();
    vec![
        segment,
        chunks,
        entry,
        list,
        tombstones::encode(&[tombstone]),
    ]
}

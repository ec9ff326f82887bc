//! Blocks merged and read again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{MergeError, Source, compact};
use crate::block::series::SeriesEntry;
use crate::block::tests::Scratch;
use crate::block::{BlockReader, BlockStats, BlockWriter, ChunkRef};
use crate::codec::histogram::chunks_of;
use crate::codec::histogram::kind::Integer;
use crate::codec::histogram::read::Reader;
use crate::codec::xor;
use crate::histogram::stored::{DeltaBuckets, IntegerHistogram};
use crate::histogram::{Histogram, Span};

type Labels = Vec<(&'static str, String)>;
type Chunk = (u8, i64, i64, Vec<u8>);

fn labels(job: usize) -> Labels {
    vec![("__name__", "up".into()), ("job", format!("j{job:04}"))]
}

fn floats(samples: &[(i64, f64)]) -> Chunk {
    let bits: Vec<(i64, u64)> = samples.iter().map(|s| (s.0, s.1.to_bits())).collect();
    (
        1,
        samples[0].0,
        samples[samples.len() - 1].0,
        xor::chunk_of(&bits),
    )
}

/// Every `step` from `from` to before `to`; the value tells the time.
fn ramp(from: i64, to: i64, step: i64) -> Vec<(i64, f64)> {
    let times = (from..to).step_by(step as usize);
    times.map(|t| (t, t as f64 / 8.0)).collect()
}

fn histogram(count: i64) -> Histogram {
    Histogram::Integer(IntegerHistogram {
        count: count as u64 * 2,
        sum: count as f64,
        positive: DeltaBuckets {
            spans: vec![Span {
                offset: 0,
                length: 2,
            }],
            deltas: vec![count, 0],
        },
        ..IntegerHistogram::default()
    })
}

struct Bench {
    scratch: Scratch,
    made: usize,
}

impl Bench {
    fn new(name: &str) -> Self {
        Bench {
            scratch: Scratch::new(name),
            made: 0,
        }
    }

    fn directory(&mut self) -> PathBuf {
        self.made += 1;
        let path = self.scratch.0.join(format!("b{}", self.made));
        std::fs::create_dir(&path).expect("a directory");
        path
    }

    fn block(&mut self, series: &[(Labels, Vec<Chunk>)]) -> PathBuf {
        let path = self.directory();
        let mut symbols: Vec<&str> = Vec::new();
        for (labels, _) in series {
            symbols.extend(labels.iter().flat_map(|(n, v)| [*n, v.as_str()]));
        }
        symbols.sort_unstable();
        symbols.dedup();
        let mut writer = BlockWriter::create(&path, symbols.into_iter(), 1 << 20).expect("created");
        for (labels, chunks) in series {
            let labels: Vec<(&str, &str)> = labels.iter().map(|(n, v)| (*n, v.as_str())).collect();
            let chunks: Vec<ChunkRef<'_>> = chunks.iter().map(reference).collect();
            writer.series(&labels, &chunks).expect("written");
        }
        writer.finish().expect("finished");
        path
    }

    fn merged(&mut self, sources: &[PathBuf], outputs: usize) -> (Vec<PathBuf>, Vec<BlockStats>) {
        let directories: Vec<PathBuf> = (0..outputs).map(|_| self.directory()).collect();
        let stats = compact(&whole(sources), &directories, 1 << 20).expect("merged");
        (directories, stats)
    }
}

/// Blocks without bounds.
fn whole(directories: &[PathBuf]) -> Vec<Source> {
    let source = |directory: &PathBuf| Source {
        directory: directory.clone(),
        mint: i64::MIN,
        maxt: i64::MAX,
    };
    directories.iter().map(source).collect()
}

fn reference(chunk: &Chunk) -> ChunkRef<'_> {
    ChunkRef {
        mint: chunk.1,
        maxt: chunk.2,
        encoding: chunk.0,
        data: &chunk.3,
    }
}

/// The chunks of each series.
fn read(path: &Path) -> BTreeMap<String, Vec<Chunk>> {
    let reader = BlockReader::open(path).expect("opened");
    let symbols: Vec<String> = reader.symbols().collect::<Result<_, _>>().expect("symbols");
    let mut found = BTreeMap::new();
    let mut cursor = reader.series_in_order();
    let mut entry = SeriesEntry::default();
    while cursor.read_next(&mut entry).expect("a series") {
        let label =
            |&(n, v): &(u32, u32)| format!("{}={}", symbols[n as usize], symbols[v as usize]);
        let name: Vec<String> = entry.labels.iter().map(label).collect();
        let chunks = entry.chunks.iter().map(|meta| {
            let (encoding, data) = reader.chunk(meta.reference).expect("a chunk");
            (encoding, meta.mint, meta.maxt, data)
        });
        found.insert(name.join(","), chunks.collect());
    }
    found
}

fn samples(chunks: &[Chunk]) -> Vec<(i64, f64)> {
    let (mut ts, mut values) = (Vec::new(), Vec::new());
    for (encoding, mint, maxt, data) in chunks {
        assert_eq!(*encoding, 1);
        let before = ts.len();
        xor::decode_into(data, i64::MIN, i64::MAX, &mut ts, &mut values).expect("sound");
        assert_eq!((ts[before], ts[ts.len() - 1]), (*mint, *maxt));
    }
    ts.into_iter().zip(values).collect()
}

fn only(path: &Path) -> Vec<Chunk> {
    let found = read(path);
    assert_eq!(found.len(), 1);
    found.into_values().next().expect("one")
}

#[test]
fn equal_replicas_become_one_without_a_change() {
    let mut bench = Bench::new("merge-replicas");
    let chunks = vec![floats(&ramp(0, 900, 5)), floats(&ramp(900, 2000, 5))];
    let series: Vec<_> = (0..50).map(|job| (labels(job), chunks.clone())).collect();
    let sources = [0; 3].map(|_| bench.block(&series));
    let (outputs, stats) = bench.merged(&sources, 1);
    let files = |path: &PathBuf, name: &str| std::fs::read(path.join(name)).expect("a file");
    for name in ["index", "chunks/000001", "tombstones"] {
        assert!(
            files(&outputs[0], name) == files(&sources[0], name),
            "{name}"
        );
    }
    assert_eq!((stats[0].series, stats[0].samples), (50, 50 * 400));
}

#[test]
fn neighbours_are_joined_up_to_the_size_of_a_chunk() {
    let mut bench = Bench::new("merge-neighbours");
    let hour = 3_600_000;
    let sources: Vec<PathBuf> = (0..12)
        .map(|hours| {
            let chunk = floats(&ramp(hours * hour, (hours + 1) * hour, 300_000));
            bench.block(&[(labels(1), vec![chunk])])
        })
        .collect();
    let (outputs, stats) = bench.merged(&sources, 1);
    let chunks = only(&outputs[0]);
    assert_eq!(samples(&chunks), ramp(0, 12 * hour, 300_000));
    assert_eq!((chunks.len(), stats[0].chunks), (1, 1));
    // 240 samples at most.
    let long: Vec<PathBuf> = (0..3)
        .map(|part| {
            let chunk = floats(&ramp(part * 1_000_000, part * 1_000_000 + 100_000, 1_000));
            bench.block(&[(labels(1), vec![chunk])])
        })
        .collect();
    let (outputs, _) = bench.merged(&long, 1);
    let counts: Vec<usize> = only(&outputs[0])
        .iter()
        .map(|chunk| xor::sample_count(&chunk.3).expect("a count"))
        .collect();
    assert_eq!(counts, [200, 100]);
}

#[test]
fn what_overlaps_is_merged_by_time_and_the_first_source_wins() {
    let mut bench = Bench::new("merge-overlap");
    let mut other = ramp(5, 3000, 10);
    other.extend([(3000, -1.0), (3007, -2.0)]);
    let a = bench.block(&[(labels(1), vec![floats(&ramp(0, 4000, 10))])]);
    let b = bench.block(&[
        (labels(1), vec![floats(&other)]),
        (labels(2), vec![floats(&[(1, 1.0)])]),
    ]);
    let (outputs, stats) = bench.merged(&[a, b], 1);
    let found = read(&outputs[0]);
    let mut expected = ramp(0, 4000, 10);
    expected.extend(ramp(5, 3000, 10));
    expected.push((3007, -2.0));
    expected.sort_by_key(|sample| sample.0);
    let chunks = &found["__name__=up,job=j0001"];
    assert_eq!(samples(chunks), expected);
    assert_eq!(xor::sample_count(&chunks[0].3).expect("a count"), 240);
    assert_eq!(stats[0].samples, expected.len() as u64 + 1);
    assert_eq!(samples(&found["__name__=up,job=j0002"]), [(1, 1.0)]);
}

#[test]
fn series_are_split_by_their_hash() {
    let mut bench = Bench::new("merge-split");
    let of = |from: usize, to: usize| -> Vec<(Labels, Vec<Chunk>)> {
        let one = |job| (labels(job), vec![floats(&ramp(job as i64, 100, 9))]);
        (from..to).map(one).collect()
    };
    let mut first = vec![(
        vec![("__name__", "up".to_owned()), ("job", "a".to_owned())],
        vec![floats(&[(7, 7.0)])],
    )];
    first.extend(of(0, 60));
    let sources = [bench.block(&first), bench.block(&of(30, 90))];
    let (outputs, stats) = bench.merged(&sources, 4);
    let found: Vec<_> = outputs.iter().map(|path| read(path)).collect();
    // bucket-layout.md 11: {__name__="up",job="a"} is in shard 4_of_4.
    assert!(found[3].contains_key("__name__=up,job=a"));
    let mut names: Vec<&String> = found.iter().flat_map(BTreeMap::keys).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 91);
    assert_eq!(stats.iter().map(|stats| stats.series).sum::<u64>(), 91);
    for (path, found) in outputs.iter().zip(&found) {
        let reader = BlockReader::open(path).expect("opened");
        // "", two names, one metric, and a job for each series: no symbol of another shard.
        assert_eq!(reader.symbols().count(), found.len() + 4);
        assert_eq!(
            reader.label_values("job").expect("values").len(),
            found.len()
        );
    }
}

#[test]
fn a_shard_without_series_is_an_empty_block() {
    let mut bench = Bench::new("merge-empty");
    let source = bench.block(&[(labels(1), vec![floats(&[(1, 1.0)])])]);
    let (_, stats) = bench.merged(&[source], 8);
    let mut series: Vec<u64> = stats.iter().map(|stats| stats.series).collect();
    series.sort_unstable();
    assert_eq!(series, [0, 0, 0, 0, 0, 0, 0, 1]);
}

#[test]
fn histograms_that_overlap_are_merged_and_resets_cut_chunks() {
    let mut bench = Bench::new("merge-histograms");
    let counts = |from: i64, to: i64, count: i64| -> Vec<(i64, Histogram)> {
        let times = (from..to).step_by(10);
        times.map(|t| (t, histogram(t + count))).collect()
    };
    let chunks = |samples: &[(i64, Histogram)]| chunks_of(samples.iter().map(|s| (s.0, &s.1)));
    let a = bench.block(&[(labels(1), chunks(&counts(0, 1000, 1)))]);
    let mut mixed = chunks(&counts(5, 700, 5000));
    mixed.push(floats(&[(2000, 1.0), (2010, 2.0)]));
    let b = bench.block(&[(labels(1), mixed)]);
    let (outputs, stats) = bench.merged(&[a, b], 1);
    assert_eq!((stats[0].histograms, stats[0].floats), (170, 2));
    let found = only(&outputs[0]);
    let mut ts = Vec::new();
    let mut totals = Vec::new();
    for (_, _, _, data) in found.iter().filter(|chunk| chunk.0 == 2) {
        let mut reader = Reader::<Integer>::new(data).expect("a header");
        while reader.next().expect("sound") {
            ts.push(reader.t());
            totals.push(reader.sample().numbers.count as f64);
        }
    }
    let mut expected = counts(0, 1000, 1);
    expected.extend(counts(5, 700, 5000));
    expected.sort_by_key(|sample| sample.0);
    assert_eq!(
        ts,
        expected.iter().map(|sample| sample.0).collect::<Vec<_>>()
    );
    for (total, (_, expected)) in totals.iter().zip(&expected) {
        assert_eq!(*total, expected.to_float().count);
    }
    // What is lower than the one before it begins a chunk that says so.
    let flags: Vec<(i64, u8)> = found.iter().map(|chunk| (chunk.1, chunk.3[2])).collect();
    assert_eq!(flags[..3], [(0, 0), (10, 0x80), (20, 0x80)]);
}

#[test]
fn a_header_that_speaks_of_another_chunk_is_taken_back() {
    let mut bench = Bench::new("merge-headers");
    let one = |t: i64, flags: u8| -> Chunk {
        let samples = [(t, histogram(t)), (t + 1, histogram(t))];
        let mut chunk = chunks_of(samples.iter().map(|s| (s.0, &s.1))).remove(0);
        chunk.3[2] = flags;
        chunk
    };
    let a = bench.block(&[(
        labels(1),
        vec![one(10, 0x40), one(20, 0x40), one(40, 0x40), one(60, 0xc0)],
    )]);
    let b = bench.block(&[(labels(1), vec![one(30, 0x80)])]);
    let (outputs, _) = bench.merged(&[a, b], 1);
    let flags: Vec<(i64, u8)> = only(&outputs[0])
        .iter()
        .map(|chunk| (chunk.1, chunk.3[2]))
        .collect();
    assert_eq!(
        flags,
        [(10, 0x40), (20, 0x40), (30, 0), (40, 0), (60, 0xc0)]
    );
}

#[test]
fn the_source_that_cannot_be_read_is_named() {
    let mut bench = Bench::new("merge-damage");
    let series: Vec<_> = (0..20)
        .map(|job| (labels(job), vec![floats(&ramp(0, 500, 3))]))
        .collect();
    let sources = [0; 3].map(|_| bench.block(&series));
    for file in ["chunks/000001", "index"] {
        let path = sources[1].join(file);
        let good = std::fs::read(&path).expect("a file");
        // Symbols, series, table of contents; postings are not read.
        for at in [9, 201, good.len() - 3] {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            std::fs::write(&path, &bad).expect("written");
            let output = bench.directory();
            match compact(&whole(&sources), &[output], 1 << 20) {
                Err(MergeError::Source(1, _)) => {}
                other => panic!("{file} at {at}: {other:?}"),
            }
        }
        std::fs::write(&path, &good).expect("written");
    }
}

#[test]
fn a_chunk_outside_of_its_block_is_damage() {
    let mut bench = Bench::new("merge-outside");
    let good = bench.block(&[(labels(1), vec![floats(&[(10, 1.0), (19, 2.0)])])]);
    let output = bench.directory();
    let mut sources = whole(&[good.clone(), good]);
    (sources[1].mint, sources[1].maxt) = (10, 19);
    match compact(&sources, &[output], 1 << 20) {
        Err(MergeError::Source(1, error)) => assert!(error.to_string().contains("outside")),
        other => panic!("{other:?}"),
    }
    sources[1].maxt = 20;
    let output = bench.directory();
    assert_eq!(
        compact(&sources, &[output], 1 << 20).expect("merged")[0].samples,
        2
    );
}

/// A seeded sequence of numbers.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Samples cut into chunks at random places; some chunks of one sample.
fn cut(samples: &[(i64, f64)], chance: &mut Chance) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut rest = samples;
    while !rest.is_empty() {
        let size = [1, 3, 20, 120, 240][chance.below(5) as usize].min(rest.len());
        chunks.push(floats(&rest[..size]));
        rest = &rest[size..];
    }
    chunks
}

#[test]
fn any_blocks_hold_the_same_samples_when_merged() {
    for seed in 0..60 {
        let mut chance = Chance(seed);
        let mut bench = Bench::new(&format!("merge-any-{seed}"));
        let mut expected: BTreeMap<String, BTreeMap<i64, f64>> = BTreeMap::new();
        let mut sources = Vec::new();
        for _ in 0..1 + chance.below(5) {
            let mut series = Vec::new();
            let (from, length) = (chance.below(1000) as i64, 1 + chance.below(1500) as i64);
            for job in 0..30 {
                let kept = chance.below(4);
                let samples: Vec<(i64, f64)> = (from..from + length)
                    .filter(|t| t % 3 == 0 && (kept == 0 || chance.below(4) < kept))
                    .map(|t| (t, (t * job as i64) as f64))
                    .collect();
                if !samples.is_empty() {
                    let name = format!("__name__=up,job=j{job:04}");
                    expected
                        .entry(name)
                        .or_default()
                        .extend(samples.iter().copied());
                    series.push((labels(job), cut(&samples, &mut chance)));
                }
            }
            sources.push(bench.block(&series));
        }
        let outputs = 1 + chance.below(3) as usize;
        let (paths, stats) = bench.merged(&sources, outputs);
        let mut found = BTreeMap::new();
        for (path, stats) in paths.iter().zip(&stats) {
            let series = read(path);
            assert_eq!(stats.series, series.len() as u64);
            for (name, chunks) in series {
                let all = samples(&chunks);
                assert!(all.is_sorted_by(|a, b| a.0 < b.0));
                assert!(
                    found
                        .insert(name, all.into_iter().collect::<BTreeMap<_, _>>())
                        .is_none()
                );
            }
        }
        assert_eq!(found, expected, "seed {seed}");
    }
}

//! Blocks cut from a head, and the head after that: between them they have what was acknowledged, whatever goes wrong.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use super::admission::Rng;
use super::histograms::{Mixed, MixedRow, Value, mixed, plain, value_of, whole};
use super::*;
use crate::block::{BlockError, BlockReader, ChunkRef};
use crate::codec::histogram::looks::Looks;
use crate::codec::histogram::read::decode_into;
use crate::codec::xor;
use crate::head::cut::{self, Ordered, Part, Range, SeriesSink};
use crate::head::identity;
use crate::histogram::{FloatHistogram, Histogram};

const RANGE_MS: i64 = 10_000;
const START: i64 = 1_700_000_000_000;

/// Keeps the samples of what a block would have.
struct Collected<'a> {
    symbols: Vec<&'a str>,
    range: Range,
    last: Vec<(String, String)>,
    samples: Mixed,
}

impl SeriesSink for Collected<'_> {
    fn series(&mut self, labels: &[(u32, u32)], chunks: &[ChunkRef<'_>]) -> Result<(), BlockError> {
        let text = |number: u32| self.symbols[number as usize - 1].to_string();
        let labels: Vec<_> = labels.iter().map(|&(n, v)| (text(n), text(v))).collect();
        assert!(self.last < labels, "series ascend");
        let name = name_of(labels.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        self.last = labels;
        let mut before = i64::MIN;
        let all = self.samples.entry(name).or_default();
        assert!(!chunks.is_empty());
        for chunk in chunks {
            let row = chunk_samples(chunk.encoding, chunk.data);
            assert_eq!((row[0].0, row[row.len() - 1].0), (chunk.mint, chunk.maxt));
            assert!(chunk.mint > before && chunk.mint >= self.range.mint);
            assert!(chunk.maxt < self.range.maxt);
            before = chunk.maxt;
            all.extend(row);
        }
        Ok(())
    }
}

fn chunk_samples(encoding: u8, data: &[u8]) -> Vec<(i64, Value)> {
    let (mut ts, mut values) = (Vec::new(), Vec::new());
    let mut histograms: Vec<Arc<FloatHistogram>> = Vec::new();
    if encoding == 1 {
        xor::decode_into(data, i64::MIN, i64::MAX, &mut ts, &mut values).unwrap();
        let values = values.iter().map(|v| Value::Float(v.to_bits()));
        return ts.into_iter().zip(values).collect();
    }
    let (min, max) = (i64::MIN, i64::MAX);
    decode_into(
        encoding,
        data,
        min,
        max,
        &Looks::ALL,
        &mut ts,
        &mut histograms,
    )
    .unwrap();
    let values = histograms
        .iter()
        .map(|h| Value::Histogram(identity::of(false, h)));
    ts.into_iter().zip(values).collect()
}

fn block_of(head: &Head, range: Range) -> Option<Mixed> {
    let ordered = Ordered::new(head, range).unwrap();
    let symbols = ordered.symbols();
    assert!(symbols.windows(2).all(|pair| pair[0] < pair[1]));
    let mut sink = Collected {
        symbols,
        range,
        last: Vec::new(),
        samples: Mixed::new(),
    };
    cut::write(head, range, &ordered, &mut sink).unwrap();
    (!sink.samples.is_empty()).then_some(sink.samples)
}

#[derive(Clone)]
struct Block {
    range: Range,
    samples: Mixed,
}

/// The process ended here.
#[derive(Debug)]
struct Crash;

/// A head with its blocks, on a disk that may crash.
struct Store {
    fs: MemFs,
    head: Head,
    blocks: Vec<Block>,
    rng: Rng,
    now: i64,
    seed: u64,
    /// Acknowledged, and sent without an answer.
    stored: Mixed,
    maybe: Mixed,
    /// Steps until the process ends.
    steps_left: Option<u64>,
    compress: bool,
}

fn open_store(fs: &MemFs, blocks: &[Block], compress: bool) -> Head {
    let in_order = blocks.iter().filter(|b| b.range.part == Part::InOrder);
    let bounds = Bounds {
        range_ms: RANGE_MS,
        floor: in_order.map(|b| b.range.maxt).max().unwrap_or(i64::MIN),
        ooo_samples_max: 5,
        ..BOUNDS
    };
    let options = LogOptions {
        segment_bytes: 700,
        compress,
        ..OPTIONS
    };
    replayed(fs, options, bounds)
}

fn value_at(name: &str, t: i64, seed: u64) -> Result<f64, Box<Histogram>> {
    match name.as_bytes()[0] {
        b'h' => Err(Box::new(plain((t - START + 1_000_000) as u64))),
        // Now these, now those.
        b'm' if (t / 3000 + seed as i64) % 2 == 0 => {
            Err(Box::new(plain((t - START + 1_000_000) as u64)))
        }
        _ => Ok((t % 977) as f64),
    }
}

fn row_of(name: &str, t: i64, seed: u64) -> (MixedRow<'_>, Value) {
    match value_at(name, t, seed) {
        Ok(v) => ((name, vec![(t, v)], vec![]), Value::Float(v.to_bits())),
        Err(h) => {
            let value = value_of(&h);
            ((name, vec![], vec![(t, *h)]), value)
        }
    }
}

impl Store {
    fn new(seed: u64) -> Self {
        let fs = MemFs::default();
        let compress = seed.is_multiple_of(3);
        Store {
            head: open_store(&fs, &[], compress),
            fs,
            blocks: Vec::new(),
            rng: Rng(seed * 131 + 7),
            now: START,
            seed,
            stored: Mixed::new(),
            maybe: Mixed::new(),
            steps_left: None,
            compress,
        }
    }

    /// Series come and go.
    fn names(&mut self) -> Vec<String> {
        let phase = (self.now - START) / 7000;
        let all = (0..9).map(|i| match i % 3 {
            0 => format!("h:x={}", (phase + i) / 2),
            1 => format!("m:x={}", i % 2),
            _ => format!("up:pod={},x={i}", phase / 2),
        });
        let names: BTreeSet<String> = all.filter(|_| self.rng.below(3) > 0).collect();
        names.into_iter().collect()
    }

    fn append(&mut self) -> Result<(), Crash> {
        self.now += self.rng.below(700) as i64;
        let names = self.names();
        let mut rows = Vec::new();
        for name in &names {
            let late = match self.rng.below(5) {
                0 => self.rng.below(9000) as i64,
                _ => 0,
            };
            rows.push((
                name,
                row_of(name, self.now - late, self.seed),
                self.now - late,
            ));
        }
        let batch = mixed(&rows.iter().map(|r| r.1.0.clone()).collect::<Vec<_>>());
        let limits = Limits {
            ooo_window_ms: 12_000,
            ..Limits::default()
        };
        match self.head.append(&[&batch], limits) {
            Ok(mut outcomes) => {
                let refused = outcomes.remove(0).refused;
                let refused: BTreeSet<u32> = refused.into_iter().flat_map(|r| r.rows).collect();
                for (number, (name, (_, value), t)) in rows.into_iter().enumerate() {
                    if !refused.contains(&(number as u32)) {
                        self.stored
                            .entry(name.clone())
                            .or_default()
                            .insert(t, value);
                    }
                }
                Ok(())
            }
            Err(_) => {
                for (name, (_, value), t) in rows {
                    self.maybe.entry(name.clone()).or_default().insert(t, value);
                }
                Err(Crash)
            }
        }
    }

    /// Between two steps: others push, the process may end.
    fn between(&mut self) -> Result<(), Crash> {
        for _ in 0..self.rng.below(3) {
            self.append()?;
        }
        if self.rng.below(40) == 0 {
            let key = [self.rng.below(3) as u8 + 7; 32];
            self.head.rekey(&key).unwrap();
        }
        match &mut self.steps_left {
            None => Ok(()),
            Some(0) => Err(Crash),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn cut(&mut self, maxt: i64) -> Result<(), Crash> {
        let mint = self.head.table().unwrap().mint;
        self.head.freeze(maxt).unwrap();
        self.between()?;
        let range = Range {
            part: Part::InOrder,
            mint,
            maxt,
        };
        let samples = block_of(&self.head, range).unwrap_or_default();
        self.between()?;
        // This is the rename.
        self.blocks.push(Block { range, samples });
        self.between()?;
        let mut next = Some(0);
        while let Some(start) = next {
            next = self.head.forget(maxt, start).unwrap();
            self.between()?;
        }
        self.head.prepare_rebuild().unwrap();
        self.between()?;
        self.head.rebuild().unwrap();
        self.between()?;
        let active = self.head.seal_wal().map_err(|_| Crash)?;
        self.between()?;
        self.head.checkpoint(active).map_err(|_| Crash)?;
        self.between()
    }

    fn cut_ooo(&mut self) -> Result<(), Crash> {
        let segment = self.head.seal_wbl().map_err(|_| Crash)?;
        let mut next = Some(0);
        while let Some(start) = next {
            next = self.head.freeze_ooo(start).unwrap();
            self.between()?;
        }
        let oldest = self.head.table().unwrap().ooo_mint;
        if oldest == i64::MAX {
            return Ok(());
        }
        let mut start = oldest.div_euclid(RANGE_MS) * RANGE_MS;
        let mut made = Vec::new();
        while start <= self.now {
            let range = Range {
                part: Part::OutOfOrder,
                mint: start,
                maxt: start + RANGE_MS,
            };
            if let Some(samples) = block_of(&self.head, range) {
                made.push(Block { range, samples });
            }
            start += RANGE_MS;
            self.between()?;
        }
        for block in made {
            self.blocks.push(block);
            self.between()?;
        }
        let mut next = Some(0);
        while let Some(start) = next {
            next = self.head.forget_ooo(start).unwrap();
            self.between()?;
        }
        self.head.truncate_wbl(segment).map_err(|_| Crash)?;
        self.between()
    }

    /// Head and blocks have what was stored, and nothing that was not sent.
    fn check(&mut self, what: &str) {
        let mut all = whole(&self.head);
        for block in &self.blocks {
            for (name, samples) in &block.samples {
                let row = all.entry(name.clone()).or_default();
                for (t, v) in samples {
                    let known = row.entry(*t).or_insert(*v);
                    assert_eq!(known, v, "{what}: {name} at {t}, seed {}", self.seed);
                }
            }
        }
        for (name, samples) in &self.stored {
            for (t, v) in samples {
                let found = all.get(name).and_then(|row| row.get(t));
                assert_eq!(
                    found,
                    Some(v),
                    "{what}: {name} at {t} lost, seed {}",
                    self.seed
                );
            }
        }
        for (name, samples) in &all {
            for (t, v) in samples {
                let of = |from: &Mixed| from.get(name).and_then(|row| row.get(t)) == Some(v);
                assert!(
                    of(&self.stored) || of(&self.maybe),
                    "{what}: {name} at {t} invented, seed {}",
                    self.seed
                );
            }
        }
        // What was on its way is here or it is not; it does not change any more.
        self.maybe.clear();
        self.stored = all;
    }

    fn in_order_blocks_are_apart(&self) {
        let mut ranges: Vec<(i64, i64)> = self
            .blocks
            .iter()
            .filter(|block| block.range.part == Part::InOrder)
            .map(|block| (block.range.mint, block.range.maxt))
            .collect();
        ranges.sort_unstable();
        assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    }

    fn restart(&mut self) {
        self.fs.0.lock().unwrap().changes_left = None;
        self.steps_left = None;
        self.head = open_store(&self.fs, &self.blocks, self.compress);
        let report = self.head.replay_report().unwrap();
        assert!(report.damage.is_empty(), "{:?}", report.damage);
        let table = self.head.table().unwrap();
        assert!((0..table.len() as u32).all(|sid| table.has_samples(sid)));
    }

    fn round(&mut self, crashing: bool) -> Result<(), Crash> {
        if crashing {
            match self.rng.below(2) {
                0 => self.steps_left = Some(self.rng.below(25)),
                _ => self.fs.0.lock().unwrap().changes_left = Some(self.rng.below(60)),
            }
        }
        for _ in 0..self.rng.below(40) {
            self.append()?;
        }
        let (mint, maxt) = {
            let table = self.head.table().unwrap();
            (table.mint, table.maxt)
        };
        match self.rng.below(5) {
            0 => self.cut_ooo()?,
            // As a flush does.
            1 if mint <= maxt => self.cut(maxt + 1)?,
            _ if mint <= maxt && maxt - mint > RANGE_MS * 3 / 2 => {
                self.cut((mint / RANGE_MS + 1) * RANGE_MS)?;
                self.cut_ooo()?;
            }
            _ => {}
        }
        Ok(())
    }
}

#[test]
fn cuts_lose_nothing_and_invent_nothing_whatever_goes_wrong() {
    for seed in 0..40 {
        let mut store = Store::new(seed);
        let mut checkpoints = 0;
        for round in 0..30 {
            let crashing = seed % 2 == 1 && store.rng.below(3) == 0;
            let ended = store.round(crashing);
            if ended.is_err() || crashing || store.rng.below(8) == 0 {
                store.restart();
                store.check("restarted");
            }
            store.check("running");
            store.in_order_blocks_are_apart();
            let state = store.fs.0.lock().unwrap();
            let folded = |p: &&std::path::PathBuf| p.to_string_lossy().contains("checkpoint");
            checkpoints += usize::from(state.files.keys().any(|p| folded(&p)));
            assert!(round < 29 || !store.blocks.is_empty());
        }
        assert!(checkpoints > 0, "seed {seed} had no checkpoint");
    }
}

#[test]
fn a_block_has_the_samples_of_its_range_and_the_head_the_rest() {
    let head = open_store(&MemFs::default(), &[], false);
    let rows: Vec<(i64, f64)> = (0..40).map(|i| (START + i * 500, i as f64)).collect();
    append(&head, &[("down", rows[..3].to_vec())], Limits::default()).unwrap();
    append(&head, &[("up:a=1", rows.clone())], Limits::default()).unwrap();
    let cut_at = START + 7_300;
    head.freeze(cut_at).unwrap();
    let late = append(
        &head,
        &[("late", vec![(cut_at - 1, 1.0)])],
        Limits::default(),
    )
    .unwrap();
    assert_eq!(
        late,
        (0, vec![(Refusal::TooOld, 1)]),
        "nothing is added below the cut"
    );
    let directory = std::env::temp_dir().join(format!("cut-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let range = Range {
        part: Part::InOrder,
        mint: START,
        maxt: cut_at,
    };
    let stats = cut::write_block(&head, range, &directory, 512 << 20)
        .unwrap()
        .unwrap();
    assert_eq!(
        (stats.series, stats.samples, stats.mint),
        (2, 15 + 3, START)
    );
    assert_eq!(stats.maxt, START + 7_000);
    let reader = BlockReader::open(&directory).unwrap();
    let symbols: Result<Vec<String>, _> = reader.symbols().collect();
    assert!(symbols.unwrap().contains(&"up".to_string()));
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(head.forget(cut_at, 0).unwrap(), None);
    head.prepare_rebuild().unwrap();
    assert_eq!(head.rebuild().unwrap(), 1);
    let table = head.table().unwrap();
    assert_eq!(
        (table.len(), table.extent()),
        (1, Some((cut_at, START + 19_500)))
    );
    drop(table);
    let kept = select(&head, &[], cut_at, i64::MAX);
    assert_eq!(kept, expect(&[("up:a=1", rows[15..].to_vec())]));
    // The reference of the one that went belongs to nobody.
    append(
        &head,
        &[("new", vec![(START + 20_000, 1.0)])],
        Limits::default(),
    )
    .unwrap();
    let table = head.table().unwrap();
    let references: Vec<u64> = (0..2).map(|sid| table.ref_of(sid)).collect();
    assert_eq!(references, [2, 3]);
    assert_eq!((table.series_created, table.series_removed), (3, 1));
}

#[test]
fn a_cut_that_failed_leaves_the_head_as_it_was() {
    let head = open_store(&MemFs::default(), &[], false);
    append(&head, &[("up", vec![(START, 1.0)])], Limits::default()).unwrap();
    head.freeze(START + 10).unwrap();
    let push = |t: i64| {
        append(&head, &[("up", vec![(t, 2.0)])], Limits::default())
            .unwrap()
            .0
    };
    assert_eq!(push(START + 5), 0);
    head.thaw().unwrap();
    assert_eq!(push(START + 5), 1);
}

#[test]
fn references_of_series_that_went_are_not_given_out_after_a_restart() {
    let fs = MemFs::default();
    let mut blocks = Vec::new();
    let mut t = START;
    for round in 0..6 {
        let head = open_store(&fs, &blocks, false);
        let name = format!("up:round={round}");
        for _ in 0..30 {
            t += 500;
            append(&head, &[(&name, vec![(t, 1.0)])], Limits::default()).unwrap();
        }
        assert_eq!(head.table().unwrap().ref_of(0), round + 1);
        let range = Range {
            part: Part::InOrder,
            mint: head.table().unwrap().mint,
            maxt: t + 1,
        };
        let samples = block_of(&head, range).unwrap();
        blocks.push(Block { range, samples });
        head.forget(t + 1, 0).unwrap();
        head.prepare_rebuild().unwrap();
        assert_eq!(head.rebuild().unwrap(), 1);
        assert_eq!(head.table().unwrap().extent(), None);
        let active = head.seal_wal().unwrap();
        let folded = head.checkpoint(active).unwrap();
        assert!(folded.is_some(), "an empty head needs no log");
        let state = fs.0.lock().unwrap();
        let segments = state
            .files
            .keys()
            .filter(|p| p.parent() == Some(Path::new("/t/wal")));
        assert_eq!(segments.count(), 0);
    }
}

#[test]
fn appends_and_selections_go_on_beside_a_cut() {
    let head = Arc::new(open_store(&MemFs::default(), &[], false));
    let names: Vec<String> = (0..200).map(|i| format!("up:i={i}")).collect();
    let push = |t: i64| {
        let rows: Vec<Row<'_>> = names
            .iter()
            .map(|n| (n.as_str(), vec![(t, t as f64)]))
            .collect();
        append(&head, &rows, Limits::default()).unwrap().0
    };
    (0..40).for_each(|i| assert_eq!(push(START + i * 500), 200));
    let cut_at = START + 10_000;
    let done = AtomicBool::new(false);
    let range = Range {
        part: Part::InOrder,
        mint: START,
        maxt: cut_at,
    };
    let (block, pushed) = std::thread::scope(|scope| {
        let pusher = scope.spawn(|| {
            let mut t = START + 20_000;
            while !done.load(Ordering::Relaxed) {
                assert_eq!(push(t), 200);
                let seen = select(&head, &[], t, t);
                assert_eq!(seen.len(), 200);
                t += 7;
            }
            t
        });
        head.freeze(cut_at).unwrap();
        let block = block_of(&head, range).unwrap();
        let mut next = Some(0);
        while let Some(start) = next {
            next = head.forget(cut_at, start).unwrap();
        }
        head.prepare_rebuild().unwrap();
        head.rebuild().unwrap();
        done.store(true, Ordering::Relaxed);
        (block, pusher.join().unwrap())
    });
    assert_eq!(block.len(), 200);
    assert!(block.values().all(|row| row.len() == 20));
    let rest = select(&head, &[], cut_at, i64::MAX);
    let want = 20 + (pushed - START - 20_000) / 7;
    assert!(rest.values().all(|row| row.len() == want as usize));
}

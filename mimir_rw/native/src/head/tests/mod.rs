//! The head against a plain model.
//!
//! Here: batches and selections in a few words, and the model. `admission` has what is stored and selected,
//! `histograms` and `exemplars` the same of those, `golden` what Prometheus makes of them, `durability` what crashes, failing disks and damage leave,
//! `cut` what becomes of samples when blocks take them, `references` rows without labels, changes of key and owned series, `replicas`
//! what several heads together give.

mod admission;
mod cut;
mod durability;
mod exemplars;
mod golden;
mod histograms;
mod references;
mod replicas;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::admission::{Limits, Refusal};
use super::core::{AppendError, Bounds, Head};
use super::postings::put_canonical;
use super::select;
use super::series::{CHUNK_RANGE_MS, OOO_SAMPLES_MAX};
use super::snapshot::Capture;
use super::wal::fs::faulty::MemFs;
use super::wal::log::{Fsync, LogOptions};
use crate::batch::WriteBatch;
use crate::codec::histogram::looks::Looks;
use crate::labels::{CompiledMatcher, MatchType};
use crate::series_set::runs::RunSource;
use crate::wire::series::SeriesHasher;

const KEY: [u8; 32] = [7; 32];
const OPTIONS: LogOptions = LogOptions {
    segment_bytes: 128 << 20,
    fsync: Fsync::Segment,
    compress: false,
};

const BOUNDS: Bounds = Bounds {
    ooo_samples_max: OOO_SAMPLES_MAX,
    exemplars_max: 0,
    range_ms: CHUNK_RANGE_MS,
    floor: i64::MIN,
};

const NAMES: [&str; 6] = ["up:a=1", "up:a=2", "down", "x:b=1,c=2", "x:b=1", "y:c=3"];

type Row<'a> = (&'a str, Vec<(i64, f64)>);
type Samples = BTreeMap<String, BTreeMap<i64, u64>>;

/// `up:a=1,b=2` as a label set.
fn labels(series: &str) -> Vec<(String, String)> {
    let (metric, rest) = series.split_once(':').unwrap_or((series, ""));
    let mut labels = vec![("__name__".to_string(), metric.to_string())];
    let pairs = rest.split(',').filter_map(|l| l.split_once('='));
    labels.extend(pairs.map(|(n, v)| (n.to_string(), v.to_string())));
    labels
}

/// Ring token of a series in these tests.
fn token(series: &str) -> u32 {
    series.bytes().map(u32::from).sum()
}

fn batch(rows: &[Row<'_>]) -> WriteBatch {
    batch_with(rows, &KEY)
}

fn batch_with(rows: &[Row<'_>], key: &[u8; 32]) -> WriteBatch {
    let hasher = SeriesHasher::new(key);
    let mut buf = Vec::new();
    let mut batch = WriteBatch {
        key_tag: hasher.tag(),
        ..WriteBatch::default()
    };
    for (series, samples) in rows {
        let start = buf.len();
        for (name, value) in labels(series) {
            put_canonical(&mut buf, &name, &value);
        }
        let end = buf.len();
        batch.label_range.push((start as u32, (end - start) as u32));
        batch.hash.push(hasher.hash(&buf[start..end]));
        batch.token.push(token(series));
        for (t, v) in samples {
            batch.ts.push(*t);
            batch.values.push(*v);
        }
        batch.sample_end.push(batch.ts.len() as u32);
    }
    batch.buf = Arc::new(buf);
    batch
}

fn open_with(fs: &MemFs, options: LogOptions) -> Head {
    replayed(fs, options, BOUNDS)
}

fn open_bounded(fs: &MemFs, bounds: Bounds) -> Head {
    replayed(fs, OPTIONS, bounds)
}

fn replayed(fs: &MemFs, options: LogOptions, bounds: Bounds) -> Head {
    let head = Head::open(
        Arc::new(fs.clone()),
        Path::new("/t"),
        &KEY,
        "tenant",
        options,
        bounds,
    )
    .unwrap();
    loop {
        let (done, total) = head.replay_step(1000).unwrap();
        if done == total {
            return head;
        }
    }
}

fn open(fs: &MemFs) -> Head {
    open_with(fs, OPTIONS)
}

fn append(
    head: &Head,
    rows: &[Row<'_>],
    limits: Limits,
) -> Result<(u64, Vec<(Refusal, u64)>), AppendError> {
    let outcome = head.append(&[&batch(rows)], limits)?.remove(0);
    let refused = outcome.refused.iter().map(|r| (r.why, r.count));
    Ok((outcome.stored, refused.collect()))
}

fn matcher(kind: u8, name: &str, value: &str) -> CompiledMatcher {
    CompiledMatcher::new(MatchType::from_number(kind).unwrap(), name, value).unwrap()
}

fn name_of<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut name = String::new();
    for (n, v) in labels {
        match n {
            "__name__" => name += v,
            _ => name += &format!("{}{n}={v}", if name.contains(':') { "," } else { ":" }),
        }
    }
    name
}

fn select(head: &Head, matchers: &[CompiledMatcher], mint: i64, maxt: i64) -> Samples {
    let table = head.table().unwrap();
    let sids = select::find(&table, matchers, mint, maxt);
    let snapshot = Capture::new(&table, &sids, mint, maxt).finish();
    let columns = snapshot
        .decode(0..snapshot.len(), mint, maxt, &Looks::ALL)
        .unwrap();
    let (offsets, ts, values) = (columns.offsets, columns.ts, columns.values);
    assert!(ts.len() <= snapshot.sample_count_max(0..snapshot.len()));
    let mut samples = Samples::new();
    let mut names = Vec::new();
    for row in 0..snapshot.len() {
        let range = offsets[row]..offsets[row + 1];
        assert!(
            ts[range.clone()].windows(2).all(|w| w[0] < w[1]),
            "times ascend"
        );
        let name = name_of(snapshot.labels.labels(row));
        names.push(labels(&name));
        let row = ts[range.clone()].iter().copied();
        let row: BTreeMap<i64, u64> = row.zip(values[range].iter().map(|v| v.to_bits())).collect();
        if !row.is_empty() {
            samples.insert(name, row);
        }
    }
    assert!(names.is_sorted(), "series in label order");
    samples
}

fn everything(head: &Head) -> Samples {
    select(head, &[], i64::MIN, i64::MAX)
}

fn expect(rows: &[Row<'_>]) -> Samples {
    let row = |samples: &Vec<(i64, f64)>| samples.iter().map(|(t, v)| (*t, v.to_bits())).collect();
    rows.iter()
        .map(|(name, samples)| (name.to_string(), row(samples)))
        .collect()
}

/// The admission rules once more, sample by sample.
#[derive(Clone, Default)]
struct Model {
    series: BTreeMap<String, ModelSeries>,
    maxt: Option<i64>,
}

#[derive(Clone, Default)]
struct ModelSeries {
    last: Option<(i64, u64)>,
    in_order: BTreeMap<i64, u64>,
    ooo: BTreeMap<i64, u64>,
    ooo_open: BTreeMap<i64, u64>,
    /// Of this group.
    ooo_new: Vec<(i64, u64)>,
}

impl Model {
    fn batch(&mut self, rows: &[Row<'_>], window: i64) -> (u64, u64) {
        let (mut stored, mut refused) = (0, 0);
        let valid_min = self.maxt.map_or(i64::MIN, |t| t - 3_600_000);
        let ooo_min = self.maxt.map_or(i64::MIN, |t| t - window);
        for (name, samples) in rows {
            for (t, v) in samples {
                let (t, v) = (*t, v.to_bits());
                let mut series = self.series.get(*name).cloned().unwrap_or_default();
                let newer = t >= valid_min && series.last.is_none_or(|l| t > l.0);
                let ok = if newer {
                    series.last = Some((t, v));
                    series.in_order.insert(t, v);
                    true
                } else if t >= valid_min && series.last.is_some_and(|l| l.0 == t) {
                    series.last == Some((t, v))
                } else if window > 0 && t >= ooo_min {
                    let new = series.ooo_new.iter().find(|s| s.0 == t).map(|s| s.1);
                    let known = new.or(series.ooo_open.get(&t).copied());
                    // What is there in order already is not stored again.
                    if known.is_none() && series.in_order.get(&t) != Some(&v) {
                        series.ooo_new.push((t, v));
                        series.ooo.entry(t).or_insert(v);
                    }
                    known.is_none_or(|known| known == v)
                } else {
                    false
                };
                if ok {
                    self.maxt = self.maxt.max(Some(t));
                    self.series.insert(name.to_string(), series);
                    stored += 1;
                } else {
                    refused += 1;
                }
            }
        }
        (stored, refused)
    }

    /// The group was applied; an out-of-order chunk closes when it is full.
    fn close_full(&mut self) {
        for series in self.series.values_mut() {
            for (t, v) in series.ooo_new.drain(..) {
                series.ooo_open.insert(t, v);
                if series.ooo_open.len() == 32 {
                    series.ooo_open.clear();
                }
            }
        }
    }

    fn samples(&self) -> Samples {
        let merge = |s: &ModelSeries| {
            let mut all = s.ooo.clone();
            all.extend(s.in_order.iter());
            all
        };
        self.series
            .iter()
            .map(|(name, s)| (name.clone(), merge(s)))
            .collect()
    }
}

//! Series of histograms, or of floats and histograms: what is stored, replayed, sent and put together.

use std::collections::{BTreeSet, HashMap};

use super::replicas::{decode, parts, snapshot};
use super::*;
use crate::batch::HistogramSample;
use crate::codec::histogram::looks::Looks;
use crate::codec::histogram::tests::{Dice, float, integer, stale, with_hint};
use crate::head::identity;
use crate::histogram::{Histogram, ResetHint};
use crate::labels::LabelFrame;
use crate::series_set::merged::MergedSet;
use crate::series_set::part;
use crate::series_set::runs::{Columns, Source};

const NOW: i64 = 1_700_000_000_000;

/// Series, floats, histograms.
pub type MixedRow<'a> = (&'a str, Vec<(i64, f64)>, Vec<(i64, Histogram)>);

pub fn mixed(rows: &[MixedRow<'_>]) -> WriteBatch {
    let floats: Vec<Row<'_>> = rows.iter().map(|row| (row.0, row.1.clone())).collect();
    let mut batch = batch(&floats);
    for (_, _, histograms) in rows {
        let sample = |(ts, histogram): &(i64, Histogram)| HistogramSample {
            ts: *ts,
            start_ts: 0,
            histogram: Arc::new(histogram.clone()),
        };
        batch.histograms.extend(histograms.iter().map(sample));
        batch.histogram_end.push(batch.histograms.len() as u32);
    }
    batch
}

/// What a sample is, but for the layout of its buckets and what is known about resets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    Float(u64),
    Histogram(u64),
}

pub fn value_of(histogram: &Histogram) -> Value {
    Value::Histogram(identity::of(false, &histogram.to_float()))
}

pub type Mixed = BTreeMap<String, BTreeMap<i64, Value>>;

pub fn of_columns(labels: &LabelFrame, columns: &Columns) -> Mixed {
    let mut all = Mixed::new();
    for row in 0..labels.len() {
        let range = columns.offsets[row]..columns.offsets[row + 1];
        let floats = columns.ts[range.clone()].iter().zip(&columns.values[range]);
        let mut samples: BTreeMap<i64, Value> = floats
            .map(|(t, v)| (*t, Value::Float(v.to_bits())))
            .collect();
        if let Some(histograms) = &columns.histograms {
            let (ts, items) = histograms.row(row);
            assert!(ts.windows(2).all(|w| w[0] < w[1]), "times ascend");
            for (t, item) in ts.iter().zip(items) {
                let value = Value::Histogram(identity::of(false, item));
                assert_eq!(samples.insert(*t, value), None, "one sample at a time");
            }
        }
        if !samples.is_empty() {
            all.insert(name_of(labels.labels(row)), samples);
        }
    }
    all
}

/// Of a selection, and of the same as bytes.
fn selected(head: &Head, mint: i64, maxt: i64) -> Mixed {
    let snapshot = snapshot(head, mint, maxt);
    let all = 0..snapshot.len();
    let columns = snapshot
        .decode(all.clone(), mint, maxt, &Looks::ALL)
        .unwrap();
    let count = columns.ts.len() + columns.histograms.as_ref().map_or(0, |h| 11 * h.ts.len());
    assert!(count <= snapshot.sample_count_max(all.clone()));
    let here = of_columns(&snapshot.labels, &columns);
    if !snapshot.is_empty() {
        let sent = decode(parts(&snapshot, 2)).unwrap();
        let there = sent.decode(all, mint, maxt, &Looks::ALL).unwrap();
        assert_eq!(of_columns(&sent.labels, &there), here);
    }
    here
}

pub fn whole(head: &Head) -> Mixed {
    selected(head, i64::MIN, i64::MAX)
}

fn hinted(head: &Head, series: &str) -> Vec<ResetHint> {
    let snapshot = snapshot(head, i64::MIN, i64::MAX);
    let columns = snapshot
        .decode(0..snapshot.len(), i64::MIN, i64::MAX, &Looks::ALL)
        .unwrap();
    let row = (0..snapshot.len()).find(|&row| name_of(snapshot.labels.labels(row)) == series);
    let histograms = columns.histograms.unwrap();
    let items = histograms.row(row.unwrap()).1;
    items.iter().map(|item| item.hint).collect()
}

pub fn plain(count: u64) -> Histogram {
    integer(count, 1, count as f64, &[(0, 2)], &[1, 2])
}

pub fn push(head: &Head, rows: &[MixedRow<'_>], limits: Limits) -> (u64, Vec<(Refusal, u64)>) {
    let outcome = head.append(&[&mixed(rows)], limits).unwrap().remove(0);
    let refused = outcome.refused.iter().map(|r| (r.why, r.count));
    (outcome.stored, refused.collect())
}

const OOO: Limits = Limits {
    series_max: 0,
    series_per_metric_max: 0,
    ooo_window_ms: 600_000,
    exemplars_max: 0,
};

/// The admission model of floats, asked about histograms by their identity.
#[derive(Default)]
struct MixedModel {
    model: Model,
    values: HashMap<u64, Value>,
}

impl MixedModel {
    fn batch(&mut self, rows: &[MixedRow<'_>], window: i64) -> (u64, u64) {
        let rows: Vec<Row<'_>> = rows
            .iter()
            .map(|(name, floats, histograms)| {
                let mut samples = floats.clone();
                for (_, v) in floats {
                    self.values.insert(v.to_bits(), Value::Float(v.to_bits()));
                }
                for (t, histogram) in histograms {
                    let identity = identity::of_histogram(histogram);
                    self.values.insert(identity, value_of(histogram));
                    samples.push((*t, f64::from_bits(identity)));
                }
                (*name, samples)
            })
            .collect();
        self.model.batch(&rows, window)
    }

    /// At equal times the in-order sample stands, but a histogram before a float.
    fn samples(&self) -> Mixed {
        let row = |series: &ModelSeries| {
            let mut all: BTreeMap<i64, Value> = BTreeMap::new();
            for (t, v) in series.in_order.iter().chain(&series.ooo) {
                let value = self.values[v];
                let known = all.entry(*t).or_insert(value);
                if matches!((&known, value), (Value::Float(_), Value::Histogram(_))) {
                    *known = value;
                }
            }
            all
        };
        let series = self.model.series.iter();
        series.map(|(name, s)| (name.clone(), row(s))).collect()
    }
}

#[test]
fn mixed_pushes_are_admitted_stored_replayed_and_sent_as_the_model_says() {
    for seed in 0..12 {
        let mut dice = Dice(seed);
        let window = [0, 60_000][seed as usize % 2];
        let limits = Limits {
            ooo_window_ms: window,
            ..Limits::default()
        };
        let fs = MemFs::default();
        // Out-of-order chunks of floats and of histograms close each for itself; here none does.
        let open = || {
            open_bounded(
                &fs,
                Bounds {
                    ooo_samples_max: 10_000,
                    ..BOUNDS
                },
            )
        };
        let mut head = open();
        let mut model = MixedModel::default();
        let mut counters: Vec<Vec<Histogram>> = NAMES.iter().map(|_| dice.series(70)).collect();
        for group in 0..60i64 {
            let now = NOW + group * 2_000;
            let mut batches: Vec<Vec<MixedRow<'_>>> = Vec::new();
            for _ in 0..=dice.below(2) {
                let row = |_| random_row(&mut dice, &mut counters, now);
                batches.push((0..6).map(row).collect());
            }
            let native: Vec<WriteBatch> = batches.iter().map(|rows| mixed(rows)).collect();
            let outcomes = head
                .append(&native.iter().collect::<Vec<_>>(), limits)
                .unwrap();
            for (rows, outcome) in batches.iter().zip(&outcomes) {
                let refused: u64 = outcome.refused.iter().map(|r| r.count).sum();
                let want = model.batch(rows, window);
                assert_eq!((outcome.stored, refused), want, "seed {seed} group {group}");
            }
            if dice.below(10) == 0 {
                head = open();
                assert!(head.replay_report().unwrap().damage.is_empty());
                assert_eq!(whole(&head), model.samples(), "seed {seed} group {group}");
            }
        }
        assert_eq!(whole(&head), model.samples(), "seed {seed}");
        assert_eq!(whole(&open()), model.samples(), "seed {seed} replayed");
    }
}

fn random_row<'a>(dice: &mut Dice, counters: &mut [Vec<Histogram>], now: i64) -> MixedRow<'a> {
    let at = dice.below(NAMES.len() as u64) as usize;
    let time =
        |dice: &mut Dice| now - [0, 0, 0, 1, 2_000, 4_000, 50_000, 90_000][dice.below(8) as usize];
    let (mut floats, mut histograms) = (Vec::new(), Vec::new());
    match dice.below(5) {
        0 => floats.push((time(dice), dice.below(5) as f64)),
        kind => {
            let next = counters[at].pop().unwrap_or_else(|| dice.histogram());
            let next = if kind == 1 { float(&next) } else { next };
            histograms.push((time(dice), next.clone()));
            if dice.below(4) == 0 {
                histograms.push((time(dice), next));
            }
            if dice.below(8) == 0 {
                floats.push((time(dice), 1.0));
            }
        }
    }
    (NAMES[at], floats, histograms)
}

#[test]
fn an_equal_histogram_is_accepted_again_and_another_refused() {
    let head = open(&MemFs::default());
    let row = |h: Histogram| [("up", vec![], vec![(NOW, h)])];
    assert_eq!(push(&head, &row(plain(5)), OOO), (1, vec![]));
    // The same with an empty bucket more.
    let wide = integer(5, 1, 5.0, &[(0, 2), (3, 1)], &[1, 2, -3]);
    assert_eq!(push(&head, &row(plain(5)), OOO), (1, vec![]));
    assert_eq!(push(&head, &row(wide), OOO), (1, vec![]));
    let duplicate = vec![(Refusal::DuplicateTimestamp, 1)];
    assert_eq!(push(&head, &row(plain(6)), OOO), (0, duplicate.clone()));
    assert_eq!(
        push(&head, &row(float(&plain(5))), OOO),
        (0, duplicate.clone())
    );
    let floats = [("up", vec![(NOW, 1.0)], vec![])];
    assert_eq!(push(&head, &floats, OOO), (0, duplicate.clone()));
    let late = [(
        "up",
        vec![],
        vec![
            (NOW - 5, plain(1)),
            (NOW - 5, plain(1)),
            (NOW - 5, plain(2)),
        ],
    )];
    assert_eq!(push(&head, &late, OOO), (2, duplicate));
    assert_eq!(head.table().unwrap().histograms_appended, 2);
}

#[test]
fn a_change_of_kind_cuts_a_chunk_and_nothing_is_lost() {
    let fs = MemFs::default();
    let head = open(&fs);
    let mut want = BTreeMap::new();
    for i in 0..400i64 {
        let t = NOW + i * 1000;
        let row = match i / 50 % 4 {
            0 => ("up", vec![(t, i as f64)], vec![]),
            1 => ("up", vec![], vec![(t, plain(i as u64))]),
            2 => ("up", vec![], vec![(t, float(&plain(i as u64)))]),
            _ => ("up", vec![], vec![(t, stale())]),
        };
        let value = |h: &(i64, Histogram)| value_of(&h.1);
        let float = |s: &(i64, f64)| Value::Float(s.1.to_bits());
        let value = row.2.first().map(value).or(row.1.first().map(float));
        want.insert(t, value.unwrap());
        assert_eq!(push(&head, &[row], Limits::default()).0, 1);
    }
    for head in [&head, &open(&fs)] {
        assert_eq!(whole(head)["up"], want);
        let table = head.table().unwrap();
        assert_eq!(
            (table.samples_appended, table.histograms_appended),
            (400, 300)
        );
    }
    let part = selected(&head, NOW + 40_000, NOW + 110_000);
    let range = want.range(NOW + 40_000..=NOW + 110_000);
    assert_eq!(part["up"], range.map(|(t, v)| (*t, *v)).collect());
}

#[test]
fn many_late_histograms_fill_chunks() {
    let fs = MemFs::default();
    let head = open(&fs);
    push(&head, &[("up", vec![], vec![(NOW, plain(900))])], OOO);
    let mut dice = Dice(5);
    let mut times = BTreeSet::from([NOW]);
    for i in 0..200u64 {
        let t = NOW - 1 - dice.below(500_000) as i64;
        let at = (t - NOW + 600_000) as u64;
        let h = if i % 3 == 0 {
            float(&plain(at))
        } else {
            plain(at)
        };
        if times.insert(t) {
            assert_eq!(
                push(&head, &[("up", vec![], vec![(t, h)])], OOO),
                (1, vec![])
            );
        }
    }
    for head in [&head, &open(&fs)] {
        let got = whole(head);
        assert!(got["up"].keys().eq(times.iter()));
        let histograms = head.table().unwrap();
        let histograms = histograms.histograms(0).unwrap();
        assert!(histograms.ooo_closed.len() >= 5 && histograms.ooo.len() < OOO_SAMPLES_MAX);
    }
}

#[test]
fn chunks_are_cut_by_size_and_range() {
    let head = open(&MemFs::default());
    for i in 0..2_000u64 {
        let deltas: Vec<i64> = (0..30).map(|b| ((i * b) % 7) as i64 - 3).collect();
        let h = with_hint(
            integer(i, 1, i as f64, &[(0, 30)], &deltas),
            ResetHint::Gauge,
        );
        push(
            &head,
            &[("up", vec![], vec![(NOW + i as i64 * 15_000, h)])],
            Limits::default(),
        );
    }
    let table = head.table().unwrap();
    let histograms = table.histograms(0).unwrap();
    let sizes: Vec<usize> = histograms
        .closed
        .iter()
        .map(|c| c.chunk.data.len())
        .collect();
    assert!(sizes.len() > 20, "{sizes:?}");
    assert!(sizes.iter().all(|&size| size < 2 * 1024 + 200), "{sizes:?}");
    let range = |t: i64| t / 7_200_000;
    assert!(
        histograms
            .closed
            .iter()
            .all(|c| range(c.chunk.mint) == range(c.chunk.maxt))
    );
    assert_eq!(table.chunks as usize, sizes.len() + 1);
    drop(table);
    assert_eq!(whole(&head)["up"].len(), 2_000);
}

#[test]
fn what_is_known_about_resets_is_what_chunks_say() {
    use ResetHint::{Gauge, NotReset, Unknown};
    let head = open(&MemFs::default());
    let gauge = |count| with_hint(plain(count), Gauge);
    let samples = [plain(1), plain(2), plain(3), plain(1), plain(2)];
    let at = |samples: &[Histogram]| (0..).map(|i| NOW + i * 10).zip(samples.to_vec()).collect();
    push(
        &head,
        &[
            ("up", vec![], at(&samples)),
            ("down", vec![], at(&[gauge(1), gauge(2)])),
        ],
        OOO,
    );
    assert_eq!(
        hinted(&head, "up"),
        [Unknown, NotReset, NotReset, Unknown, NotReset]
    );
    assert_eq!(hinted(&head, "down"), [Gauge, Gauge]);
    // One that comes late, between the second and the third.
    push(
        &head,
        &[(
            "up",
            vec![],
            vec![(NOW + 15, plain(2)), (NOW + 25, plain(3))],
        )],
        OOO,
    );
    push(&head, &[("down", vec![], vec![(NOW + 5, gauge(2))])], OOO);
    let want = [
        Unknown, NotReset, Unknown, Unknown, Unknown, Unknown, NotReset,
    ];
    assert_eq!(hinted(&head, "up"), want);
    assert_eq!(hinted(&head, "down"), [Gauge, Gauge, Gauge]);
}

#[test]
fn replicas_together_are_all_their_histograms_once() {
    for seed in 0..30u64 {
        let mut dice = Dice(seed);
        let faults = seed % 3;
        let heads: Vec<Head> = (0..3).map(|_| open(&MemFs::default())).collect();
        let mut want: BTreeMap<i64, Value> = BTreeMap::new();
        for (i, h) in (0..).zip(dice.series(150)) {
            let t = NOW + i * 15_000;
            for head in &heads {
                let h = match dice.below(40) {
                    0 if faults > 0 => continue,
                    1 if faults > 1 => plain(i as u64),
                    _ => h.clone(),
                };
                let value = value_of(&h);
                push(head, &[("up", vec![], vec![(t, h)])], OOO);
                want.entry(t)
                    .and_modify(|v| *v = larger(*v, value))
                    .or_insert(value);
            }
        }
        for order in [[0, 1, 2], [2, 0, 1]] {
            let sources = order.map(|i: usize| match i {
                0 => Source::Head(snapshot(&heads[i], i64::MIN, i64::MAX)),
                _ => {
                    let snapshot = snapshot(&heads[i], i64::MIN, i64::MAX);
                    Source::Encoded(Arc::new(decode(parts(&snapshot, 1)).unwrap()))
                }
            });
            let merged = MergedSet::new(sources.into_iter().collect());
            let columns = merged
                .decode(0..1, i64::MIN, i64::MAX, &Looks::ALL)
                .unwrap();
            assert_eq!(
                of_columns(merged.labels(), &columns)["up"],
                want,
                "seed {seed}"
            );
            let weight = merged.sample_count_max(0..1);
            assert!(weight >= 11 * want.len());
            if faults == 0 {
                let one = snapshot(&heads[0], i64::MIN, i64::MAX).sample_count_max(0..1);
                assert_eq!(weight, one, "what is common is counted once");
                let hints = |columns: &Columns| -> Vec<ResetHint> {
                    let items = &columns.histograms.as_ref().unwrap().column.items;
                    items.iter().map(|item| item.hint).collect()
                };
                let apart = snapshot(&heads[0], i64::MIN, i64::MAX);
                let apart = apart.decode(0..1, i64::MIN, i64::MAX, &Looks::ALL).unwrap();
                assert_eq!(hints(&columns), hints(&apart));
            }
        }
    }
}

fn larger(a: Value, b: Value) -> Value {
    match (a, b) {
        (Value::Histogram(a), Value::Histogram(b)) => Value::Histogram(a.max(b)),
        _ => a,
    }
}

#[test]
fn a_replica_that_is_behind_costs_no_second_reading() {
    let heads: Vec<Head> = (0..2).map(|_| open(&MemFs::default())).collect();
    for i in 0..30u64 {
        for head in &heads[..if i < 25 { 2 } else { 1 }] {
            push(
                head,
                &[("up", vec![], vec![(NOW + i as i64 * 10, plain(i))])],
                OOO,
            );
        }
    }
    let sources = heads
        .iter()
        .map(|h| Source::Head(snapshot(h, i64::MIN, i64::MAX)));
    let merged = MergedSet::new(sources.collect());
    let columns = merged
        .decode(0..1, i64::MIN, i64::MAX, &Looks::ALL)
        .unwrap();
    let items = columns.histograms.unwrap().column.items;
    assert_eq!(items.len(), 30);
    // Read from one chunk: all but the first know that there was no reset.
    assert!(
        items[1..]
            .iter()
            .all(|item| item.hint == ResetHint::NotReset)
    );
}

#[test]
fn a_reader_of_floats_gets_the_floats_in_the_old_form() {
    let head = open(&MemFs::default());
    let rows = [
        ("up", vec![(NOW, 1.0)], vec![(NOW + 1, plain(5))]),
        ("down", vec![], vec![(NOW, plain(5))]),
    ];
    push(&head, &rows, OOO);
    let snapshot = snapshot(&head, i64::MIN, i64::MAX);
    let (new, old) = (
        part::encode(&*snapshot, 0..2, true),
        part::encode(&*snapshot, 0..2, false),
    );
    assert_eq!((new[0], old[0]), (2, 1));
    let set = decode(vec![old]).unwrap();
    let columns = set.decode(0..2, i64::MIN, i64::MAX, &Looks::ALL).unwrap();
    assert_eq!(
        (columns.ts, columns.histograms.is_none()),
        (vec![NOW], true)
    );
}

/// A log with histograms and exemplars, what the head had after each group, and the log's length then.
fn logged(fs: &MemFs) -> Vec<(usize, Mixed)> {
    let head = open(fs);
    let mut dice = Dice(11);
    let mut states = vec![(0, Mixed::new())];
    for (i, h) in (0..).zip(dice.series(10)) {
        let t = NOW + i * 15_000;
        let float_row = ("down", vec![(t, 1.0)], vec![(t + 1, float(&h))]);
        push(
            &head,
            &[("up", vec![], vec![(t, h)]), float_row],
            Limits::default(),
        );
        let len = fs.0.lock().unwrap().files[Path::new("/t/wal/00000000")].len();
        states.push((len, whole(&head)));
    }
    states
}

fn holds_all(large: &Mixed, small: &Mixed) -> bool {
    small.iter().all(|(name, samples)| {
        let have = large.get(name);
        samples
            .iter()
            .all(|(t, v)| have.and_then(|h| h.get(t)) == Some(v))
    })
}

#[test]
fn a_crash_at_any_byte_keeps_the_acknowledged_histograms() {
    let fs = MemFs::default();
    let states = logged(&fs);
    let log = Path::new("/t/wal/00000000");
    let whole_log = fs.0.lock().unwrap().files[log].clone();
    for cut in 0..=whole_log.len() {
        let fs = MemFs::default();
        let cut_log = whole_log[..cut].to_vec();
        fs.0.lock().unwrap().files.insert(log.into(), cut_log);
        let got = whole(&open(&fs));
        let done = states.iter().rposition(|(end, _)| *end <= cut).unwrap();
        assert!(
            holds_all(&got, &states[done].1),
            "cut at {cut} lost samples"
        );
        let next = &states[(done + 1).min(states.len() - 1)].1;
        assert!(holds_all(next, &got), "cut at {cut} invented samples");
        assert_eq!(whole(&open(&fs)), got, "cut at {cut}: the tail was cut");
    }
}

#[test]
fn a_short_write_stores_no_histogram_and_the_next_one_does() {
    for room in (0..260).step_by(7) {
        let fs = MemFs::default();
        let head = open(&fs);
        push(&head, &[("up", vec![], vec![(NOW, plain(1))])], OOO);
        fs.0.lock().unwrap().room = Some(room);
        let rows = [(
            "up",
            vec![(NOW + 9, 1.0)],
            vec![(NOW + 1, plain(2)), (NOW - 1, plain(1))],
        )];
        let stored = head.append(&[&mixed(&rows)], OOO).is_ok();
        fs.0.lock().unwrap().room = None;
        if !stored {
            assert_eq!(whole(&head)["up"].len(), 1, "room {room}");
            assert_eq!(whole(&open(&fs)), whole(&head));
            push(&head, &rows, OOO);
        }
        assert_eq!(whole(&head)["up"].len(), 4, "room {room}");
        assert_eq!(whole(&open(&fs)), whole(&head), "room {room}");
    }
}

//! The head against a plain model: admission, selection, replay after crashes at every byte, failing disks.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::append::{Limits, Refusal};
use super::core::{AppendError, Head};
use super::postings::put_canonical;
use super::select;
use super::series::OOO_SAMPLES_MAX;
use super::snapshot::Capture;
use super::wal::fs::faulty::MemFs;
use super::wal::log::{Fsync, LogOptions};
use crate::batch::WriteBatch;
use crate::labels::{CompiledMatcher, MatchType};
use crate::wire::series::SeriesHasher;

const KEY: [u8; 32] = [7; 32];
const OPTIONS: LogOptions = LogOptions {
    segment_bytes: 128 << 20,
    fsync: Fsync::Segment,
    compress: false,
};

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

fn batch(rows: &[Row<'_>]) -> WriteBatch {
    let hasher = SeriesHasher::new(&KEY);
    let mut batch = WriteBatch::default();
    for (series, samples) in rows {
        let start = batch.buf.len();
        for (name, value) in labels(series) {
            put_canonical(&mut batch.buf, &name, &value);
        }
        let end = batch.buf.len();
        batch.label_range.push((start as u32, (end - start) as u32));
        batch.hash.push(hasher.hash(&batch.buf[start..end]));
        batch.token.push(1);
        for (t, v) in samples {
            batch.ts.push(*t);
            batch.values.push(*v);
        }
        batch.sample_end.push(batch.ts.len() as u32);
    }
    batch
}

fn open_with(fs: &MemFs, options: LogOptions) -> Head {
    let head = Head::open(
        Arc::new(fs.clone()),
        Path::new("/t"),
        &KEY,
        "tenant",
        options,
        OOO_SAMPLES_MAX,
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
    let (offsets, ts, values) = snapshot.decode(0..snapshot.len(), mint, maxt).unwrap();
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
                    if known.is_none() {
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

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % n
    }
}

const NAMES: [&str; 6] = ["up:a=1", "up:a=2", "down", "x:b=1,c=2", "x:b=1", "y:c=3"];

/// A batch around time `now`, mostly ahead of it.
fn random_rows(rng: &mut Rng, now: i64) -> Vec<Row<'static>> {
    let count = rng.below(5);
    let row = |rng: &mut Rng| {
        let name = NAMES[rng.below(6) as usize];
        let samples = (0..rng.below(3) + 1).map(|_| {
            let back = if rng.below(3) == 0 {
                rng.below(9000) as i64
            } else {
                0
            };
            let far = if rng.below(40) == 0 { 3_700_000 } else { 0 };
            (
                now + rng.below(100) as i64 - back - far,
                rng.below(3) as f64,
            )
        });
        (name, samples.collect())
    };
    (0..count).map(|_| row(rng)).collect()
}

#[test]
fn appends_and_selections_agree_with_the_model() {
    for seed in 0..30 {
        let mut rng = Rng(seed * 77 + 1);
        let window = [0, 5_000, 20_000][seed as usize % 3];
        let limits = Limits {
            ooo_window_ms: window,
            ..Limits::default()
        };
        let fs = MemFs::default();
        let mut head = open(&fs);
        let mut model = Model::default();
        for group in 0..150 {
            let now = 1_700_000_000_000 + group * 400;
            let rows = random_rows(&mut rng, now);
            let want = model.batch(&rows, window);
            let (stored, refused) = append(&head, &rows, limits).unwrap();
            let refused: u64 = refused.iter().map(|r| r.1).sum();
            assert_eq!((stored, refused), want, "seed {seed} group {group}");
            model.close_full();
            if group % 25 == 24 {
                assert_eq!(
                    everything(&head),
                    model.samples(),
                    "seed {seed} group {group}"
                );
                drop(head);
                head = open(&fs);
                assert_eq!(everything(&head), model.samples(), "seed {seed}: replayed");
            }
        }
    }
}

#[test]
fn batches_of_one_group_are_decided_in_order() {
    let head = open(&MemFs::default());
    let batches = [
        batch(&[("up", vec![(10, 1.0)]), ("down", vec![(10, 1.0)])]),
        batch(&[("up", vec![(10, 1.0), (20, 2.0)])]),
        batch(&[("up", vec![(20, 3.0)]), ("up", vec![(15, 1.0)])]),
        batch(&[]),
    ];
    let refs: Vec<&WriteBatch> = batches.iter().collect();
    let outcomes = head.append(&refs, Limits::default()).unwrap();
    let stored: Vec<u64> = outcomes.iter().map(|o| o.stored).collect();
    assert_eq!(stored, [2, 2, 0, 0]);
    let refused: Vec<Refusal> = outcomes[2].refused.iter().map(|r| r.why).collect();
    assert_eq!(refused, [Refusal::DuplicateTimestamp, Refusal::OutOfOrder]);
    let want = expect(&[
        ("up", vec![(10, 1.0), (20, 2.0)]),
        ("down", vec![(10, 1.0)]),
    ]);
    assert_eq!(everything(&head), want);
}

#[test]
fn series_limits_are_decided_inside_the_group() {
    let head = open(&MemFs::default());
    let limits = Limits {
        series_max: 3,
        series_per_metric_max: 2,
        ooo_window_ms: 0,
    };
    let rows: [Row<'_>; 5] = [
        ("m:a=1", vec![(1, 0.0)]),
        ("m:a=2", vec![(1, 0.0)]),
        ("m:a=3", vec![(1, 0.0), (2, 0.0)]),
        ("n:a=1", vec![(1, 0.0)]),
        ("n:a=2", vec![(1, 0.0)]),
    ];
    let refused = append(&head, &rows, limits).unwrap();
    let want = vec![(Refusal::SeriesPerMetric, 2), (Refusal::SeriesPerUser, 1)];
    assert_eq!(refused, (3, want));
    let again = append(
        &head,
        &[("m:a=1", vec![(2, 0.0)]), ("m:a=9", vec![(2, 0.0)])],
        limits,
    );
    assert_eq!(again.unwrap(), (1, vec![(Refusal::SeriesPerUser, 1)]));
    assert_eq!(everything(&head).len(), 3);
}

#[test]
fn a_refused_sample_makes_no_series() {
    let head = open(&MemFs::default());
    append(&head, &[("up", vec![(10_000_000, 1.0)])], Limits::default()).unwrap();
    let old = append(&head, &[("new", vec![(1, 1.0)])], Limits::default());
    assert_eq!(old.unwrap(), (0, vec![(Refusal::TooOld, 1)]));
    assert_eq!(head.table().unwrap().len(), 1);
}

/// Groups of in-order samples, with the log's length and the model after each.
fn logged_groups(fs: &MemFs, options: LogOptions) -> Vec<(usize, Samples)> {
    let head = open_with(fs, options);
    let mut model = Model::default();
    let mut ends = vec![(0, Samples::new())];
    for group in 0..12i64 {
        let t = 1_700_000_000_000 + group * 15_000;
        let rows: Vec<Row<'_>> = NAMES[..3 + group as usize % 4]
            .iter()
            .map(|name| (*name, vec![(t, group as f64 * 1.5)]))
            .collect();
        model.batch(&rows, 0);
        append(&head, &rows, Limits::default()).unwrap();
        ends.push((
            fs.0.lock().unwrap().files[Path::new("/t/wal/00000000")].len(),
            model.samples(),
        ));
    }
    ends
}

fn contains(large: &Samples, small: &Samples) -> bool {
    let holds = |(name, samples): (&String, &BTreeMap<i64, u64>)| {
        let have = large.get(name);
        samples
            .iter()
            .all(|(t, v)| have.and_then(|h| h.get(t)) == Some(v))
    };
    small.iter().all(holds)
}

#[test]
fn a_crash_at_any_byte_keeps_what_was_acknowledged_and_invents_nothing() {
    for compress in [false, true] {
        let options = LogOptions {
            compress,
            ..OPTIONS
        };
        let fs = MemFs::default();
        let ends = logged_groups(&fs, options);
        let whole = fs.0.lock().unwrap().files[Path::new("/t/wal/00000000")].clone();
        for cut in 0..=whole.len() {
            let fs = MemFs::default();
            fs.0.lock()
                .unwrap()
                .files
                .insert("/t/wal/00000000".into(), whole[..cut].to_vec());
            let head = open_with(&fs, options);
            let got = everything(&head);
            let done = ends.iter().rposition(|(end, _)| *end <= cut).unwrap();
            assert!(contains(&got, &ends[done].1), "cut at {cut} lost samples");
            let next = &ends[(done + 1).min(ends.len() - 1)].1;
            assert!(contains(next, &got), "cut at {cut} invented samples");
            // Life goes on in a new segment, and the next replay sees a clean log.
            append(
                &head,
                &[("after", vec![(1_800_000_000_000, 1.0)])],
                Limits::default(),
            )
            .unwrap();
            let want = everything(&head);
            let again = open_with(&fs, options);
            assert_eq!(everything(&again), want, "cut at {cut}");
            assert_eq!(again.replay_report().unwrap().torn, 0, "cut at {cut}");
        }
    }
}

#[test]
fn a_crash_inside_the_out_of_order_log_keeps_what_was_acknowledged() {
    let limits = Limits {
        ooo_window_ms: 600_000,
        ..Limits::default()
    };
    let wbl = Path::new("/t/wbl/00000000");
    let fs = MemFs::default();
    let head = open(&fs);
    let mut states = vec![(0, Samples::new())];
    for group in 0..40i64 {
        let t = 1_700_000_000_000 + group * 1000;
        let rows = [
            ("up:a=1", vec![(t, 1.0), (t - 5500, group as f64)]),
            ("down", vec![(t, 2.0), (t - 7300, 0.5)]),
        ];
        append(&head, &rows, limits).unwrap();
        let len = fs.0.lock().unwrap().files[wbl].len();
        states.push((len, everything(&head)));
    }
    let whole = fs.0.lock().unwrap().files.clone();
    for cut in 0..=states.last().unwrap().0 {
        let mut files = whole.clone();
        files.get_mut(wbl).unwrap().truncate(cut);
        let fs = MemFs::default();
        fs.0.lock().unwrap().files = files;
        let got = everything(&open(&fs));
        let done = states.iter().rposition(|(end, _)| *end <= cut).unwrap();
        assert!(contains(&got, &states[done].1), "cut at {cut} lost samples");
        assert!(
            contains(&states.last().unwrap().1, &got),
            "cut at {cut} invented samples"
        );
        assert_eq!(
            everything(&open(&fs)),
            got,
            "cut at {cut}: the tail was cut"
        );
    }
}

#[test]
fn a_full_disk_at_any_byte_stores_nothing_and_recovers() {
    let ooo = Limits {
        ooo_window_ms: 60_000,
        ..Limits::default()
    };
    let first: [Row<'_>; 2] = [
        ("up:a=1", vec![(100_000, 1.0)]),
        ("down", vec![(100_000, 1.0)]),
    ];
    let second: [Row<'_>; 3] = [
        ("up:a=1", vec![(115_000, 2.0), (90_000, 5.0)]),
        ("new:z=1", vec![(115_000, 2.0)]),
        ("down", vec![(95_000, 7.0)]),
    ];
    for write_max in [None, Some(5)] {
        for room in 0..500 {
            let fs = MemFs::default();
            let head = open(&fs);
            append(&head, &first, ooo).unwrap();
            let before = everything(&head);
            {
                let mut state = fs.0.lock().unwrap();
                state.room = Some(room);
                state.write_max = write_max;
            }
            let stored = append(&head, &second, ooo);
            let full = matches!(&stored, Err(AppendError::Log(e)) if e.disk_full);
            if stored.is_err() {
                assert!(full, "room {room}: {stored:?}");
                assert_eq!(everything(&head), before, "room {room}");
                assert_eq!(everything(&open(&fs)), before, "room {room}: replayed");
                fs.0.lock().unwrap().room = None;
                append(&head, &second, ooo).unwrap();
            } else {
                assert!(room > 100, "room {room} cannot be enough");
            }
            fs.0.lock().unwrap().room = None;
            let after = everything(&head);
            assert_eq!(after["up:a=1"].len(), 3);
            assert_eq!(everything(&open(&fs)), after, "room {room}: replayed");
            if stored.is_ok() {
                break;
            }
        }
    }
}

#[test]
fn a_failing_cut_refuses_writes_until_it_succeeds() {
    let fs = MemFs::default();
    let head = open(&fs);
    append(&head, &[("up", vec![(1000, 1.0)])], Limits::default()).unwrap();
    {
        let mut state = fs.0.lock().unwrap();
        state.room = Some(20);
        state.fail_truncate = true;
    }
    assert!(append(&head, &[("up", vec![(2000, 1.0)])], Limits::default()).is_err());
    fs.0.lock().unwrap().room = None;
    let refused = append(&head, &[("up", vec![(2000, 1.0)])], Limits::default());
    assert!(matches!(&refused, Err(AppendError::Log(e)) if e.text.contains("refuses writes")));
    assert_eq!(
        everything(&open(&MemFs(fs_copy(&fs)))),
        expect(&[("up", vec![(1000, 1.0)])])
    );
    fs.0.lock().unwrap().fail_truncate = false;
    append(&head, &[("up", vec![(2000, 2.0)])], Limits::default()).unwrap();
    let want = expect(&[("up", vec![(1000, 1.0), (2000, 2.0)])]);
    assert_eq!(everything(&open(&fs)), want);
}

fn fs_copy(fs: &MemFs) -> Arc<std::sync::Mutex<super::wal::fs::faulty::State>> {
    let files = fs.0.lock().unwrap().files.clone();
    let state = super::wal::fs::faulty::State {
        files,
        ..Default::default()
    };
    Arc::new(std::sync::Mutex::new(state))
}

#[test]
fn a_failing_sync_is_not_acknowledged_under_always() {
    let options = LogOptions {
        fsync: Fsync::Always,
        ..OPTIONS
    };
    let fs = MemFs::default();
    let head = open_with(&fs, options);
    append(&head, &[("up", vec![(1000, 1.0)])], Limits::default()).unwrap();
    fs.0.lock().unwrap().fail_sync = true;
    assert!(append(&head, &[("up", vec![(2000, 1.0)])], Limits::default()).is_err());
    fs.0.lock().unwrap().fail_sync = false;
    append(&head, &[("up", vec![(3000, 1.0)])], Limits::default()).unwrap();
    let want = expect(&[("up", vec![(1000, 1.0), (3000, 1.0)])]);
    assert_eq!(everything(&head), want);
    assert_eq!(everything(&open(&fs)), want);
}

#[test]
fn small_segments_are_cut_synced_and_replayed() {
    let options = LogOptions {
        segment_bytes: 32 * 1024,
        ..OPTIONS
    };
    let fs = MemFs::default();
    let head = open_with(&fs, options);
    let names: Vec<String> = (0..200).map(|i| format!("m:i={i}")).collect();
    for step in 0..60i64 {
        let rows: Vec<Row<'_>> = names
            .iter()
            .map(|n| (n.as_str(), vec![(step * 1000, 0.5)]))
            .collect();
        append(&head, &rows, Limits::default()).unwrap();
    }
    assert!(head.log_stats().unwrap().segment >= 4);
    head.sync(false).unwrap();
    assert!(fs.0.lock().unwrap().syncs >= 4);
    let sizes: Vec<usize> = fs.0.lock().unwrap().files.values().map(Vec::len).collect();
    let full = &sizes[..sizes.len() - 1];
    assert!(full.iter().all(|s| *s == 32 * 1024), "{sizes:?}");
    assert_eq!(everything(&open_with(&fs, options)), everything(&head));
}

#[test]
fn damage_inside_keeps_what_is_before_and_sets_the_rest_aside() {
    let fs = MemFs::default();
    let ends = logged_groups(&fs, OPTIONS);
    append(
        &open(&fs),
        &[("late", vec![(1_700_001_000_000, 1.0)])],
        Limits::default(),
    )
    .unwrap();
    let at = ends[6].0 + 9;
    fs.0.lock()
        .unwrap()
        .files
        .get_mut(Path::new("/t/wal/00000000"))
        .unwrap()[at] ^= 1;
    let head = open(&fs);
    let got = everything(&head);
    assert!(contains(&got, &ends[6].1) && contains(&ends[7].1, &got));
    let report = head.replay_report().unwrap();
    assert_eq!(report.damage.len(), 1);
    append(
        &head,
        &[("next", vec![(1_700_001_000_000, 1.0)])],
        Limits::default(),
    )
    .unwrap();
    let names: Vec<String> = {
        let state = fs.0.lock().unwrap();
        let names = state
            .files
            .keys()
            .map(|p| p.file_name().unwrap().to_str().unwrap().to_string());
        names.collect()
    };
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(names[1].starts_with("00000000.cut-"), "{names:?}");
    assert_eq!(names[2..], ["00000001", "00000001.set-aside"]);
    let again = open(&fs);
    assert_eq!(everything(&again), everything(&head));
    assert!(again.replay_report().unwrap().damage.is_empty());
}

#[test]
fn matchers_select_as_a_walk_over_all_would() {
    let head = open(&MemFs::default());
    let rows: Vec<(String, i64)> = (0..60)
        .map(|i| (format!("m{}:a={},b={}", i % 3, i % 5, i % 7), 1000 + i))
        .chain([("m1".to_string(), 1000), ("m2:b=9".to_string(), 5000)])
        .collect();
    let batch_rows: Vec<Row<'_>> = rows
        .iter()
        .map(|(n, t)| (n.as_str(), vec![(*t, 1.0)]))
        .collect();
    append(&head, &batch_rows, Limits::default()).unwrap();
    let values = ["", "1", "3", "m1", "m[12]", "1|3", ".*", ".+", "[^1]*", "9"];
    let mut rng = Rng(5);
    for _ in 0..3000 {
        let matchers: Vec<(u8, &str, &str)> = (0..rng.below(3) + 1)
            .map(|_| {
                let name = ["__name__", "a", "b", "none"][rng.below(4) as usize];
                (rng.below(4) as u8, name, values[rng.below(10) as usize])
            })
            .collect();
        let compiled: Vec<CompiledMatcher> =
            matchers.iter().map(|(k, n, v)| matcher(*k, n, v)).collect();
        let (mint, maxt) = (1000 + rng.below(60) as i64, 1030 + rng.below(5000) as i64);
        let wanted = |name: &str, t: i64| {
            let set = labels(name);
            let value = |n: &str| set.iter().find(|l| l.0 == n).map_or("", |l| l.1.as_str());
            let test = |m: &CompiledMatcher| m.matches(value(m.name()));
            mint <= t && t <= maxt && compiled.iter().all(test)
        };
        let want: Vec<&String> = {
            let mut names: Vec<&String> = rows
                .iter()
                .filter(|(n, t)| wanted(n, *t))
                .map(|r| &r.0)
                .collect();
            names.sort();
            names
        };
        let got = select(&head, &compiled, mint, maxt);
        assert_eq!(
            got.keys().collect::<Vec<_>>(),
            want,
            "{matchers:?} {mint}..{maxt}"
        );
    }
}

#[test]
fn chunks_are_cut_and_ranges_decoded_across_them() {
    let head = open(&MemFs::default());
    let sample = |i: i64| (1_700_000_000_000 + i * 15_000, (i * i % 977) as f64 + 0.25);
    for start in (0..1000).step_by(50) {
        let samples = (start..start + 50).map(sample).collect();
        append(&head, &[("up", samples)], Limits::default()).unwrap();
    }
    assert!(head.table().unwrap().chunks >= 8);
    for (from, to) in [(0, 999), (118, 121), (500, 500), (700, 2000)] {
        let got = select(&head, &[], sample(from).0, sample(to).0);
        let want: BTreeMap<i64, u64> = (from..=to.min(999))
            .map(sample)
            .map(|(t, v)| (t, v.to_bits()))
            .collect();
        assert_eq!(got["up"], want);
    }
    assert!(select(&head, &[], sample(1001).0, i64::MAX).is_empty());
}

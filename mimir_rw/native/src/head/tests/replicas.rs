//! Sets of series between processes, and those of several heads as one.

use super::admission::Rng;
use super::*;
use crate::bytes::Bytes;
use crate::codec::Damaged;
use crate::codec::histogram::looks::Looks;
use crate::head::snapshot::Snapshot;
use crate::labels::LabelFrame;
use crate::series_set::encoded::EncodedSet;
use crate::series_set::merged::MergedSet;
use crate::series_set::part;
use crate::series_set::runs::{Columns, Source};

pub fn snapshot(head: &Head, mint: i64, maxt: i64) -> Arc<Snapshot> {
    let table = head.table().unwrap();
    let sids = select::find(&table, &[], mint, maxt);
    Arc::new(Capture::new(&table, &sids, mint, maxt).finish())
}

pub fn parts(snapshot: &Snapshot, rows: usize) -> Vec<Vec<u8>> {
    let starts = (0..snapshot.len()).step_by(rows);
    let end = |start: usize| (start + rows).min(snapshot.len());
    starts
        .map(|start| part::encode(snapshot, start..end(start), true))
        .collect()
}

pub fn decode(parts: Vec<Vec<u8>>) -> Result<EncodedSet, Damaged> {
    EncodedSet::decode(parts.into_iter().map(Bytes::Copy).collect())
}

fn samples_of(labels: &LabelFrame, columns: Columns) -> Samples {
    let (offsets, ts, values) = (columns.offsets, columns.ts, columns.values);
    let mut samples = Samples::new();
    for row in 0..labels.len() {
        let range = offsets[row]..offsets[row + 1];
        assert!(ts[range.clone()].windows(2).all(|w| w[0] < w[1]));
        let values = values[range.clone()].iter().map(|v| v.to_bits());
        let row_samples: BTreeMap<i64, u64> = ts[range].iter().copied().zip(values).collect();
        if !row_samples.is_empty() {
            samples.insert(name_of(labels.labels(row)), row_samples);
        }
    }
    samples
}

/// Every time once, of different values the one with the larger bits.
fn together(replicas: &[Samples]) -> Samples {
    let mut all = Samples::new();
    for (name, samples) in replicas.iter().flatten() {
        let series = all.entry(name.clone()).or_default();
        for (&t, &v) in samples {
            let value = series.entry(t).or_insert(v);
            *value = (*value).max(v);
        }
    }
    all
}

/// Heads that got about the same: some batches missed, some late, some with other values.
fn replicas(rng: &mut Rng, groups: i64, faults: u64) -> Vec<Head> {
    let heads: Vec<Head> = (0..3).map(|_| open(&MemFs::default())).collect();
    let limits = Limits {
        ooo_window_ms: 600_000,
        ..Limits::default()
    };
    let mut late: Vec<(usize, Vec<Row<'static>>)> = Vec::new();
    for group in 0..groups {
        let t = 1_700_000_000_000 + group * 15_000;
        let rows: Vec<Row<'static>> = NAMES
            .iter()
            .filter_map(|name| {
                let value = (rng.below(40) * rng.below(2)) as f64;
                (rng.below(50) > 0).then(|| (*name, vec![(t, value)]))
            })
            .collect();
        for (number, head) in heads.iter().enumerate() {
            match rng.below(100) {
                0 if faults > 0 => continue,
                1 if faults > 1 => late.push((number, rows.clone())),
                2 if faults > 2 => {
                    let other: Vec<Row<'_>> =
                        rows.iter().map(|(n, _)| (*n, vec![(t, 0.5)])).collect();
                    append(head, &other, limits).unwrap();
                }
                _ => drop(append(head, &rows, limits).unwrap()),
            }
        }
        if group % 16 == 0 {
            for (number, rows) in late.drain(..) {
                append(&heads[number], &rows, limits).unwrap();
            }
        }
    }
    heads
}

#[test]
fn replicas_together_are_all_their_samples_once() {
    for seed in 0..24 {
        let mut rng = Rng(seed + 1);
        let groups = 40 + rng.below(300) as i64;
        let heads = replicas(&mut rng, groups, seed % 4);
        let last = 1_700_000_000_000 + groups * 15_000;
        let ranges = [
            (i64::MIN, i64::MAX),
            (last - 900_000, last),
            (last - 2_000_000, last - 1_000_000),
            (last - 15_000, last - 15_000),
            (0, 1),
        ];
        for (mint, maxt) in ranges {
            let apart: Vec<Samples> = heads.iter().map(|h| select(h, &[], mint, maxt)).collect();
            let want = together(&apart);
            for order in [[0, 1, 2], [2, 1, 0]] {
                let sources = order.map(|i| {
                    let snapshot = snapshot(&heads[i], mint, maxt);
                    match (seed + i as u64) % 3 {
                        0 => Source::Head(snapshot),
                        rows => Source::Encoded(Arc::new(
                            decode(parts(&snapshot, 1 + 3 * rows as usize)).unwrap(),
                        )),
                    }
                });
                let merged = MergedSet::new(sources.into_iter().collect());
                let all = 0..merged.len();
                let columns = merged.decode(all.clone(), mint, maxt, &Looks::ALL).unwrap();
                assert!(columns.ts.len() <= merged.sample_count_max(all));
                assert_eq!(samples_of(merged.labels(), columns), want, "seed {seed}");
            }
        }
    }
}

#[test]
fn what_replicas_have_in_common_is_counted_once() {
    let heads = replicas(&mut Rng(5), 100, 0);
    let snapshots = || heads.iter().map(|head| snapshot(head, i64::MIN, i64::MAX));
    let merged = MergedSet::new(snapshots().map(Source::Head).collect());
    let once: usize = snapshots()
        .next()
        .map_or(0, |one| one.sample_count_max(0..one.len()));
    let all = merged.sample_count_max(0..merged.len());
    assert!(all <= once + 10 * merged.len(), "{all} for {once} samples");
}

#[test]
fn parts_are_a_set_again_and_end_where_asked() {
    let heads = replicas(&mut Rng(3), 400, 2);
    for head in &heads {
        let snapshot = snapshot(head, i64::MIN, i64::MAX);
        let want = everything(head);
        for rows in [1, 2, 100] {
            let set = decode(parts(&snapshot, rows)).unwrap();
            let columns = set
                .decode(0..set.len(), i64::MIN, i64::MAX, &Looks::ALL)
                .unwrap();
            assert_eq!(samples_of(&set.labels, columns), want);
        }
        let (mut start, mut bytes) = (0, Vec::new());
        while start < snapshot.len() {
            let end = part::end_of(&*snapshot, start, 2000);
            assert!(end > start);
            let data = part::encode(&*snapshot, start..end, true);
            assert_eq!(part::rows_of(&data), Ok(end - start));
            start = end;
            bytes.push(data.len());
        }
        assert!(
            bytes.len() > 1 && bytes.iter().all(|&n| n < 4000),
            "{bytes:?}"
        );
        assert_eq!(part::end_of(&*snapshot, snapshot.len(), 1), snapshot.len());
    }
    let nothing = decode(Vec::new()).unwrap();
    assert!(nothing.is_empty() && nothing.decode(0..0, 0, 1, &Looks::ALL).is_ok());
}

#[test]
fn parts_out_of_order_are_refused() {
    let snapshot = snapshot(&replicas(&mut Rng(3), 10, 0)[0], i64::MIN, i64::MAX);
    let good = parts(&snapshot, 2);
    assert!(decode(good.iter().rev().cloned().collect()).is_err());
    assert!(decode([&good[..1], &good[..1]].concat()).is_err());
}

#[test]
fn every_cut_and_flipped_bit_of_a_part_is_a_set_or_an_error() {
    let heads = replicas(&mut Rng(9), 20, 3);
    let good = snapshot(&heads[0], i64::MIN, i64::MAX);
    let data = part::encode(&*good, 0..good.len(), true);
    for cut in 0..data.len() {
        assert!(decode(vec![data[..cut].to_vec()]).is_err(), "cut at {cut}");
    }
    for bit in 0..data.len() * 8 {
        let mut bad = data.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let Ok(set) = decode(vec![bad]) else { continue };
        let merged = MergedSet::new(vec![
            Source::Encoded(Arc::new(set)),
            Source::Head(good.clone()),
        ]);
        let _ = merged.decode(0..merged.len(), i64::MIN, i64::MAX, &Looks::ALL);
    }
}

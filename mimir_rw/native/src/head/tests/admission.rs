//! What is stored, what is refused, what is selected.

use std::collections::BTreeMap;

use super::*;

pub struct Rng(pub u64);

impl Rng {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % n
    }
}

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
        ..Limits::default()
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

//! Exemplars through pushes, the log and its replay.

use super::*;
use crate::batch::Exemplar;

/// Series, time of a float (0: none), exemplars.
type ExemplarRow<'a> = (&'a str, i64, &'a [(i64, f64)]);

fn with_exemplars(rows: &[ExemplarRow<'_>]) -> WriteBatch {
    let floats: Vec<Row<'_>> = rows.iter().map(|row| (row.0, vec![(row.1, 1.0)])).collect();
    let floats: Vec<Row<'_>> = floats
        .into_iter()
        .map(|(name, samples)| (name, samples.into_iter().filter(|s| s.0 > 0).collect()))
        .collect();
    let mut batch = batch(&floats);
    for (_, _, exemplars) in rows {
        for &(ts, value) in *exemplars {
            let mut labels = Vec::new();
            put_canonical(&mut labels, "trace", &format!("{value}"));
            batch
                .exemplars
                .push(Arc::new(Exemplar { ts, value, labels }));
        }
        batch.exemplar_end.push(batch.exemplars.len() as u32);
    }
    batch
}

fn exemplar_times(head: &Head) -> BTreeMap<u32, Vec<i64>> {
    let table = head.table().unwrap();
    let times = |sid: u32| {
        table
            .exemplars
            .of(sid, i64::MIN, i64::MAX)
            .map(|e| e.ts)
            .collect()
    };
    table
        .exemplars
        .series()
        .into_iter()
        .map(|sid| (sid, times(sid)))
        .collect()
}

#[test]
fn exemplars_are_logged_replayed_and_bounded() {
    let fs = MemFs::default();
    let limits = Limits {
        exemplars_max: 4,
        ..Limits::default()
    };
    let bounds = Bounds {
        exemplars_max: 4,
        ..BOUNDS
    };
    let open = || open_bounded(&fs, bounds);
    let head = open();
    let first = with_exemplars(&[
        ("up", 1000, &[(900, 1.0), (950, 2.0)]),
        ("down", 0, &[(1, 1.0)]),
    ]);
    let outcome = head.append(&[&first], limits).unwrap().remove(0);
    assert_eq!((outcome.stored, outcome.exemplars_stored), (1, 2));
    let refused = &outcome.exemplars_refused[0];
    assert_eq!(
        (refused.why.id(), refused.count),
        ("exemplar-series-missing", 1)
    );
    assert_eq!(
        (refused.labels.as_str(), refused.rows.as_slice()),
        ("down", &[1][..])
    );
    // One that is there, one that is late, one that is new.
    let second = with_exemplars(&[("up", 1001, &[(950, 2.0), (940, 1.0), (960, 3.0)])]);
    let outcome = head.append(&[&second], limits).unwrap().remove(0);
    assert_eq!(
        (outcome.exemplars_stored, outcome.exemplars_refused[0].count),
        (2, 1)
    );
    let want = BTreeMap::from([(0, vec![900, 950, 960])]);
    assert_eq!(exemplar_times(&head), want);
    assert_eq!(exemplar_times(&open()), want);
    let third = with_exemplars(&[("down", 1002, &[(970, 1.0), (980, 2.0)])]);
    head.append(&[&third], limits).unwrap();
    let want = BTreeMap::from([(0, vec![950, 960]), (1, vec![970, 980])]);
    assert_eq!(exemplar_times(&head), want);
    assert_eq!(exemplar_times(&open()), want);
    // Without a limit none is kept, nor refused.
    let outcome = head
        .append(&[&second], Limits::default())
        .unwrap()
        .remove(0);
    assert_eq!(
        (outcome.exemplars_stored, outcome.exemplars_refused.len()),
        (0, 0)
    );
    assert_eq!(exemplar_times(&head), BTreeMap::new());
}

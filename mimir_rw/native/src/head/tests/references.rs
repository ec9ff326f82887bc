//! Rows without labels, changes of key, owned series.

use super::super::owned::TokenRanges;
use super::*;

const OTHER: [u8; 32] = [8; 32];

/// The batch with labels on the given rows only.
fn referring(batch: &WriteBatch, labelled: &[usize]) -> WriteBatch {
    let mut batch = batch.clone();
    for row in (0..batch.rows()).filter(|row| !labelled.contains(row)) {
        batch.label_range[row] = (0, 0);
        batch.token[row] = 0;
    }
    batch
}

/// Samples stored, rows unresolved, rows refused.
type Seen = (u64, Vec<u32>, Vec<(Refusal, Vec<u32>)>);

fn outcome(head: &Head, batch: &WriteBatch) -> Seen {
    let outcome = head.append(&[batch], Limits::default()).unwrap().remove(0);
    let refused = outcome.refused.into_iter().map(|r| (r.why, r.rows));
    (outcome.stored, outcome.unresolved, refused.collect())
}

#[test]
fn references_resolve_to_what_the_head_has_and_the_rest_is_named() {
    let head = open(&MemFs::default());
    append(&head, &[("up", vec![(10, 1.0)])], Limits::default()).unwrap();
    let rows: [Row<'_>; 4] = [
        ("x:b=1", vec![(20, 1.0)]),
        ("up", vec![(20, 2.0)]),
        ("down", vec![(20, 1.0), (30, 1.0)]),
        ("y:c=3", vec![(20, 1.0)]),
    ];
    let batch = referring(&batch(&rows), &[3]);
    assert_eq!(outcome(&head, &batch), (2, vec![0, 2], vec![]));
    let want = expect(&[
        ("up", vec![(10, 1.0), (20, 2.0)]),
        ("y:c=3", vec![(20, 1.0)]),
    ]);
    assert_eq!(everything(&head), want);
}

#[test]
fn a_reference_may_follow_its_labels_in_the_same_group() {
    let head = open(&MemFs::default());
    let first = batch(&[("up", vec![(10, 1.0)])]);
    let second = referring(&batch(&[("up", vec![(20, 2.0)])]), &[]);
    let early = head.append(&[&second, &first, &second], Limits::default());
    let unresolved: Vec<_> = early.unwrap().into_iter().map(|o| o.unresolved).collect();
    assert_eq!(unresolved, [vec![0], vec![], vec![]]);
    let want = expect(&[("up", vec![(10, 1.0), (20, 2.0)])]);
    assert_eq!(everything(&head), want);
}

#[test]
fn refused_rows_are_numbered_and_references_named_by_the_heads_labels() {
    let head = open(&MemFs::default());
    let limits = Limits::default();
    append(&head, &[("up:a=1", vec![(10, 1.0)])], limits).unwrap();
    let rows: [Row<'_>; 4] = [
        ("down", vec![(10, 1.0)]),
        ("up:a=1", vec![(10, 2.0), (5, 1.0), (4, 1.0)]),
        ("down", vec![(10, 3.0)]),
        ("up:a=1", vec![(3, 1.0)]),
    ];
    let batch = referring(&batch(&rows), &[0]);
    let outcome = head.append(&[&batch], limits).unwrap().remove(0);
    let refused: Vec<_> = outcome
        .refused
        .iter()
        .map(|r| (r.why, r.count, r.labels.as_str(), r.rows.clone()))
        .collect();
    let want = [
        (Refusal::DuplicateTimestamp, 2, "up{a=\"1\"}", vec![1, 2]),
        (Refusal::OutOfOrder, 3, "up{a=\"1\"}", vec![1, 3]),
    ];
    assert_eq!(refused, want);
}

#[test]
fn a_reference_to_a_series_that_a_limit_keeps_out_is_unresolved() {
    let head = open(&MemFs::default());
    let limits = Limits {
        series_max: 1,
        ..Limits::default()
    };
    let rows: [Row<'_>; 2] = [("up", vec![(10, 1.0)]), ("down", vec![(10, 1.0)])];
    let first = batch(&rows);
    let second = referring(&first, &[]);
    let outcomes = head.append(&[&first, &second], limits).unwrap();
    assert_eq!(outcomes[0].refused[0].why, Refusal::SeriesPerUser);
    assert_eq!(outcomes[0].refused[0].rows, [1]);
    assert_eq!(outcomes[1].unresolved, [1]);
    assert_eq!(outcomes[1].stored, 1);
}

#[test]
fn a_changed_key_changes_nothing_but_what_references_mean() {
    let fs = MemFs::default();
    let head = open(&fs);
    let rows: [Row<'_>; 2] = [("up", vec![(10, 1.0)]), ("x:b=1,c=2", vec![(10, 1.0)])];
    append(&head, &rows, Limits::default()).unwrap();
    head.rekey(&OTHER).unwrap();
    let later: [Row<'_>; 2] = [("up", vec![(20, 1.0)]), ("x:b=1,c=2", vec![(20, 1.0)])];
    let old = referring(&batch(&later), &[1]);
    assert_eq!(outcome(&head, &old), (1, vec![0], vec![]));
    let new = referring(&batch_with(&later, &OTHER), &[]);
    assert_eq!(outcome(&head, &new), (2, vec![], vec![]));
    let want = expect(&[
        ("up", vec![(10, 1.0), (20, 1.0)]),
        ("x:b=1,c=2", vec![(10, 1.0), (20, 1.0)]),
    ]);
    assert_eq!(everything(&head), want);
    assert_eq!(head.table().unwrap().len(), 2);
}

#[test]
fn a_head_may_be_rekeyed_while_it_replays() {
    let fs = MemFs::default();
    for i in 0..40 {
        let name = format!("m{i}");
        append(&open(&fs), &[(&name, vec![(10, 1.0)])], Limits::default()).unwrap();
    }
    let head = Head::open(
        Arc::new(fs.clone()),
        Path::new("/t"),
        &KEY,
        "tenant",
        OPTIONS,
        BOUNDS,
    )
    .unwrap();
    head.replay_step(200).unwrap();
    head.rekey(&OTHER).unwrap();
    while head.replay_step(1000).unwrap() != (1, 1) {
        let (done, total) = head.replay_step(1000).unwrap();
        if done == total {
            break;
        }
    }
    let names: Vec<String> = (0..40).map(|i| format!("m{i}")).collect();
    let rows: Vec<Row<'_>> = names
        .iter()
        .map(|n| (n.as_str(), vec![(20, 1.0)]))
        .collect();
    let new = referring(&batch_with(&rows, &OTHER), &[]);
    assert_eq!(outcome(&head, &new), (40, vec![], vec![]));
}

#[test]
fn limits_count_owned_series_only() {
    let head = open(&MemFs::default());
    let names: Vec<String> = (0..20).map(|i| format!("m:a={i}")).collect();
    let rows = |range: std::ops::Range<usize>| -> Vec<Row<'_>> {
        let names = names[range].iter();
        names.map(|n| (n.as_str(), vec![(10, 1.0)])).collect()
    };
    let limits = Limits {
        series_max: 6,
        series_per_metric_max: 5,
        ..Limits::default()
    };
    let of = |names: &[String]| {
        let tokens = names.iter().map(|n| i64::from(token(n)));
        TokenRanges::new(tokens.map(|t| (t, t + 1))).unwrap()
    };
    append(&head, &rows(0..10), Limits::default()).unwrap();
    let (_, refused) = append(&head, &rows(10..11), limits).unwrap();
    assert_eq!(refused, [(Refusal::SeriesPerUser, 1)]);

    // Tokens of m:a=0 to m:a=9 are ten in a row, those of 10 to 19 another ten.
    let ranges = of(&names[..3]);
    assert_eq!(head.table().unwrap().count_in(&ranges), 3);
    assert_eq!(
        head.set_owned_ranges(Some(of(&[&names[..3], &names[12..18]].concat())))
            .unwrap(),
        3
    );
    let (stored, refused) = append(&head, &rows(10..20), limits).unwrap();
    assert_eq!((stored, refused), (6, vec![(Refusal::SeriesPerMetric, 4)]));
    assert_eq!(head.table().unwrap().owned_count(), 5);
    let metric_free = Limits {
        series_per_metric_max: 0,
        ..limits
    };
    let (stored, refused) = append(&head, &rows(10..20), metric_free).unwrap();
    assert_eq!((stored, refused), (7, vec![(Refusal::SeriesPerUser, 3)]));
    assert_eq!(head.set_owned_ranges(None).unwrap(), 17);
}

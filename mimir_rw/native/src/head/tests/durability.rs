//! Crashes at every byte, failing disks, damage.

use super::*;

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

fn fs_copy(fs: &MemFs) -> Arc<std::sync::Mutex<super::super::wal::fs::faulty::State>> {
    let files = fs.0.lock().unwrap().files.clone();
    let state = super::super::wal::fs::faulty::State {
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
fn damage_is_not_cut_when_what_follows_cannot_be_kept() {
    let fs = MemFs::default();
    let ends = logged_groups(&fs, OPTIONS);
    let segment = Path::new("/t/wal/00000000");
    let damaged = {
        let mut state = fs.0.lock().unwrap();
        state.files.get_mut(segment).unwrap()[ends[6].0 + 9] ^= 1;
        state.room = Some(3);
        state.files.clone()
    };
    let head = Head::open(
        Arc::new(fs.clone()),
        Path::new("/t"),
        &KEY,
        "tenant",
        OPTIONS,
        BOUNDS,
    )
    .unwrap();
    let text = loop {
        match head.replay_step(1 << 20) {
            Ok((done, total)) => assert!(done < total),
            Err(e) => break format!("{e:?}"),
        }
    };
    assert!(text.contains("nothing is cut"), "{text}");
    assert!(
        fs.0.lock().unwrap().files == damaged,
        "something was changed"
    );
    fs.0.lock().unwrap().room = None;
    assert!(contains(&everything(&open(&fs)), &ends[6].1));
}

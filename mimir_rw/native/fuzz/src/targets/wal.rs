//! The write-ahead log: segments as they lie on disk, and the bodies of records.

use std::io::Cursor;

use _native::batch::Exemplar;
use _native::codec::Damaged;
use _native::codec::histogram::is_sound;
use _native::head::postings::{CanonicalLabels, put_canonical};
use _native::head::wal::frame::{framed_bytes_max, put_record};
use _native::head::wal::read::{SegmentReader, Step};
use _native::head::wal::record::{
    HistogramKind, RecordSink, begin_series, decode, put_exemplars, put_histograms, put_samples,
    put_series,
};
use _native::histogram::stored::DeltaBuckets;
use _native::histogram::{CUSTOM_BUCKETS, Histogram, IntegerHistogram, Span};

/// Holds nothing: counts and checks.
#[derive(Default)]
struct Counter {
    parts: usize,
}

impl RecordSink for Counter {
    fn series(&mut self, _reference: u64, labels: &[(&str, &str)]) -> Result<(), Damaged> {
        self.parts += 1;
        let mut canonical = Vec::new();
        for (name, value) in labels {
            put_canonical(&mut canonical, name, value);
        }
        let back: Result<Vec<_>, _> = CanonicalLabels::new(&canonical).collect();
        assert_eq!(back.as_deref(), Ok(labels));
        Ok(())
    }

    fn sample(&mut self, _reference: u64, _t: i64, _v: u64) {
        self.parts += 1;
    }

    fn histogram(&mut self, _reference: u64, _t: i64, histogram: Histogram) {
        self.parts += 1;
        assert!(is_sound(&histogram));
    }

    fn exemplar(&mut self, _reference: u64, exemplar: Exemplar) {
        self.parts += 1;
        assert!(CanonicalLabels::new(&exemplar.labels).all(|label| label.is_ok()));
    }

    fn reference_seen(&mut self, _reference: u64) {
        self.parts += 1;
    }

    fn unknown(&mut self, _kind: u8) {
        self.parts += 1;
    }
}

pub fn target_record(data: &[u8]) {
    let mut counter = Counter::default();
    let _ = decode(data, &mut counter);
    // The smallest part of a record, a series without labels, takes nine bytes.
    assert!(counter.parts <= data.len() / 9 + 1);
    let _ = CanonicalLabels::new(data).count();
}

pub fn target_segment(data: &[u8]) {
    let mut reader = SegmentReader::new(Box::new(Cursor::new(data.to_vec())));
    let mut copy = Vec::new();
    let mut end_before = 0;
    loop {
        match reader.step().expect("memory does not fail") {
            Step::Record(record) => {
                let _ = decode(record, &mut Counter::default());
                put_record(&mut copy, 0, record, false);
                assert!(framed_bytes_max(record.len()) >= record.len() + 7);
            }
            Step::End { torn } => {
                assert!(torn <= data.len() as u64);
                break;
            }
            Step::Corrupt(_) | Step::Unsupported(_) => break,
        }
        assert!(reader.good_end() > end_before && reader.good_end() <= data.len() as u64);
        end_before = reader.good_end();
    }
    let mut again = SegmentReader::new(Box::new(Cursor::new(copy)));
    while let Step::Record(_) = again.step().expect("memory does not fail") {}
    assert_eq!(again.step().ok(), Some(Step::End { torn: 0 }));
}

pub fn seeds_record() -> Vec<Vec<u8>> {
    let mut series = Vec::new();
    begin_series(&mut series);
    put_series(
        &mut series,
        1,
        [("__name__", "up"), ("job", "a")].into_iter(),
    );
    put_series(&mut series, 2, [("__name__", "x")].into_iter());
    let mut samples = Vec::new();
    put_samples(
        &mut samples,
        (0..9).map(|i| (i, 1_700_000_000_000 + i as i64, i << 52)),
    );
    let mut canonical = Vec::new();
    put_canonical(&mut canonical, "__name__", "up");
    put_canonical(&mut canonical, "job", "a");
    let tombstone = vec![3, 0, 0, 0, 0, 0, 0, 0, 1, 0xd0, 0x0f, 0xa0, 0x1f];
    let second_version = vec![
        0x0b, 2, 0x80, 0x80, 0xf4, 0xf6, 0x90, 0x5d, 0xe0, 0xe3, 0xf2, 0xf6, 0x90, 0x5d, 0x3f,
        0xf0, 0, 0, 0, 0, 0, 0, 2, 0xb0, 0xea, 1, 1, 0x40, 0, 0, 0, 0, 0, 0, 0,
    ];
    let mut exemplars = Vec::new();
    let exemplar = Exemplar {
        ts: 1_700_000_000_000,
        value: 1.5,
        labels: canonical.clone(),
    };
    put_exemplars(&mut exemplars, [(1, &exemplar), (2, &exemplar)].into_iter());
    let mut all = vec![
        series,
        samples,
        canonical,
        tombstone,
        second_version,
        exemplars,
    ];
    all.extend(HistogramKind::ALL.map(histograms));
    all
}

fn histograms(kind: HistogramKind) -> Vec<u8> {
    let custom = matches!(
        kind,
        HistogramKind::CustomInteger | HistogramKind::CustomFloat
    );
    let integer = IntegerHistogram {
        schema: if custom { CUSTOM_BUCKETS } else { 3 },
        count: 6,
        sum: 7.5,
        positive: DeltaBuckets {
            spans: vec![Span {
                offset: 0,
                length: 3,
            }],
            deltas: vec![1, 1, 1],
        },
        custom: if custom {
            vec![0.5, 1.0].into()
        } else {
            Vec::new().into()
        },
        ..IntegerHistogram::default()
    };
    let histogram = match kind {
        HistogramKind::Integer | HistogramKind::CustomInteger => Histogram::Integer(integer),
        _ => Histogram::Float(integer.to_float()),
    };
    let mut record = Vec::new();
    let rows = (1..4).map(|i| (i, 1_700_000_000_000 + i as i64, &histogram));
    put_histograms(&mut record, kind, Some((1, 1_700_000_000_000)), rows);
    record
}

pub fn seeds_segment() -> Vec<Vec<u8>> {
    let mut plain = Vec::new();
    let mut compressed = Vec::new();
    for record in seeds_record() {
        put_record(&mut plain, 0, &record, false);
        put_record(&mut compressed, 0, &record.repeat(8), true);
    }
    let mut long = Vec::new();
    put_record(&mut long, 0, &vec![7; 70_000], false);
    put_record(&mut long, 0, &[], false);
    vec![plain, compressed, long]
}

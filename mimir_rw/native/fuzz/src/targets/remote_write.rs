//! Remote write 1.0: a body is an error or a batch whose columns fit together, and a known set changes nothing.

use _native::batch::WriteBatch;
use _native::wire::known::{KnownSeries, LabelLimits};
use _native::wire::remote_write::{
    Context, DecodeFault, Push, PushLimits, Version, decode, decode_message,
};
use _native::wire::series::{SeriesHasher, TokenHasher, canonical_labels, write_label};

const BYTES_MAX: usize = 1 << 22;
const NOW_MS: i64 = 1_600_000_000_000;

fn limits() -> PushLimits {
    PushLimits {
        labels: LabelLimits {
            label_names_max: 6,
            info_label_names_max: 8,
            name_bytes_max: 64,
            value_bytes_max: 64,
            utf8_names: false,
        },
        metadata_bytes_max: 64,
        future_grace_ms: 600_000,
        past_grace_ms: 3_600_000,
        histograms: true,
        histogram_buckets_max: 6,
        reduce_histograms: true,
        exemplars: true,
        type_and_unit_labels: false,
    }
}

fn check(push: &Push, hasher: &SeriesHasher) {
    let batch = &push.batch;
    let rows = batch.label_range.len();
    assert!(
        batch.hash.len() == rows && batch.token.len() == rows && batch.sample_end.len() == rows
    );
    assert!(batch.ts.len() == batch.values.len());
    assert_eq!(
        batch.sample_end.last().map_or(0, |&n| n as usize),
        batch.ts.len()
    );
    assert!(batch.sample_end.windows(2).all(|w| w[0] < w[1]));
    let refused: u64 = push.rejections.iter().map(|r| r.count).sum();
    let kept = (batch.ts.len() + batch.metadata.len()) as u64;
    assert_eq!(
        kept + refused,
        push.samples_received + push.metadata_received
    );
    assert!(push.rejections.iter().all(|r| r.first.len() < 4096));
    for row in 0..rows {
        let bytes = batch.labels(row);
        let labels: Vec<_> = canonical_labels(bytes).collect();
        let mut again = Vec::new();
        labels
            .iter()
            .for_each(|(name, value)| write_label(&mut again, name, value));
        assert_eq!(again, bytes);
        assert!(labels.windows(2).all(|w| w[0].0 < w[1].0));
        assert!(
            labels
                .iter()
                .all(|l| std::str::from_utf8(l.0).is_ok() && std::str::from_utf8(l.1).is_ok())
        );
        assert_eq!(batch.token[row], TokenHasher::new("t").token(labels));
        assert_eq!(batch.hash[row], hasher.hash(bytes));
    }
}

fn run(decoded: impl Fn(&Context<'_>) -> Result<Push, DecodeFault>) {
    let (hasher, limits) = (SeriesHasher::new(&[1; 32]), limits());
    let (known, none) = (KnownSeries::new(64), KnownSeries::new(0));
    let context = |known| Context {
        tenant: "t",
        hasher: &hasher,
        known,
        limits: &limits,
        now_ms: NOW_MS,
        bytes_max: BYTES_MAX,
        recent_metadata: None,
        version: Version::V1,
    };
    let results = [
        decoded(&context(&none)),
        decoded(&context(&known)),
        decoded(&context(&known)),
    ];
    if let Ok(push) = &results[0] {
        check(push, &hasher);
    }
    assert_eq!(format!("{:?}", results[0]), format!("{:?}", results[1]));
    assert_eq!(format!("{:?}", results[0]), format!("{:?}", results[2]));
}

pub fn target(data: &[u8]) {
    run(|context| decode(data, context));
}

pub fn target_message(data: &[u8]) {
    run(|context| decode_message(data.to_vec(), context));
}

fn field(number: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 128);
    [&[number << 3 | 2, payload.len() as u8], payload].concat()
}

fn series(labels: &[(&str, &str)], ts: &[u8]) -> Vec<u8> {
    let mut inner = Vec::new();
    labels
        .iter()
        .for_each(|(n, v)| write_label(&mut inner, n.as_bytes(), v.as_bytes()));
    let sample = [&[0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x10], ts].concat();
    inner.extend(field(2, &sample));
    inner.extend(field(2, &sample));
    field(1, &inner)
}

pub fn seeds_message() -> Vec<Vec<u8>> {
    let now = [0x80, 0x80, 0xba, 0xbb, 0xc8, 0x2e];
    let up = series(&[("__name__", "up"), ("job", "a")], &now);
    let odd = series(&[("job", "a"), ("__name__", "up_info"), ("z", "")], &now);
    let bad = series(&[("__name__", "up"), ("a", "1"), ("a", "2")], &[0x05]);
    let exemplar_and_histogram = field(1, &[&up[2..], &[0x1a, 0x00, 0x22, 0x00]].concat());
    let metadata = vec![
        0x1a, 0x09, 0x08, 0x02, 0x12, 0x02, 0x75, 0x70, 0x22, 0x01, 0x68,
    ];
    vec![
        [&up[..], &metadata].concat(),
        [up.clone(), odd.clone(), bad.clone()].concat(),
        [exemplar_and_histogram, odd, up.clone(), metadata].concat(),
        [bad, up.repeat(20)].concat(),
    ]
}

/// What a message holds.
pub fn batch(message: Vec<u8>) -> WriteBatch {
    let (hasher, limits, known) = (SeriesHasher::new(&[1; 32]), limits(), KnownSeries::new(0));
    let context = Context {
        tenant: "t",
        hasher: &hasher,
        known: &known,
        limits: &limits,
        now_ms: NOW_MS,
        bytes_max: BYTES_MAX,
        recent_metadata: None,
        version: Version::V1,
    };
    decode_message(message, &context)
        .map(|push| push.batch)
        .unwrap_or_default()
}

pub fn seeds() -> Vec<Vec<u8>> {
    let pack = |message: &Vec<u8>| {
        snap::raw::Encoder::new()
            .compress_vec(message)
            .unwrap_or_default()
    };
    let mut seeds: Vec<Vec<u8>> = seeds_message().iter().map(pack).collect();
    seeds.push(vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0x00, 0x00]);
    seeds
}

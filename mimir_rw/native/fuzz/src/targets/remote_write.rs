//! Remote write: a body is an error or a batch whose columns fit together, holds only what is valid, and goes to other
//! processes unharmed; what was received is kept, refused or dropped; and a known set changes nothing.

use _native::batch::WriteBatch;
use _native::wire::batch_codec;
use _native::wire::known::{KnownSeries, LabelLimits};
use _native::wire::recent_metadata::RecentMetadata;
use _native::wire::remote_write::{
    Context, DecodeFault, Push, PushLimits, Version, decode, decode_message,
};
use _native::wire::series::{SeriesHasher, TokenHasher, canonical_labels, write_label};

use super::push_messages::{NOW_MS, messages_v1, messages_v2};

const BYTES_MAX: usize = 1 << 22;
const BUCKETS_MAX: usize = 6;

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
        histogram_buckets_max: BUCKETS_MAX,
        reduce_histograms: true,
        exemplars: true,
        type_and_unit_labels: false,
    }
}

/// Each row's own part of a list; lists that are empty need no ends.
fn check_ends(ends: &[u32], rows: usize, items: usize) {
    assert!(ends.len() == rows || (items == 0 && ends.is_empty()));
    assert!(ends.is_sorted());
    assert_eq!(ends.last().map_or(0, |&end| end as usize), items);
}

pub fn check_columns(batch: &WriteBatch) {
    let rows = batch.label_range.len();
    assert!(batch.hash.len() == rows && batch.token.len() == rows);
    assert!(batch.ts.len() == batch.values.len());
    assert!(batch.start_ts.is_empty() || batch.start_ts.len() == batch.ts.len());
    assert_eq!(batch.sample_end.len(), rows);
    check_ends(&batch.sample_end, rows, batch.ts.len());
    check_ends(&batch.histogram_end, rows, batch.histograms.len());
    check_ends(&batch.exemplar_end, rows, batch.exemplars.len());
}

fn check_counts(push: &Push) {
    let batch = &push.batch;
    let refused: u64 = push.rejections.iter().map(|r| r.count).sum();
    let kept = (batch.ts.len() + batch.histograms.len() + batch.metadata.len()) as u64;
    assert_eq!(
        kept + refused,
        push.samples_received + push.metadata_received
    );
    assert!(push.rejections.iter().all(|r| r.first.len() < 4096));
    // Those of a refused series go with it.
    let accounted = push.exemplar_refusals.iter().map(|r| r.1).sum::<u64>()
        + push.exemplars_dropped
        + batch.exemplars.len() as u64;
    assert!(accounted <= push.exemplars_received);
    if push.rejections.is_empty() {
        assert_eq!(accounted, push.exemplars_received);
    }
}

fn check_samples(push: &Push, limits: &PushLimits) {
    let batch = &push.batch;
    let times = || {
        let histograms = batch.histograms.iter().map(|sample| sample.ts);
        batch.ts.iter().copied().chain(histograms)
    };
    assert_eq!(push.newest_ms, times().max());
    let newest = NOW_MS + limits.future_grace_ms;
    assert!(times().all(|ts| ts >= NOW_MS - limits.past_grace_ms && ts <= newest));
    for (&start_ts, &ts) in batch.start_ts.iter().zip(&batch.ts) {
        assert!(start_ts == 0 || start_ts < ts);
    }
    for sample in &batch.histograms {
        assert!(limits.histograms);
        assert!(sample.start_ts == 0 || sample.start_ts < sample.ts);
        assert_eq!(sample.histogram.validate(), Ok(()));
        let float = sample.histogram.to_float();
        let buckets = float.positive.counts.len() + float.negative.counts.len();
        assert!(buckets <= BUCKETS_MAX);
    }
    for exemplar in &batch.exemplars {
        assert!(limits.exemplars && exemplar.ts <= newest);
        assert!(!exemplar.labels.is_empty());
        check_labels(&exemplar.labels);
    }
}

fn check_labels(bytes: &[u8]) {
    let labels: Vec<_> = canonical_labels(bytes).collect();
    let mut again = Vec::new();
    labels
        .iter()
        .for_each(|(name, value)| write_label(&mut again, name, value));
    assert_eq!(again, bytes);
    assert!(labels.windows(2).all(|w| w[0].0 < w[1].0));
    let mut texts = labels.iter().flat_map(|label| [label.0, label.1]);
    assert!(texts.all(|text| !text.is_empty() && std::str::from_utf8(text).is_ok()));
}

fn check_rows(batch: &WriteBatch, hasher: &SeriesHasher) {
    for row in 0..batch.rows() {
        let bytes = batch.labels(row);
        check_labels(bytes);
        let labels = canonical_labels(bytes);
        assert_eq!(batch.token[row], TokenHasher::new("t").token(labels));
        assert_eq!(batch.hash[row], hasher.hash(bytes));
        let samples = batch.samples(row).len() + batch.histograms_of(row).len();
        assert!(samples + batch.exemplars_of(row).len() > 0);
    }
}

/// An ingester that is sent the batch has the same.
fn check_travels(batch: &WriteBatch, hasher: &SeriesHasher) {
    let all: Vec<u32> = (0..batch.rows() as u32).collect();
    let sent = batch_codec::encode(batch, &all, None, true);
    let received = batch_codec::decode(&sent, "t", hasher).expect("what was accepted travels");
    assert_eq!(batch_codec::encode(&received, &all, None, true), sent);
    let of = |batch: &WriteBatch| (batch.histograms.len(), batch.exemplars.clone());
    // NaN is not itself.
    assert_eq!(format!("{:?}", of(&received)), format!("{:?}", of(batch)));
}

fn run(version: Version, decoded: impl Fn(&Context<'_>) -> Result<Push, DecodeFault>) {
    run_within(version, &limits(), &decoded);
    let without = PushLimits {
        histograms: false,
        exemplars: false,
        type_and_unit_labels: true,
        ..limits()
    };
    run_within(version, &without, &decoded);
}

fn run_within(
    version: Version,
    limits: &PushLimits,
    decoded: impl Fn(&Context<'_>) -> Result<Push, DecodeFault>,
) {
    let hasher = SeriesHasher::new(&[1; 32]);
    let (known, none) = (KnownSeries::new(64), KnownSeries::new(0));
    let recent = RecentMetadata::new(1 << 20);
    let context = |known, recent_metadata| Context {
        tenant: "t",
        hasher: &hasher,
        known,
        limits,
        recent_metadata,
        version,
        now_ms: NOW_MS,
        bytes_max: BYTES_MAX,
    };
    let results = [
        decoded(&context(&none, None)),
        decoded(&context(&known, None)),
        decoded(&context(&known, Some(&recent))),
    ];
    if let Ok(push) = &results[0] {
        check_columns(&push.batch);
        check_counts(push);
        check_samples(push, limits);
        check_rows(&push.batch, &hasher);
        check_travels(&push.batch, &hasher);
    }
    assert_eq!(format!("{:?}", results[0]), format!("{:?}", results[1]));
    assert_eq!(format!("{:?}", results[0]), format!("{:?}", results[2]));
}

pub fn target(data: &[u8]) {
    run(Version::V1, |context| decode(data, context));
}

pub fn target_message(data: &[u8]) {
    run(Version::V1, |context| {
        decode_message(data.to_vec(), context)
    });
}

pub fn target_message_v2(data: &[u8]) {
    run(Version::V2, |context| {
        decode_message(data.to_vec(), context)
    });
}

pub fn seeds_message() -> Vec<Vec<u8>> {
    messages_v1()
}

pub fn seeds_message_v2() -> Vec<Vec<u8>> {
    messages_v2()
}

fn batch(message: Vec<u8>, version: Version) -> WriteBatch {
    let (hasher, limits, known) = (SeriesHasher::new(&[1; 32]), limits(), KnownSeries::new(0));
    let context = Context {
        tenant: "t",
        hasher: &hasher,
        known: &known,
        limits: &limits,
        recent_metadata: None,
        version,
        now_ms: NOW_MS,
        bytes_max: BYTES_MAX,
    };
    decode_message(message, &context)
        .expect("a seed is a message")
        .batch
}

/// What the messages hold.
pub fn batches() -> Vec<WriteBatch> {
    let first = messages_v1().into_iter().map(|m| batch(m, Version::V1));
    let second = messages_v2().into_iter().map(|m| batch(m, Version::V2));
    first.chain(second).collect()
}

pub fn seeds() -> Vec<Vec<u8>> {
    let pack = |message: &Vec<u8>| {
        snap::raw::Encoder::new()
            .compress_vec(message)
            .unwrap_or_default()
    };
    let mut seeds: Vec<Vec<u8>> = messages_v1().iter().map(pack).collect();
    seeds.push(vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0x00, 0x00]);
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_hold_what_is_to_be_mutated() {
        for (messages, version) in [(messages_v1(), Version::V1), (messages_v2(), Version::V2)] {
            let batches: Vec<WriteBatch> =
                messages.into_iter().map(|m| batch(m, version)).collect();
            // As many as the messages have that are valid: none is refused by mistake.
            let histograms = batches.iter().map(|batch| batch.histograms.len()).max();
            assert_eq!(histograms, Some(12));
            assert!(batches.iter().any(|batch| batch.exemplars.len() > 7));
            assert!(batches.iter().any(|batch| !batch.metadata.is_empty()));
            let starts = batches.iter().any(|batch| {
                let histograms = &batch.histograms;
                !batch.start_ts.is_empty() && histograms.iter().any(|h| h.start_ts != 0)
            });
            assert_eq!(starts, version == Version::V2);
        }
    }
}

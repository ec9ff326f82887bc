//! Bodies of log records (wal.md section 5): those that we write, and those that replay understands. Histograms within
//! them are in `histogram`.

use super::histogram;
pub use super::histogram::{HistogramKind, put_histograms};
use crate::batch::Exemplar;
use crate::codec::Damaged;
use crate::codec::varint::{Cursor, put_uvarint, put_uvstr, put_varint};
use crate::head::postings::{CanonicalLabels, put_canonical};
use crate::histogram::Histogram;

const SERIES: u8 = 1;
const SAMPLES: u8 = 2;
const TOMBSTONES: u8 = 3;
const EXEMPLARS: u8 = 4;
const SAMPLES_V2: u8 = 11;

/// Most labels of one series that a reader allocates for at once.
const LABELS_RESERVE_MAX: u64 = 64;

/// Append a series record's type byte; `put_series` follows for each series.
pub fn begin_series(out: &mut Vec<u8>) {
    out.push(SERIES);
}

pub fn put_series<'a>(
    out: &mut Vec<u8>,
    reference: u64,
    labels: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
) {
    out.extend_from_slice(&reference.to_be_bytes());
    put_uvarint(out, labels.len() as u64);
    for (name, value) in labels {
        put_uvstr(out, name.as_bytes());
        put_uvstr(out, value.as_bytes());
    }
}

/// Append a samples record of (reference, time, value bits).
pub fn put_samples(out: &mut Vec<u8>, samples: impl Iterator<Item = (u64, i64, u64)>) {
    out.push(SAMPLES);
    let mut base = None;
    for (reference, t, v) in samples {
        let (base_ref, base_t) = *base.get_or_insert_with(|| {
            out.extend_from_slice(&reference.to_be_bytes());
            out.extend_from_slice(&t.to_be_bytes());
            (reference, t)
        });
        put_varint(out, reference.wrapping_sub(base_ref) as i64);
        put_varint(out, t.wrapping_sub(base_t));
        out.extend_from_slice(&v.to_be_bytes());
    }
}

/// Append an exemplars record of (reference, exemplar). Labels that are not canonical are left out.
pub fn put_exemplars<'a>(out: &mut Vec<u8>, exemplars: impl Iterator<Item = (u64, &'a Exemplar)>) {
    out.push(EXEMPLARS);
    let mut base = None;
    for (reference, exemplar) in exemplars {
        let (base_ref, base_t) = *base.get_or_insert_with(|| {
            out.extend_from_slice(&reference.to_be_bytes());
            out.extend_from_slice(&exemplar.ts.to_be_bytes());
            (reference, exemplar.ts)
        });
        put_varint(out, reference.wrapping_sub(base_ref) as i64);
        put_varint(out, exemplar.ts.wrapping_sub(base_t));
        out.extend_from_slice(&exemplar.value.to_bits().to_be_bytes());
        let labels = || CanonicalLabels::new(&exemplar.labels).flatten();
        put_uvarint(out, labels().count() as u64);
        for (name, value) in labels() {
            put_uvstr(out, name.as_bytes());
            put_uvstr(out, value.as_bytes());
        }
    }
}

/// Append a tombstone that deletes nothing: its reference is never given out again.
pub fn put_last_reference(out: &mut Vec<u8>, reference: u64) {
    out.push(TOMBSTONES);
    out.extend_from_slice(&reference.to_be_bytes());
    put_varint(out, i64::MIN);
    put_varint(out, i64::MIN);
}

/// What replay does with the parts of a record.
pub trait RecordSink {
    /// `labels` is empty of duplicates only if the writer was right; names and values are as logged.
    fn series(&mut self, reference: u64, labels: &[(&str, &str)]) -> Result<(), Damaged>;
    fn sample(&mut self, reference: u64, t: i64, v: u64);
    fn histogram(&mut self, reference: u64, t: i64, histogram: Histogram);
    fn exemplar(&mut self, reference: u64, exemplar: Exemplar);
    /// A reference that must not be given out again.
    fn reference_seen(&mut self, reference: u64);
    fn unknown(&mut self, kind: u8);
}

/// Decode one record. Parts before the damage have reached the sink when it says Damaged.
pub fn decode(record: &[u8], sink: &mut impl RecordSink) -> Result<(), Damaged> {
    let Some((&kind, body)) = record.split_first() else {
        return Ok(());
    };
    let body = Cursor::new(body);
    match kind {
        SERIES => decode_series(body, sink),
        SAMPLES => decode_samples(body, sink),
        SAMPLES_V2 => decode_samples_v2(body, sink),
        TOMBSTONES => decode_tombstones(body, sink),
        EXEMPLARS => decode_exemplars(body, sink),
        other => match histogram::RecordKind::of(other) {
            Some(kind) => histogram::decode(kind, body, sink),
            None => {
                sink.unknown(other);
                Ok(())
            }
        },
    }
}

fn decode_exemplars(mut body: Cursor<'_>, sink: &mut impl RecordSink) -> Result<(), Damaged> {
    if body.is_empty() {
        return Ok(());
    }
    let base_ref = body.be64()?;
    let base_t = body.be64()? as i64;
    while !body.is_empty() {
        let reference = base_ref.wrapping_add(body.varint()? as u64);
        let ts = base_t.wrapping_add(body.varint()?);
        let value = f64::from_bits(body.be64()?);
        let mut labels = Vec::new();
        for _ in 0..body.uvarint()? {
            let (name, text) = (text(body.uvstr()?)?, text(body.uvstr()?)?);
            put_canonical(&mut labels, name, text);
        }
        sink.exemplar(reference, Exemplar { ts, value, labels });
    }
    Ok(())
}

fn decode_series(mut body: Cursor<'_>, sink: &mut impl RecordSink) -> Result<(), Damaged> {
    while !body.is_empty() {
        let reference = body.be64()?;
        let n = body.uvarint()?;
        let mut labels = Vec::with_capacity(n.min(LABELS_RESERVE_MAX) as usize);
        for _ in 0..n {
            labels.push((text(body.uvstr()?)?, text(body.uvstr()?)?));
        }
        sink.series(reference, &labels)?;
    }
    Ok(())
}

fn text(bytes: &[u8]) -> Result<&str, Damaged> {
    std::str::from_utf8(bytes).map_err(|_| Damaged("a label in a record is not UTF-8"))
}

fn decode_samples(mut body: Cursor<'_>, sink: &mut impl RecordSink) -> Result<(), Damaged> {
    if body.is_empty() {
        return Ok(());
    }
    let base_ref = body.be64()?;
    let base_t = body.be64()? as i64;
    while !body.is_empty() {
        let reference = base_ref.wrapping_add(body.varint()? as u64);
        let t = base_t.wrapping_add(body.varint()?);
        sink.sample(reference, t, body.be64()?);
    }
    Ok(())
}

/// Samples with start timestamps; those are read and dropped.
fn decode_samples_v2(mut body: Cursor<'_>, sink: &mut impl RecordSink) -> Result<(), Damaged> {
    if body.is_empty() {
        return Ok(());
    }
    let mut reference = body.varint()? as u64;
    let base_t = body.varint()?;
    body.varint()?;
    sink.sample(reference, base_t, body.be64()?);
    while !body.is_empty() {
        reference = reference.wrapping_add(body.varint()? as u64);
        let t = base_t.wrapping_add(body.varint()?);
        if body.u8()? >= 2 {
            body.varint()?;
        }
        sink.sample(reference, t, body.be64()?);
    }
    Ok(())
}

fn decode_tombstones(mut body: Cursor<'_>, sink: &mut impl RecordSink) -> Result<(), Damaged> {
    while !body.is_empty() {
        sink.reference_seen(body.be64()?);
        body.varint()?;
        body.varint()?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[derive(Default, Debug, PartialEq)]
    pub struct Collected {
        pub series: Vec<(u64, Vec<(String, String)>)>,
        pub samples: Vec<(u64, i64, u64)>,
        pub histograms: Vec<(u64, i64, Histogram)>,
        pub exemplars: Vec<(u64, Exemplar)>,
        pub seen: Vec<u64>,
        pub unknown: Vec<u8>,
    }

    impl RecordSink for Collected {
        fn series(&mut self, reference: u64, labels: &[(&str, &str)]) -> Result<(), Damaged> {
            let labels = labels.iter().map(|(n, v)| (n.to_string(), v.to_string()));
            self.series.push((reference, labels.collect()));
            Ok(())
        }
        fn sample(&mut self, reference: u64, t: i64, v: u64) {
            self.samples.push((reference, t, v));
        }
        fn histogram(&mut self, reference: u64, t: i64, histogram: Histogram) {
            self.histograms.push((reference, t, histogram));
        }
        fn exemplar(&mut self, reference: u64, exemplar: Exemplar) {
            self.exemplars.push((reference, exemplar));
        }
        fn reference_seen(&mut self, reference: u64) {
            self.seen.push(reference);
        }
        fn unknown(&mut self, kind: u8) {
            self.unknown.push(kind);
        }
    }

    pub fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        let byte = |p: &[u8]| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    #[test]
    fn series_record_of_the_format_paper() {
        let want = hex(
            "01 00 00 00 00 00 00 00 01 02 08 5f 5f 6e 61 6d 65 5f 5f 02 75 70 03 6a 6f 62 01 61",
        );
        let mut out = Vec::new();
        begin_series(&mut out);
        put_series(&mut out, 1, [("__name__", "up"), ("job", "a")].into_iter());
        assert_eq!(out, want);
        let mut got = Collected::default();
        decode(&want, &mut got).unwrap();
        assert_eq!(got.series[0].0, 1);
        assert_eq!(got.series[0].1[1], ("job".to_string(), "a".to_string()));
    }

    #[test]
    fn samples_record_of_the_format_paper() {
        let want = hex("02 00 00 00 00 00 00 00 01 00 00 01 74 87 6e 80 00
             00 00 3f f0 00 00 00 00 00 00 02 b0 ea 01 40 00 00 00 00 00 00 00");
        let samples = [
            (1, 1_600_000_000_000, 1f64.to_bits()),
            (2, 1_600_000_015_000, 2f64.to_bits()),
        ];
        let mut out = Vec::new();
        put_samples(&mut out, samples.into_iter());
        assert_eq!(out, want);
        let mut got = Collected::default();
        decode(&want, &mut got).unwrap();
        assert_eq!(got.samples, samples);
    }

    #[test]
    fn samples_v2_of_the_format_paper() {
        let record = hex(
            "0b 02 80 80 f4 f6 90 5d e0 e3 f2 f6 90 5d 3f f0 00 00 00 00 00 00
             02 b0 ea 01 01 40 00 00 00 00 00 00 00 02 b0 ea 01 00 40 08 00 00 00 00 00 00",
        );
        let mut got = Collected::default();
        decode(&record, &mut got).unwrap();
        let want = [
            (1, 1_600_000_000_000, 1f64.to_bits()),
            (2, 1_600_000_015_000, 2f64.to_bits()),
            (3, 1_600_000_015_000, 3f64.to_bits()),
        ];
        assert_eq!(got.samples, want);
    }

    #[test]
    fn exemplars_record_of_the_format_paper() {
        let want = hex("04 00 00 00 00 00 00 00 01 00 00 01 74 87 6e 80 00 00 00
             3f f8 00 00 00 00 00 00 01 08 74 72 61 63 65 5f 69 64 03 61 62 63");
        let mut labels = Vec::new();
        put_canonical(&mut labels, "trace_id", "abc");
        let exemplar = Exemplar {
            ts: 1_600_000_000_000,
            value: 1.5,
            labels,
        };
        let mut out = Vec::new();
        put_exemplars(&mut out, [(1, &exemplar)].into_iter());
        assert_eq!(out, want);
        let mut got = Collected::default();
        decode(&want, &mut got).unwrap();
        assert_eq!(got.exemplars, [(1, exemplar)]);
    }

    #[test]
    fn tombstones_raise_references_and_others_are_skipped() {
        let mut got = Collected::default();
        decode(&hex("03 00 00 00 00 00 00 00 01 d0 0f a0 1f"), &mut got).unwrap();
        decode(&[6, 1, 2, 3], &mut got).unwrap();
        decode(&[], &mut got).unwrap();
        assert_eq!((got.seen, got.unknown), (vec![1], vec![6]));
    }

    #[test]
    fn every_cut_of_a_record_is_an_error_or_a_prefix() {
        let mut record = Vec::new();
        put_samples(&mut record, (0..9).map(|i| (i * i, 1000 - i as i64, i)));
        let mut whole = Collected::default();
        decode(&record, &mut whole).unwrap();
        for cut in 0..record.len() {
            let mut got = Collected::default();
            let _ = decode(&record[..cut], &mut got);
            assert!(whole.samples.starts_with(&got.samples));
        }
    }
}

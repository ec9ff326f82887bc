//! Tests of the decoder of remote write 2.0: equality with 1.0, what is wrong with a series, and native histograms.

use super::histogram_message::{HistogramFault, admit};
use super::known::{KnownSeries, LabelLimits};
use super::recent_metadata::RecentMetadata;
use super::remote_write::*;
use super::series::{SeriesHasher, write_label};
use crate::codec::varint::put_uvarint;
use crate::histogram::stored::DeltaBuckets;
use crate::histogram::{CUSTOM_BUCKETS, Histogram, IntegerHistogram, Span};
use crate::windows::STALE_NAN_BITS;

const NOW_MS: i64 = 1_600_000_000_000;

fn limits() -> PushLimits {
    PushLimits {
        labels: LabelLimits {
            label_names_max: 30,
            info_label_names_max: 80,
            name_bytes_max: 100,
            value_bytes_max: 100,
            utf8_names: false,
        },
        metadata_bytes_max: 100,
        future_grace_ms: 600_000,
        past_grace_ms: 0,
        histograms: true,
        histogram_buckets_max: 0,
        reduce_histograms: true,
        exemplars: true,
        type_and_unit_labels: false,
    }
}

fn decoded_by(
    message: &[u8],
    version: Version,
    limits: &PushLimits,
    recent_metadata: Option<&RecentMetadata>,
) -> Result<Push, DecodeFault> {
    let (hasher, known) = (SeriesHasher::new(&[7; 32]), KnownSeries::new(0));
    let context = Context {
        tenant: "user-1",
        hasher: &hasher,
        known: &known,
        limits,
        recent_metadata,
        version,
        now_ms: NOW_MS,
        bytes_max: 1 << 20,
    };
    decode_message(message.to_vec(), &context)
}

fn decoded(request: &Request) -> Push {
    decoded_by(&request.message(), Version::V2, &limits(), None).unwrap()
}

fn field(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    put_uvarint(&mut out, payload.len() as u64);
    out.extend_from_slice(payload);
    out
}

fn varint_field(number: u8, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_uvarint(&mut out, u64::from(number) << 3);
    put_uvarint(&mut out, value);
    out
}

fn sample(value: f64, ts: i64, start_ts: i64) -> Vec<u8> {
    let value = [&[0x09][..], &value.to_le_bytes()].concat();
    let times = [varint_field(2, ts as u64), varint_field(3, start_ts as u64)];
    field(2, &[value, times.concat()].concat())
}

/// Makes messages; every text is a symbol once.
struct Request {
    symbols: Vec<String>,
    series: Vec<u8>,
}

impl Request {
    fn new() -> Self {
        Self {
            symbols: vec![String::new()],
            series: Vec::new(),
        }
    }

    fn symbol(&mut self, text: &str) -> u64 {
        let known = self.symbols.iter().position(|symbol| symbol == text);
        known.unwrap_or_else(|| {
            self.symbols.push(text.to_owned());
            self.symbols.len() - 1
        }) as u64
    }

    fn refs(&mut self, labels: &[(&str, &str)]) -> Vec<u8> {
        let mut packed = Vec::new();
        for (name, value) in labels {
            put_uvarint(&mut packed, self.symbol(name));
            put_uvarint(&mut packed, self.symbol(value));
        }
        packed
    }

    fn series(&mut self, labels: &[(&str, &str)], tail: &[u8]) -> &mut Self {
        let refs = self.refs(labels);
        self.raw(&refs, tail)
    }

    fn raw(&mut self, refs: &[u8], tail: &[u8]) -> &mut Self {
        let message = [field(1, refs), tail.to_vec()].concat();
        self.series.extend(field(5, &message));
        self
    }

    fn meta(&mut self, kind: u64, help: &str, unit: &str) -> Vec<u8> {
        let (help, unit) = (self.symbol(help), self.symbol(unit));
        let fields = [(1, kind), (3, help), (4, unit)].map(|(n, v)| varint_field(n, v));
        field(5, &fields.concat())
    }

    fn message(&self) -> Vec<u8> {
        let symbols = self.symbols.iter();
        let symbols = symbols.flat_map(|text| field(4, text.as_bytes()));
        symbols.chain(self.series.iter().copied()).collect()
    }
}

fn ids(push: &Push) -> Vec<(&'static str, u64)> {
    push.rejections.iter().map(|r| (r.id, r.count)).collect()
}

#[test]
fn a_series_of_either_version_is_the_same_row() {
    let sets: [&[(&str, &str)]; 4] = [
        &[("__name__", "up"), ("instance", "b"), ("job", "a")],
        &[("__name__", "up"), ("instance", "c"), ("job", "a")],
        &[("__name__", "up"), ("job", "a")],
        &[("__name__", "up"), ("instance", "b"), ("job", "a")],
    ];
    let (mut request, mut v1) = (Request::new(), Vec::new());
    for labels in sets {
        request.series(labels, &sample(1.5, NOW_MS, 0));
        let mut inner = Vec::new();
        for (name, value) in labels {
            write_label(&mut inner, name.as_bytes(), value.as_bytes());
        }
        inner.extend(sample(1.5, NOW_MS, 0));
        v1.extend(field(1, &inner));
    }
    let unsorted = [("job", "a"), ("__name__", "up"), ("x", "")];
    request.series(&unsorted, &sample(2.0, NOW_MS, 0));
    let v2 = decoded(&request);
    let v1 = decoded_by(&v1, Version::V1, &limits(), None).unwrap();
    assert!(v1.rejections.is_empty() && v2.rejections.is_empty());
    for (row, as_row) in [(0, 0), (1, 1), (2, 2), (3, 3), (2, 4)] {
        assert_eq!(v1.batch.labels(row), v2.batch.labels(as_row));
        assert_eq!(v1.batch.hash[row], v2.batch.hash[as_row]);
        assert_eq!(v1.batch.token[row], v2.batch.token[as_row]);
    }
    assert!(v2.batch.start_ts.is_empty() && v2.batch.rows() == 5);
}

#[test]
fn a_bad_series_is_left_out_and_the_others_are_kept() {
    let mut request = Request::new();
    let up = [("__name__", "up")];
    let refs = request.refs(&up);
    let two = [sample(1.0, 1, 0), sample(1.0, 2, 0)].concat();
    let bad_help = [two.clone(), field(5, &varint_field(3, 99))].concat();
    request
        .raw(&[1, 2, 3], &two)
        .raw(&[1, 99], &two)
        .raw(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1], &two)
        .raw(&refs, &bad_help)
        .raw(&refs, &field(4, &varint_field(3, 1)))
        .raw(&refs, &[])
        .series(&[("__name__", ""), ("job", "a")], &two)
        .series(&[("__name__", "up"), ("a", "1"), ("a", "2")], &two)
        .series(&up, &two);
    let push = decoded(&request);
    let want = [
        ("label-invalid", 8),
        ("", 0),
        ("missing-metric-name", 2),
        ("duplicate-label-names", 2),
    ];
    assert_eq!(ids(&push), want);
    assert!(push.rejections[1].first.contains("up{} has no samples"));
    assert_eq!((push.batch.rows(), push.batch.ts.len()), (1, 2));
    assert_eq!(push.samples_received, 14);
}

#[test]
fn start_timestamps_of_both_tags() {
    let mut request = Request::new();
    let samples = [(1000, 500), (2000, 0), (3000, 3000)];
    let samples = samples.map(|(ts, start)| sample(1.0, ts, start)).concat();
    let with_tag_6 = [samples.clone(), varint_field(6, 2500)].concat();
    request
        .series(&[("__name__", "a")], &sample(1.0, 1000, 0))
        .series(&[("__name__", "b")], &samples)
        .series(&[("__name__", "c")], &with_tag_6);
    let push = decoded(&request);
    assert_eq!(push.batch.start_ts, [0, 500, 0, 0, 500, 0, 2500]);
}

#[test]
fn exemplars_without_samples_are_kept_and_bad_ones_counted() {
    let mut request = Request::new();
    let mut exemplar = |labels: &[(&str, &str)], ts: i64| {
        let refs = field(1, &request.refs(labels));
        field(4, &[refs, varint_field(3, ts as u64)].concat())
    };
    let (id, long) = ([("trace_id", "abc")], "x".repeat(121));
    let cases = [
        exemplar(&id, NOW_MS),
        exemplar(&[], NOW_MS),
        exemplar(&[("trace_id", &long)], NOW_MS),
        exemplar(&[("a", "1"), ("a", "2")], NOW_MS),
        exemplar(&id, 0),
        exemplar(&id, NOW_MS + 700_000),
        exemplar(&id, NOW_MS - 400_000),
    ];
    request
        .series(&[("__name__", "up")], &sample(1.0, NOW_MS, 0))
        .series(&[("__name__", "up")], &cases.concat());
    let push = decoded(&request);
    assert!(push.rejections.is_empty() && push.batch.exemplars_of(0).is_empty());
    assert_eq!(
        (push.exemplars_received, push.batch.exemplars.len()),
        (7, 1)
    );
    assert_eq!(push.batch.exemplars_of(1)[0].ts, NOW_MS);
    let refused = [
        "exemplar-labels-missing",
        "exemplar-labels-too-long",
        "exemplar-labels-invalid",
        "exemplar-timestamp-invalid",
        "exemplar-too-far-in-future",
        "exemplar-too-far-in-past",
    ];
    assert_eq!(push.exemplar_refusals, refused.map(|id| (id, 1)));
}

#[test]
fn metadata_comes_once_a_minute_under_the_name_of_its_family() {
    let mut request = Request::new();
    for (name, kind) in [
        ("up", 2),
        ("up", 2),
        ("h_bucket", 3),
        ("h_count", 3),
        ("c_total", 1),
    ] {
        let tail = [sample(1.0, NOW_MS, 0), request.meta(kind, "help", "s")].concat();
        request.series(&[("__name__", name)], &tail);
    }
    let names = |push: &Push| -> Vec<_> {
        let entries = push.batch.metadata.iter();
        entries.map(|m| (m.kind, m.name.clone())).collect()
    };
    let want = [(2, "up"), (3, "h"), (1, "c_total")].map(|(kind, name)| (kind, name.to_owned()));
    assert_eq!(names(&decoded(&request)), want);
    let recent = RecentMetadata::new(100);
    let message = request.message();
    let again = || decoded_by(&message, Version::V2, &limits(), Some(&recent)).unwrap();
    assert_eq!(names(&again()), want);
    assert!(names(&again()).is_empty());
}

#[test]
fn type_and_unit_become_labels_where_switched_on() {
    let limits = PushLimits {
        type_and_unit_labels: true,
        ..limits()
    };
    let mut request = Request::new();
    let tail = [sample(1.0, NOW_MS, 0), request.meta(1, "help", "s")].concat();
    let labels = [("__name__", "a"), ("__type__", "gauge"), ("job", "a")];
    request.series(&labels, &tail);
    let push = decoded_by(&request.message(), Version::V2, &limits, None).unwrap();
    let mut want = Vec::new();
    for (name, value) in [
        ("__name__", "a"),
        ("__type__", "counter"),
        ("__unit__", "s"),
        ("job", "a"),
    ] {
        write_label(&mut want, name.as_bytes(), value.as_bytes());
    }
    assert_eq!(push.batch.labels(0), want);
}

#[test]
fn references_to_a_large_symbol_are_refused_before_they_are_written_out() {
    let mut request = Request::new();
    let large = "x".repeat(100_000);
    let refs = request.refs(&[("a", &large)]).repeat(1000);
    request.raw(&refs, &sample(1.0, 1, 0));
    for message in [request.message(), [0x2a, 0x00].repeat(200_000)] {
        let outcome = decoded_by(&message, Version::V2, &limits(), None);
        assert!(matches!(outcome, Err(DecodeFault::TooLarge(_))));
    }
}

#[test]
fn a_message_of_the_other_version_is_an_error() {
    let mut request = Request::new();
    request.series(&[("__name__", "up")], &sample(1.0, NOW_MS, 0));
    let v1 = field(1, &field(2, &[]));
    for (message, version) in [(request.message(), Version::V1), (v1, Version::V2)] {
        let outcome = decoded_by(&message, version, &limits(), None);
        assert!(matches!(outcome, Err(DecodeFault::Malformed(_))));
    }
}

fn side(all: &[(i32, u32)], deltas: &[i64]) -> DeltaBuckets {
    let spans = all.iter().map(|&(offset, length)| Span { offset, length });
    DeltaBuckets {
        spans: spans.collect(),
        deltas: deltas.to_vec(),
    }
}

/// Buckets -2, -1, 0, 3 and 4 with 1 to 5 observations, and two of negative values.
fn exponential(schema: i32) -> IntegerHistogram {
    IntegerHistogram {
        schema,
        zero_count: 2,
        count: 20,
        positive: side(&[(-2, 3), (2, 2)], &[1, 1, 1, 1, 1]),
        negative: side(&[(1, 2)], &[1, 1]),
        ..IntegerHistogram::default()
    }
}

fn custom() -> IntegerHistogram {
    IntegerHistogram {
        schema: CUSTOM_BUCKETS,
        count: 6,
        positive: side(&[(0, 3)], &[1, 1, 1]),
        custom: [0.1, 0.5, 1.0].into(),
        ..IntegerHistogram::default()
    }
}

fn buckets(max: usize, reduce: bool) -> PushLimits {
    PushLimits {
        histogram_buckets_max: max,
        reduce_histograms: reduce,
        ..limits()
    }
}

#[test]
fn a_stale_histogram_is_nothing_but_stale() {
    let stale = Histogram::Integer(IntegerHistogram {
        sum: f64::from_bits(STALE_NAN_BITS),
        ..exponential(99)
    });
    let (kept, fault) = admit(stale, &buckets(1, false));
    assert!(kept.is_stale() && fault.is_none());
    assert!(kept.to_float().positive.counts.is_empty());
}

#[test]
fn histograms_get_a_coarser_resolution_where_they_must() {
    let spans = |offset, length| vec![Span { offset, length }];
    let (integer, float) = (exponential(10), exponential(10).to_float());
    for histogram in [Histogram::Integer(integer), Histogram::Float(float)] {
        let (kept, fault) = admit(histogram, &buckets(0, true));
        let kept = kept.to_float();
        assert_eq!((fault, kept.schema), (None, 8));
        assert_eq!(
            (kept.positive.spans, kept.positive.counts),
            (spans(0, 2), vec![6.0, 9.0])
        );
        assert_eq!(
            (kept.negative.spans, kept.negative.counts),
            (spans(1, 1), vec![3.0])
        );
    }
    let (kept, fault) = admit(Histogram::Integer(exponential(2)), &buckets(6, true));
    assert_eq!(
        (fault, kept.validate(), kept.to_float().schema),
        (None, Ok(()), 1)
    );
    assert_eq!(kept.to_float().positive.counts, [1.0, 5.0, 9.0]);
    let id = |histogram, max, reduce| {
        let (_, fault) = admit(Histogram::Integer(histogram), &buckets(max, reduce));
        fault.as_ref().map(HistogramFault::id)
    };
    let cases = [
        (
            exponential(53),
            0,
            true,
            Some("invalid-native-histogram-schema"),
        ),
        (exponential(2), 7, false, None),
        (
            exponential(2),
            6,
            false,
            Some("max-native-histogram-buckets"),
        ),
        (
            exponential(2),
            1,
            true,
            Some("not-reducible-native-histogram"),
        ),
        (
            custom(),
            2,
            true,
            Some("native-histogram-custom-buckets-not-reducible"),
        ),
        (custom(), 3, true, None),
    ];
    for (histogram, max, reduce, want) in cases {
        assert_eq!(id(histogram, max, reduce), want);
    }
}

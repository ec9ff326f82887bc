//! Tests of the remote write decoder: the specification's bytes, validation, bombs, and any sequence with and without
//! a known set.

use super::known::{KnownSeries, LabelLimits};
use super::remote_write::*;
use super::series::{SeriesHasher, TokenHasher, canonical_labels, write_label};

const NOW_MS: i64 = 1_600_000_000_000;
const SPEC_BODY: [u8; 57] = [
    0x0a, 0x2c, 0x0a, 0x0e, 0x0a, 0x08, 0x5f, 0x5f, 0x6e, 0x61, 0x6d, 0x65, 0x5f, 0x5f, 0x12, 0x02,
    0x75, 0x70, 0x0a, 0x08, 0x0a, 0x03, 0x6a, 0x6f, 0x62, 0x12, 0x01, 0x61, 0x12, 0x10, 0x09, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0xf0, 0x3f, 0x10, 0x80, 0x80, 0xba, 0xbb, 0xc8, 0x2e, 0x1a, 0x09,
    0x08, 0x02, 0x12, 0x02, 0x75, 0x70, 0x22, 0x01, 0x68,
];

type Labels<'a> = Vec<(&'a [u8], &'a [u8])>;

fn limits() -> PushLimits {
    PushLimits {
        labels: LabelLimits {
            label_names_max: 5,
            info_label_names_max: 8,
            name_bytes_max: 20,
            value_bytes_max: 40,
            utf8_names: false,
        },
        metadata_bytes_max: 10,
        future_grace_ms: 600_000,
        past_grace_ms: 0,
        histograms: true,
        histogram_buckets_max: 0,
        reduce_histograms: true,
        exemplars: false,
        type_and_unit_labels: false,
    }
}

struct Decoder {
    hasher: SeriesHasher,
    known: KnownSeries,
    limits: PushLimits,
    bytes_max: usize,
}

impl Decoder {
    fn new(limits: PushLimits, entries_max: usize) -> Self {
        Self {
            hasher: SeriesHasher::new(&[7; 32]),
            known: KnownSeries::new(entries_max),
            limits,
            bytes_max: 100 << 20,
        }
    }

    fn context(&self) -> Context<'_> {
        Context {
            tenant: "user-1",
            hasher: &self.hasher,
            known: &self.known,
            limits: &self.limits,
            recent_metadata: None,
            version: Version::V1,
            now_ms: NOW_MS,
            bytes_max: self.bytes_max,
        }
    }

    fn message(&self, message: &[u8]) -> Result<Push, DecodeFault> {
        decode_message(message.to_vec(), &self.context())
    }

    fn body(&self, body: &[u8]) -> Result<Push, DecodeFault> {
        decode(body, &self.context())
    }
}

fn field(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut n = payload.len();
    while n > 0x7f {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out.extend_from_slice(payload);
    out
}

fn label(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_label(&mut out, name, value);
    out
}

fn sample(value: f64, ts: i64) -> Vec<u8> {
    let mut out = vec![0x09];
    out.extend_from_slice(&value.to_le_bytes());
    out.push(0x10);
    let mut n = ts as u64;
    while n > 0x7f {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    field(2, &out)
}

fn series(labels: &[(&[u8], &[u8])], tail: &[u8]) -> Vec<u8> {
    let mut inner: Vec<u8> = labels.iter().flat_map(|(n, v)| label(n, v)).collect();
    inner.extend_from_slice(tail);
    field(1, &inner)
}

fn up(tail: &[u8]) -> Vec<u8> {
    series(&[(b"__name__", b"up")], tail)
}

fn ids(push: &Push) -> Vec<(&'static str, u64)> {
    push.rejections.iter().map(|r| (r.id, r.count)).collect()
}

fn labels_of(push: &Push, row: usize) -> Vec<(String, String)> {
    canonical_labels(push.batch.labels(row))
        .map(|(n, v)| {
            (
                String::from_utf8_lossy(n).into(),
                String::from_utf8_lossy(v).into(),
            )
        })
        .collect()
}

#[test]
fn the_specifications_example() {
    let mut body = vec![0x39, 0xe0];
    body.extend_from_slice(&SPEC_BODY);
    let decoder = Decoder::new(limits(), 100);
    for _ in 0..2 {
        let push = decoder.body(&body).unwrap();
        let batch = &push.batch;
        assert_eq!(batch.labels(0), &SPEC_BODY[2..28]);
        assert_eq!(
            (&batch.ts[..], &batch.values[..]),
            (&[NOW_MS][..], &[1.0][..])
        );
        assert_eq!(batch.sample_end, [1]);
        assert_eq!(batch.token, [4_177_082_754]);
        assert_eq!(batch.hash, [decoder.hasher.hash(&SPEC_BODY[2..28])]);
        let m = &batch.metadata[0];
        assert_eq!((m.kind, &*m.name, &*m.help, &*m.unit), (2, "up", "h", ""));
        assert!(push.rejections.is_empty());
        assert_eq!((push.samples_received, push.metadata_received), (1, 1));
    }
}

#[test]
fn truncated_at_every_byte_is_an_error_or_a_shorter_push() {
    let decoder = Decoder::new(limits(), 100);
    for cut in 0..SPEC_BODY.len() {
        let whole_fields = cut == 0 || cut == 46;
        assert_eq!(
            decoder.message(&SPEC_BODY[..cut]).is_ok(),
            whole_fields,
            "{cut}"
        );
    }
    let body = snap::raw::Encoder::new().compress_vec(&SPEC_BODY).unwrap();
    for cut in 0..body.len() {
        assert!(decoder.body(&body[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn empty_message_is_fine_only_when_the_body_is_empty() {
    let decoder = Decoder::new(limits(), 0);
    assert_eq!(decoder.message(&[]).unwrap().batch.ts.len(), 0);
    // A remote write 2.0 request: fields 4 and 5 only.
    assert!(matches!(
        decoder.message(&[0x22, 0x00, 0x2a, 0x00]),
        Err(DecodeFault::Malformed(_))
    ));
}

#[test]
fn declared_size_is_checked_before_allocation() {
    let decoder = Decoder::new(limits(), 0);
    let four_gib = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00, 0x00];
    assert!(matches!(
        decoder.body(&four_gib),
        Err(DecodeFault::TooLarge(_))
    ));
    // 99 MiB are within the limit, but seven bytes cannot hold them.
    let ninety_nine_mib = [0x80, 0x80, 0xc0, 0x31, 0x00, 0x00, 0x00];
    assert!(matches!(
        decoder.body(&ninety_nine_mib),
        Err(DecodeFault::Malformed(_))
    ));
    let past_32_bits = [0xff, 0xff, 0xff, 0xff, 0x7f, 0x00];
    assert!(decoder.body(&past_32_bits).is_err());
}

#[test]
fn columns_of_a_body_of_nothing_but_tiny_samples_are_bounded() {
    let mut decoder = Decoder::new(limits(), 0);
    decoder.bytes_max = 1 << 20;
    let body = up(&[0x12, 0x00].repeat(500_000));
    assert!(matches!(
        decoder.message(&body),
        Err(DecodeFault::TooLarge(_))
    ));
    let rows = [0x0a, 0x02, 0x12, 0x00].repeat(250_000);
    assert!(matches!(
        decoder.message(&rows),
        Err(DecodeFault::TooLarge(_))
    ));
    let metadata = [0x1a, 0x00].repeat(500_000);
    assert!(matches!(
        decoder.message(&metadata),
        Err(DecodeFault::TooLarge(_))
    ));
}

#[test]
fn label_bombs_are_refused_with_short_texts() {
    let decoder = Decoder::new(limits(), 0);
    let long = vec![b'x'; 10 << 20];
    let push = decoder
        .message(&series(
            &[(b"__name__", b"up"), (b"a", &long)],
            &sample(1.0, NOW_MS),
        ))
        .unwrap();
    assert_eq!(ids(&push), [("label-value-too-long", 1)]);
    assert!(push.rejections[0].first.len() < 1000);

    let mut tail: Vec<u8> = (0..1_000_000)
        .flat_map(|i| label(format!("l{i:07}").as_bytes(), b"v"))
        .collect();
    tail.extend(sample(1.0, NOW_MS));
    let push = decoder.message(&up(&tail)).unwrap();
    assert_eq!(ids(&push), [("max-label-names-per-series", 1)]);
    assert!(
        push.rejections[0]
            .first
            .contains("has 1000001 labels and the limit is 5")
    );
    assert!(push.rejections[0].first.len() < 1000);
    assert_eq!(push.batch.label_range.len(), 0);
}

#[test]
fn validation_table() {
    let name = (&b"__name__"[..], &b"up"[..]);
    let many: Vec<(&[u8], &[u8])> = [&b"a"[..], b"b", b"c", b"d", b"e"]
        .iter()
        .map(|n| (*n, &b"1"[..]))
        .collect();
    let with = |more: &[(&'static [u8], &'static [u8])]| [&[name], more].concat();
    let cases: Vec<(&str, Labels)> = vec![
        ("missing-metric-name", vec![(b"job", b"a")]),
        (
            "missing-metric-name",
            vec![(b"__name__", b""), (b"job", b"a")],
        ),
        ("missing-metric-name", vec![]),
        ("metric-name-invalid", vec![(b"__name__", b"a b")]),
        ("metric-name-invalid", vec![(b"__name__", b"1a")]),
        ("metric-name-invalid", vec![(b"__name__", b"\xff")]),
        ("max-label-names-per-series", [&[name][..], &many].concat()),
        (
            "max-label-names-per-info-series",
            [
                &[(&b"__name__"[..], &b"up_info"[..])][..],
                &many,
                &[(b"f", b"1"), (b"g", b"1"), (b"h", b"1")],
            ]
            .concat(),
        ),
        ("label-invalid", with(&[(b"a-b", b"1")])),
        ("label-invalid", with(&[(b"a:b", b"1")])),
        ("label-invalid", with(&[(b"0a", b"1")])),
        ("label-invalid", vec![(b"", b"1"), name]),
        (
            "label-name-too-long",
            with(&[(b"abcdefghijklmnopqrstu", b"1")]),
        ),
        ("label-value-invalid", with(&[(b"a", b"\xc3\x28")])),
        ("label-value-too-long", with(&[(b"a", &[b'v'; 41])])),
        ("label-value-too-long", vec![(b"__name__", &[b'v'; 41])]),
        ("duplicate-label-names", with(&[(b"a", b"1"), (b"a", b"1")])),
        (
            "duplicate-label-names",
            with(&[(b"a", b"1"), (b"b", b"1"), (b"a", b"2")]),
        ),
    ];
    for (id, labels) in cases {
        for entries_max in [0, 100] {
            let decoder = Decoder::new(limits(), entries_max);
            let two = [sample(1.0, NOW_MS), sample(2.0, NOW_MS + 1)].concat();
            let body = [
                up(&two),
                series(&labels, &two),
                series(&labels, &two),
                up(&two),
            ]
            .concat();
            for _ in 0..2 {
                let push = decoder.message(&body).unwrap();
                assert_eq!(ids(&push), [(id, 4)], "{labels:?}");
                assert_eq!(push.batch.sample_end, [2, 4]);
                assert_eq!(push.batch.values, [1.0, 2.0, 1.0, 2.0]);
                assert_eq!(push.samples_received, 8);
            }
        }
    }
}

#[test]
fn accepted_labels() {
    let mut utf8 = limits();
    utf8.labels.utf8_names = true;
    let cases: Vec<(PushLimits, Labels, &str)> = vec![
        (
            limits(),
            vec![(b"job", b"a"), (b"__name__", b"up")],
            r#"[("__name__", "up"), ("job", "a")]"#,
        ),
        (
            limits(),
            vec![(b"__name__", b"a:b_1"), (b"x", b"")],
            r#"[("__name__", "a:b_1")]"#,
        ),
        (
            limits(),
            vec![(b"__name__", b"up"), (b"a", b""), (b"a", b"1")],
            r#"[("__name__", "up"), ("a", "1")]"#,
        ),
        (
            limits(),
            vec![(b"__name__", b"up"), (b"a", "é\0".as_bytes())],
            r#"[("__name__", "up"), ("a", "é\0")]"#,
        ),
        (
            utf8,
            vec![(b"__name__", "é.1".as_bytes()), (b"a-b", b"1")],
            r#"[("__name__", "é.1"), ("a-b", "1")]"#,
        ),
    ];
    for (limits, labels, expected) in cases {
        let decoder = Decoder::new(limits, 100);
        for _ in 0..2 {
            let push = decoder.message(&series(&labels, &sample(1.0, 5))).unwrap();
            assert_eq!(ids(&push), []);
            assert_eq!(format!("{:?}", labels_of(&push, 0)), expected);
            let token = TokenHasher::new("user-1").token(canonical_labels(push.batch.labels(0)));
            assert_eq!(push.batch.token, [token]);
            assert_eq!(push.batch.hash, [decoder.hasher.hash(push.batch.labels(0))]);
        }
    }
}

#[test]
fn labels_after_samples_and_odd_encodings_give_the_canonical_set() {
    let decoder = Decoder::new(limits(), 100);
    let plain = decoder
        .message(&series(
            &[(b"__name__", b"up"), (b"job", b"a")],
            &sample(1.0, 5),
        ))
        .unwrap();
    let name = label(b"__name__", b"up");
    let odd: Vec<Vec<u8>> = vec![
        [label(b"job", b"a"), sample(1.0, 5), name.clone()].concat(),
        [sample(1.0, 5), name.clone(), label(b"job", b"a")].concat(),
        // Value before name, a length of two bytes, an unknown field, a name given twice.
        [
            name.clone(),
            field(1, &[field(2, b"a"), field(1, b"job")].concat()),
            sample(1.0, 5),
        ]
        .concat(),
        [
            name.clone(),
            field(1, b"\x0a\x83\x00job\x12\x01a"),
            sample(1.0, 5),
        ]
        .concat(),
        [
            name.clone(),
            field(1, b"\x0a\x03job\x12\x01a\x18\x07"),
            sample(1.0, 5),
        ]
        .concat(),
        [
            name.clone(),
            field(1, b"\x0a\x01x\x0a\x03job\x12\x01a"),
            sample(1.0, 5),
        ]
        .concat(),
        [
            vec![0x8a, 0x00],
            name[1..].to_vec(),
            label(b"job", b"a"),
            sample(1.0, 5),
        ]
        .concat(),
    ];
    for inner in odd {
        for _ in 0..2 {
            let push = decoder.message(&field(1, &inner)).unwrap();
            assert_eq!(push.batch.labels(0), plain.batch.labels(0), "{inner:02x?}");
            assert_eq!(push.batch.hash, plain.batch.hash);
            assert_eq!(push.batch.token, plain.batch.token);
        }
    }
}

#[test]
fn samples_out_of_time_are_left_out_one_by_one() {
    let mut bounds = limits();
    bounds.past_grace_ms = 1000;
    let decoder = Decoder::new(bounds, 100);
    let times = [
        NOW_MS - 1001,
        NOW_MS - 1000,
        NOW_MS + 600_000,
        NOW_MS + 600_001,
    ];
    let tail: Vec<u8> = times.iter().flat_map(|&t| sample(t as f64, t)).collect();
    let late = series(&[(b"__name__", b"late")], &sample(0.0, NOW_MS + 700_000));
    let push = decoder.message(&[late, up(&tail)].concat()).unwrap();
    assert_eq!(
        ids(&push),
        [("too-far-in-future", 2), ("too-far-in-past", 1)]
    );
    assert_eq!(push.batch.ts, [NOW_MS - 1000, NOW_MS + 600_000]);
    assert_eq!(
        push.batch.values,
        [(NOW_MS - 1000) as f64, (NOW_MS + 600_000) as f64]
    );
    assert_eq!(push.batch.sample_end, [2]);
    assert_eq!(labels_of(&push, 0), [("__name__".into(), "up".into())]);
    assert!(
        push.rejections[0].first.contains("late{}"),
        "{}",
        push.rejections[0].first
    );
}

#[test]
fn histograms_and_exemplars_of_a_tenant_without_are_left_out() {
    let decoder = Decoder::new(
        PushLimits {
            histograms: false,
            ..limits()
        },
        100,
    );
    let both = [
        sample(1.0, NOW_MS),
        field(4, &[]),
        field(4, &[]),
        field(3, &[]),
    ]
    .concat();
    let body = [
        up(&[]),
        up(&both),
        series(&[(b"__name__", b"h")], &field(4, &[])),
    ]
    .concat();
    let push = decoder.message(&body).unwrap();
    assert!(push.rejections.is_empty());
    assert_eq!((push.batch.rows(), push.batch.ts.len()), (1, 1));
    assert_eq!((push.samples_received, push.exemplars_dropped), (1, 1));
    assert_eq!(push.histograms_dropped, 3);
}

#[test]
fn metadata_rules() {
    let decoder = Decoder::new(limits(), 100);
    let entry = |name: &str, help: &str, unit: &str| {
        field(
            3,
            &[
                field(2, name.as_bytes()),
                field(4, help.as_bytes()),
                field(5, unit.as_bytes()),
            ]
            .concat(),
        )
    };
    let body = [
        entry("", "h", ""),
        entry("a_name_of_11", "h", ""),
        entry("up", "h", "a_unit_of_11"),
        entry("up", "123456789é", "s"),
        field(3, &[0x08, 0x63]),
    ]
    .concat();
    let push = decoder.message(&body).unwrap();
    let expected = [
        ("metadata-missing-metric-name", 2),
        ("metric-name-too-long", 1),
        ("unit-too-long", 1),
    ];
    assert_eq!(ids(&push), expected);
    assert_eq!(push.batch.metadata.len(), 1);
    assert_eq!(
        (&*push.batch.metadata[0].help, &*push.batch.metadata[0].unit),
        ("123456789", "s")
    );
}

#[test]
fn any_sequence_with_and_without_a_known_set_gives_the_same() {
    let mut state = 1u64;
    let mut below = |n: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % n
    };
    let cached = Decoder::new(limits(), 40);
    for _ in 0..500 {
        let mut body = Vec::new();
        for _ in 0..below(6) {
            let number = below(60).to_string();
            let mut labels: Vec<(&[u8], &[u8])> =
                vec![(b"__name__", b"up"), (b"n", number.as_bytes())];
            match below(8) {
                0 => labels.swap(0, 1),
                1 => labels.push((b"z", b"")),
                2 => labels.push((b"n", b"1")),
                3 => drop(labels.remove(0)),
                _ => {}
            }
            body.extend(series(
                &labels,
                &sample(below(9) as f64, NOW_MS + below(900_000) as i64),
            ));
        }
        let plain = Decoder::new(limits(), 0).message(&body).unwrap();
        let push = cached.message(&body).unwrap();
        assert_eq!(push.rejections, plain.rejections);
        assert_eq!(format!("{:?}", push.batch), format!("{:?}", plain.batch));
    }
}

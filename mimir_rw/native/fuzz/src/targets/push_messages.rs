//! Remote write messages to mutate: of both versions, with all that they can hold (remote-write.md 2 to 4).

use _native::codec::varint::put_uvarint;
use _native::wire::series::write_label;

pub const NOW_MS: i64 = 1_600_000_000_000;
const STALE: u64 = 0x7ff0_0000_0000_0002;

fn tagged(number: u64, wire: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_uvarint(&mut out, number << 3 | wire);
    out
}

fn field(number: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = tagged(number, 2);
    put_uvarint(&mut out, payload.len() as u64);
    out.extend_from_slice(payload);
    out
}

fn number(field: u64, value: u64) -> Vec<u8> {
    let mut out = tagged(field, 0);
    put_uvarint(&mut out, value);
    out
}

fn double(field: u64, value: f64) -> Vec<u8> {
    let mut out = tagged(field, 1);
    out.extend(value.to_le_bytes());
    out
}

fn time(field: u64, before_now_ms: i64) -> Vec<u8> {
    number(field, (NOW_MS - before_now_ms) as u64)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn packed(field_number: u64, values: &[i64]) -> Vec<u8> {
    let mut inner = Vec::new();
    values
        .iter()
        .for_each(|&value| put_uvarint(&mut inner, zigzag(value)));
    field(field_number, &inner)
}

fn doubles(field_number: u64, values: &[f64]) -> Vec<u8> {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    field(field_number, &bytes)
}

fn span(field_number: u64, offset: i64, length: u64) -> Vec<u8> {
    let parts = [number(1, zigzag(offset)), number(2, length)];
    field(field_number, &parts.concat())
}

/// Valid histograms of every kind, by how long ago they were taken.
fn histograms() -> Vec<Vec<u8>> {
    let head = |schema: i64, sum: f64| [double(3, sum), number(4, zigzag(schema))].concat();
    let zero = [double(5, 1e-3), number(6, 2), time(15, 50)].concat();
    let negative = [span(8, 1, 2), packed(9, &[1, 1])].concat();
    let positive = [span(11, -1, 2), span(11, 3, 1), packed(12, &[1, 2, -1])].concat();
    let float_sides = [
        span(8, 0, 1),
        doubles(10, &[0.5]),
        span(11, 0, 2),
        doubles(13, &[1.0, 2.5]),
    ];
    let wide = [span(11, -8, 4), span(11, 1, 6), packed(12, &[1; 10])].concat();
    let custom = [
        span(11, 0, 3),
        packed(12, &[4, -1, -1]),
        doubles(16, &[0.5, 1.0]),
    ];
    let started = [time(15, 30), time(17, 9_000)].concat();
    [
        [number(1, 11), head(3, 7.5), zero, negative, positive],
        [
            [double(2, 6.0), number(14, 3)].concat(),
            head(0, -1.5),
            [double(5, 0.1), double(7, 2.0)].concat(),
            float_sides.concat(),
            time(15, 10),
        ],
        // More buckets than the limit, and finer than what is stored: both are made coarser.
        [
            number(1, 55),
            head(2, 9.0),
            wide.clone(),
            time(15, 20),
            Vec::new(),
        ],
        [number(1, 55), head(20, 9.0), wide, started, number(14, 1)],
        [
            number(1, 9),
            head(-53, 4.0),
            custom.concat(),
            time(15, 40),
            number(14, 2),
        ],
        [
            number(1, 0),
            double(3, f64::from_bits(STALE)),
            time(15, 0),
            Vec::new(),
            Vec::new(),
        ],
    ]
    .map(|parts| parts.concat())
    .to_vec()
}

fn sample(value: f64, before_now_ms: i64, start: Option<i64>) -> Vec<u8> {
    let start = start.map_or(Vec::new(), |start| time(3, start));
    field(
        2,
        &[double(1, value), time(2, before_now_ms), start].concat(),
    )
}

fn exemplar(labels: &[u8], before_now_ms: i64) -> Vec<u8> {
    [labels, &double(2, 0.25), &time(3, before_now_ms)].concat()
}

fn canonical(labels: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    labels
        .iter()
        .for_each(|(n, v)| write_label(&mut out, n.as_bytes(), v.as_bytes()));
    out
}

fn series(labels: &[(&str, &str)], tail: &[u8]) -> Vec<u8> {
    field(1, &[&canonical(labels), tail].concat())
}

pub fn messages_v1() -> Vec<Vec<u8>> {
    let samples = [sample(1.0, 0, None), sample(2.0, 0, None)].concat();
    let early = [sample(1.0, NOW_MS - 5, None), sample(1.0, 0, None)].concat();
    let up = series(&[("__name__", "up"), ("job", "a")], &samples);
    let odd = series(
        &[("job", "a"), ("__name__", "up_info"), ("z", "")],
        &samples,
    );
    let bad = series(&[("__name__", "up"), ("a", "1"), ("a", "2")], &early);
    let metadata = field(3, &[number(1, 2), field(2, b"up"), field(4, b"h")].concat());
    let exemplars: Vec<u8> = [("trace_id", "t"), ("ähnlich", "日本"), ("a", "")]
        .iter()
        .zip([0, 9_000, 1])
        .flat_map(|(label, before)| field(3, &exemplar(&canonical(&[*label]), before)))
        .collect();
    let all: Vec<u8> = histograms().iter().flat_map(|h| field(4, h)).collect();
    let latency = [("__name__", "latency"), ("job", "a")];
    let native = series(&latency, &[all, exemplars.clone()].concat());
    let each = histograms().into_iter().enumerate().map(|(i, histogram)| {
        let value = i.to_string();
        let labels = [("__name__", "latency"), ("kind", value.as_str())];
        series(&labels, &[field(4, &histogram), exemplars.clone()].concat())
    });
    let each = each.collect::<Vec<_>>().concat();
    let mixed = series(
        &latency,
        &[samples.clone(), exemplars, field(4, &[])].concat(),
    );
    vec![
        [up.clone(), metadata.clone()].concat(),
        [up.clone(), odd.clone(), bad.clone()].concat(),
        [mixed, odd, up.clone(), metadata].concat(),
        [bad, up.repeat(20)].concat(),
        native.clone(),
        [up, each, native].concat(),
    ]
}

const SYMBOLS: [&str; 14] = [
    "",
    "__name__",
    "up",
    "job",
    "a",
    "latency_seconds_bucket",
    "help",
    "seconds",
    "trace_id",
    "ähnlich",
    "日本",
    "kind",
    "b",
    "__type__",
];

fn refs(field_number: u64, refs: &[u64]) -> Vec<u8> {
    let mut inner = Vec::new();
    refs.iter()
        .for_each(|&number| put_uvarint(&mut inner, number));
    field(field_number, &inner)
}

fn symbols() -> Vec<u8> {
    let fields = SYMBOLS.iter().flat_map(|text| field(4, text.as_bytes()));
    fields.collect()
}

fn series_v2(labels: &[u64], parts: &[&[u8]]) -> Vec<u8> {
    field(5, &[refs(1, labels), parts.concat()].concat())
}

pub fn messages_v2() -> Vec<Vec<u8>> {
    let gauge = field(5, &[number(1, 2), number(3, 6)].concat());
    let histogram = field(5, &[number(1, 3), number(3, 6), number(4, 7)].concat());
    let samples = [sample(1.0, 20, Some(9_000)), sample(2.0, 10, None)].concat();
    let ended = sample(3.0, 0, Some(-1));
    let created = time(6, 60_000);
    let exemplars = [&[8, 4][..], &[10, 10, 9, 8], &[]]
        .iter()
        .map(|labels| field(4, &exemplar(&refs(1, labels), 5)))
        .collect::<Vec<_>>()
        .concat();
    let up = series_v2(&[1, 2, 3, 4], &[&samples, &gauge]);
    let again = series_v2(&[1, 2, 3, 4], &[&ended, &created, &gauge]);
    let unsorted = series_v2(&[3, 4, 1, 5, 11, 12], &[&samples, &exemplars, &histogram]);
    let typed = series_v2(&[1, 2, 13, 4], &[&samples, &gauge]);
    let bad = [&[1, 2, 3][..], &[1, 99], &[1, 2, 3, 4, 3, 12], &[3, 4]].map(|labels| {
        series_v2(
            labels,
            &[&samples, &exemplars, &field(3, &histograms()[0]), &gauge],
        )
    });
    let empty = [
        series_v2(&[1, 2], &[&gauge]),
        series_v2(&[1, 2], &[&exemplars]),
    ];
    let all: Vec<u8> = histograms().iter().flat_map(|h| field(3, h)).collect();
    let native = series_v2(&[1, 5, 3, 4], &[&all, &exemplars, &created, &histogram]);
    let each = histograms().into_iter().zip([2, 4, 6, 7, 10, 12]);
    let each = each.flat_map(|(histogram_message, value)| {
        let parts: [&[u8]; 3] = [&field(3, &histogram_message), &exemplars, &histogram];
        series_v2(&[1, 5, 11, value], &parts)
    });
    let each = each.collect::<Vec<u8>>();
    let with = |series: &[&[u8]]| [&symbols()[..], &series.concat()].concat();
    vec![
        with(&[&up, &again]),
        with(&[&up, &unsorted, &typed]),
        with(&[&bad.concat(), &up, &empty.concat(), &again]),
        with(&[&native]),
        with(&[&each, &native, &up]),
        with(&[&up.repeat(20), &each]),
        // Symbols behind what refers to them.
        [each, symbols()].concat(),
    ]
}

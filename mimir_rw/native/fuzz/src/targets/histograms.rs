//! Histograms between processes. What is accepted encodes back to the same, and every function of one takes it.

use std::sync::Arc;

use _native::histogram::column_codec::{decode, encode};
use _native::histogram::moments::Moment;
use _native::histogram::trim::Keep;
use _native::histogram::{Buckets, CUSTOM_BUCKETS, FloatHistogram, HistogramColumn, Span};

pub fn target(data: &[u8]) {
    let Ok(column) = decode(data) else {
        return;
    };
    assert!(column.items.len() <= data.len());
    let encoded = encode(&column);
    let again = decode(&encoded).expect("own bytes");
    assert_eq!(encode(&again), encoded);
    for histogram in column.items.iter().take(8) {
        exercise(histogram);
    }
}

fn exercise(histogram: &FloatHistogram) {
    for q in [0.0, 0.3, 0.5, 0.99, 1.0] {
        histogram.quantile(q);
    }
    histogram.fraction(-1.5, 3.0);
    Moment::Stddev.of(histogram);
    assert!(histogram.to_text().starts_with("{count:"));
    for keep in [Keep::Below, Keep::Above] {
        histogram.trimmed(keep, 0.7);
    }
    let back = histogram.walk().rev().count();
    assert_eq!(histogram.walk().count(), back);
}

pub fn seeds() -> Vec<Vec<u8>> {
    let side = |offset: i32, counts: &[f64]| Buckets {
        spans: vec![Span {
            offset,
            length: counts.len() as u32,
        }],
        counts: counts.to_vec(),
    };
    let exponential = FloatHistogram {
        schema: 3,
        zero_threshold: 0.01,
        zero_count: 2.0,
        count: 17.0,
        sum: 12.5,
        positive: side(-3, &[1.0, 0.0, 4.0]),
        negative: side(2, &[7.0, 3.0]),
        ..FloatHistogram::default()
    };
    let custom = FloatHistogram {
        schema: CUSTOM_BUCKETS,
        count: 6.0,
        sum: f64::NAN,
        positive: side(0, &[1.0, 5.0]),
        custom: [0.5, 1.0].into(),
        ..FloatHistogram::default()
    };
    let column = |items: &[&FloatHistogram]| {
        let items = items.iter().map(|&item| Arc::new(item.clone())).collect();
        encode(&HistogramColumn { items })
    };
    vec![
        column(&[]),
        column(&[&exponential]),
        column(&[&custom, &exponential, &custom]),
    ]
}

//! `HistogramColumn` between processes.
//!
//! ```text
//! version u8 (1)
//! uvarint count of bound lists; per list: uvarint count, that many f64 LE
//! uvarint count of histograms; per histogram:
//!   u8 hint; varint schema; f64 LE zero threshold, zero count, count, sum
//!   uvarint number of the bound list it has, 0 for none
//!   positive and negative side: uvarint count of spans, per span varint offset and uvarint length; f64 LE per bucket
//! ```
//!
//! What is decoded takes at most a small multiple of the bytes that it came in.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Buckets, CUSTOM_BUCKETS, FloatHistogram, HistogramColumn, ResetHint, Span};
use crate::codec::Damaged;
use crate::codec::varint::{Cursor, put_uvarint, put_varint};

const VERSION: u8 = 1;
const SCHEMAS: std::ops::RangeInclusive<i64> = -4..=8;

pub fn encode(column: &HistogramColumn) -> Vec<u8> {
    let mut numbers: HashMap<*const f64, u64> = HashMap::new();
    let mut lists: Vec<&[f64]> = Vec::new();
    let mut body = Vec::new();
    put_uvarint(&mut body, column.items.len() as u64);
    for h in &column.items {
        let list = match h.custom.is_empty() {
            true => 0,
            false => *numbers.entry(h.custom.as_ptr()).or_insert_with(|| {
                lists.push(&h.custom);
                lists.len() as u64
            }),
        };
        body.push(h.hint as u8);
        put_varint(&mut body, i64::from(h.schema));
        put_floats(&mut body, &[h.zero_threshold, h.zero_count, h.count, h.sum]);
        put_uvarint(&mut body, list);
        for side in [&h.positive, &h.negative] {
            put_uvarint(&mut body, side.spans.len() as u64);
            for span in &side.spans {
                put_varint(&mut body, i64::from(span.offset));
                put_uvarint(&mut body, u64::from(span.length));
            }
            put_floats(&mut body, &side.counts);
        }
    }
    let mut out = vec![VERSION];
    put_uvarint(&mut out, lists.len() as u64);
    for list in lists {
        put_uvarint(&mut out, list.len() as u64);
        put_floats(&mut out, list);
    }
    out.append(&mut body);
    out
}

fn put_floats(out: &mut Vec<u8>, values: &[f64]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

pub fn decode(bytes: &[u8]) -> Result<HistogramColumn, Damaged> {
    let mut cursor = Cursor::new(bytes);
    if cursor.u8()? != VERSION {
        return Err(Damaged("version of histograms"));
    }
    let mut lists: Vec<Arc<[f64]>> = Vec::new();
    for _ in 0..cursor.uvarint()? {
        let count = cursor.uvarint()?;
        lists.push(floats(&mut cursor, count)?.into());
    }
    let mut items = Vec::new();
    for _ in 0..cursor.uvarint()? {
        items.push(Arc::new(histogram(&mut cursor, &lists)?));
    }
    match cursor.is_empty() {
        true => Ok(HistogramColumn { items }),
        false => Err(Damaged("bytes after histograms")),
    }
}

fn floats(cursor: &mut Cursor<'_>, count: u64) -> Result<Vec<f64>, Damaged> {
    let size = usize::try_from(count).ok().and_then(|n| n.checked_mul(8));
    let bytes = cursor.bytes(size.ok_or(Damaged("count of numbers"))?)?;
    let (values, _) = bytes.as_chunks::<8>();
    Ok(values.iter().map(|&b| f64::from_le_bytes(b)).collect())
}

fn histogram(cursor: &mut Cursor<'_>, lists: &[Arc<[f64]>]) -> Result<FloatHistogram, Damaged> {
    let hint = ResetHint::from_number(u64::from(cursor.u8()?)).ok_or(Damaged("reset hint"))?;
    let schema = cursor.varint()?;
    if schema != i64::from(CUSTOM_BUCKETS) && !SCHEMAS.contains(&schema) {
        return Err(Damaged("schema of a histogram"));
    }
    let numbers = floats(cursor, 4)?;
    let custom = match cursor.uvarint()? {
        0 => Arc::default(),
        number => usize::try_from(number - 1)
            .ok()
            .and_then(|at| lists.get(at).cloned())
            .ok_or(Damaged("bounds of a histogram"))?,
    };
    Ok(FloatHistogram {
        hint,
        schema: schema as i32,
        zero_threshold: numbers[0],
        zero_count: numbers[1],
        count: numbers[2],
        sum: numbers[3],
        positive: side(cursor)?,
        negative: side(cursor)?,
        custom,
    })
}

fn side(cursor: &mut Cursor<'_>) -> Result<Buckets, Damaged> {
    let mut spans = Vec::new();
    let mut buckets = 0u64;
    for _ in 0..cursor.uvarint()? {
        let offset = i32::try_from(cursor.varint()?).map_err(|_| Damaged("offset of a span"))?;
        let length = u32::try_from(cursor.uvarint()?).map_err(|_| Damaged("length of a span"))?;
        if offset < 0 && !spans.is_empty() {
            return Err(Damaged("spans that overlap"));
        }
        buckets += u64::from(length);
        spans.push(Span { offset, length });
    }
    Ok(Buckets {
        counts: floats(cursor, buckets)?,
        spans,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column() -> HistogramColumn {
        let span = |offset, length| Span { offset, length };
        let exponential = FloatHistogram {
            hint: ResetHint::Gauge,
            schema: -4,
            zero_threshold: 0.5,
            zero_count: 1.0,
            count: 7.0,
            sum: f64::INFINITY,
            positive: Buckets {
                spans: vec![span(-3, 1), span(2, 1)],
                counts: vec![1.0, 2.0],
            },
            negative: Buckets {
                spans: vec![span(0, 1)],
                counts: vec![3.0],
            },
            ..FloatHistogram::default()
        };
        let custom = FloatHistogram {
            schema: CUSTOM_BUCKETS,
            custom: [1.0, 2.0].into(),
            ..FloatHistogram::default()
        };
        let items = [exponential, custom.clone(), custom];
        HistogramColumn {
            items: items.into_iter().map(Arc::new).collect(),
        }
    }

    #[test]
    fn round_trip() {
        let decoded = decode(&encode(&column())).expect("own bytes");
        assert_eq!(decoded.items, column().items);
        assert!(Arc::ptr_eq(
            &decoded.items[1].custom,
            &decoded.items[2].custom
        ));
        let none = decode(&encode(&HistogramColumn::default())).expect("own bytes");
        assert!(none.items.is_empty());
    }

    #[test]
    fn cut_or_changed_bytes_never_panic() {
        let bytes = encode(&column());
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err());
        }
        for at in 0..bytes.len() {
            for change in [1, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] ^= change;
                if let Ok(column) = decode(&bytes) {
                    assert!(column.items.len() <= bytes.len());
                }
            }
        }
    }
}

//! `HistogramColumn`: histograms that cells of a matrix, or samples, refer to by number.

use std::sync::Arc;

use numpy::PyReadonlyArray1;
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::column_codec;
use super::{Buckets, FloatHistogram, ResetHint, Span};
use crate::bytes::Bytes;
use crate::error::DecodeError;

type Side = (Vec<(i32, u32)>, Vec<f64>);
/// Hint, schema, zero threshold, zero count, count, sum, positive and negative side, custom bounds.
type Parts = (u8, i32, f64, f64, f64, f64, Side, Side, Vec<f64>);

/// Immutable; histograms are shared by the columns that are made of it.
#[pyclass(frozen, module = "mimir_rw._native")]
#[derive(Clone, Debug, Default)]
pub struct HistogramColumn {
    pub items: Vec<Arc<FloatHistogram>>,
}

fn side((spans, counts): Side) -> PyResult<Buckets> {
    let spans: Vec<Span> = spans
        .into_iter()
        .map(|(offset, length)| Span { offset, length })
        .collect();
    if spans.iter().skip(1).any(|span| span.offset < 0) {
        return Err(PyValueError::new_err("spans of a histogram overlap"));
    }
    let buckets: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
    match buckets == counts.len() as u64 {
        true => Ok(Buckets { spans, counts }),
        false => Err(PyValueError::new_err(
            "spans and buckets of a histogram do not agree",
        )),
    }
}

fn parts_of_side(side: &Buckets) -> Side {
    let spans = side.spans.iter().map(|span| (span.offset, span.length));
    (spans.collect(), side.counts.clone())
}

#[pymethods]
impl HistogramColumn {
    #[staticmethod]
    fn from_parts(parts: Vec<Parts>) -> PyResult<Self> {
        let item = |parts: Parts| -> PyResult<Arc<FloatHistogram>> {
            let (hint, schema, zero_threshold, zero_count, count, sum, positive, negative, custom) =
                parts;
            let hint = ResetHint::from_number(u64::from(hint))
                .ok_or_else(|| PyValueError::new_err("a histogram has an unknown reset hint"))?;
            Ok(Arc::new(FloatHistogram {
                hint,
                schema,
                zero_threshold,
                zero_count,
                count,
                sum,
                positive: side(positive)?,
                negative: side(negative)?,
                custom: custom.into(),
            }))
        };
        let items = parts.into_iter().map(item).collect::<PyResult<_>>()?;
        Ok(Self { items })
    }

    #[staticmethod]
    fn concat(columns: Vec<Bound<'_, HistogramColumn>>) -> Self {
        let items = columns.iter().flat_map(|column| column.get().items.iter());
        Self {
            items: items.cloned().collect(),
        }
    }

    fn __len__(&self) -> usize {
        self.items.len()
    }

    /// Estimate of the bytes held.
    #[getter]
    fn nbytes(&self) -> usize {
        self.items.iter().map(|item| item.byte_size()).sum()
    }

    fn take(&self, numbers: PyReadonlyArray1<'_, i64>) -> PyResult<Self> {
        let item = |&number: &i64| usize::try_from(number).ok().and_then(|n| self.items.get(n));
        let items: Option<Vec<_>> = numbers
            .as_array()
            .iter()
            .map(|n| item(n).cloned())
            .collect();
        items.map(|items| Self { items }).ok_or_else(no_item)
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| column_codec::encode(self)))
    }

    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: Bytes) -> PyResult<Self> {
        let decoded = py.detach(|| column_codec::decode(&data));
        decoded.map_err(|e| DecodeError::new_err(format!("cannot decode histograms: {e}")))
    }

    /// Histogram `number` and after it `times` more, each `increment` (the first of its column) further.
    fn progression(
        &self,
        number: usize,
        increment: &Self,
        times: usize,
        sign: f64,
    ) -> PyResult<Self> {
        let mut next = (**self.items.get(number).ok_or_else(no_item)?).clone();
        let step = increment.items.first().ok_or_else(no_item)?;
        let mut items = vec![Arc::new(next.clone())];
        for _ in 0..times {
            match sign < 0.0 {
                true => next.sub(step),
                false => next.add(step),
            }
            .map_err(|_| PyValueError::new_err("custom and exponential buckets do not add up"))?;
            items.push(Arc::new(next.clone()));
        }
        Ok(Self { items })
    }

    /// Whether `number` began anew since `previous`.
    fn is_reset(&self, number: usize, previous: &Self, previous_number: usize) -> PyResult<bool> {
        let previous = previous.items.get(previous_number).ok_or_else(no_item)?;
        Ok(self
            .items
            .get(number)
            .ok_or_else(no_item)?
            .is_reset_after(previous))
    }

    /// Each without empty buckets.
    fn compacted(&self) -> Self {
        let compact = |item: &Arc<FloatHistogram>| {
            let mut item = (**item).clone();
            item.compact();
            Arc::new(item)
        };
        Self {
            items: self.items.iter().map(compact).collect(),
        }
    }

    fn part(&self, number: usize) -> PyResult<Parts> {
        let h = self.items.get(number).ok_or_else(no_item)?;
        Ok((
            h.hint as u8,
            h.schema,
            h.zero_threshold,
            h.zero_count,
            h.count,
            h.sum,
            parts_of_side(&h.positive),
            parts_of_side(&h.negative),
            h.custom.to_vec(),
        ))
    }
}

fn no_item() -> PyErr {
    PyIndexError::new_err("the column has no such histogram")
}

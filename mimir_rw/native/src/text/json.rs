//! Label sets, vectors and matrices as JSON.

use crate::histogram::FloatHistogram;
use crate::histogram::operators::CellsIn;
use crate::labels::LabelFrame;
use crate::labels::frame::Column;
use crate::windows::SampleColumns;
use crate::windows::matrix::MatrixIn;

use super::histogram::HistogramWriter;
use super::number::{push_timestamp, push_value};
use super::string::push_label;

/// Output bytes of a point to reserve for: a time of ten digits and a value of some.
const POINT_BYTES: usize = 32;

/// The times start_ms, start_ms + step_ms, ...
#[derive(Clone, Copy)]
pub struct Steps {
    pub start_ms: i64,
    pub step_ms: i64,
}

/// `[{"metric":{...},"values":[[t,"v"],...],"histograms":[[t,{...}],...]},...]`
pub fn matrix(
    labels: &LabelFrame,
    steps: Steps,
    samples: &MatrixIn<'_>,
    histograms: Option<&CellsIn<'_>>,
    limit: usize,
) -> Vec<u8> {
    let times = StepTimes::new(steps, samples.cols);
    let sets = LabelSets::new(labels);
    let mut writer = HistogramWriter::new();
    let mut out = List::with_capacity(samples.values.len() * POINT_BYTES + labels.len() * 256);
    for row in 0..labels.len() {
        let (values, mask) = samples.row(row);
        let first = mask.iter().position(|&present| present);
        let cells = histograms.filter(|cells| cells.row(row).iter().any(|&number| number >= 0));
        if first.is_none() && cells.is_none() {
            continue;
        }
        if !out.item(limit) {
            break;
        }
        sets.push_series(&mut out.bytes, row);
        if let Some(first) = first {
            out.bytes.extend_from_slice(b",\"values\":[");
            for (step, (&value, &present)) in values.iter().zip(mask).enumerate().skip(first) {
                if present {
                    let begin = times.point(step);
                    out.bytes
                        .extend_from_slice(if step == first { &begin[1..] } else { begin });
                    push_value(&mut out.bytes, value);
                    out.bytes.extend_from_slice(b"\"]");
                }
            }
            out.bytes.push(b']');
        }
        if let Some(cells) = cells {
            push_cells(&mut out.bytes, &mut writer, &times, (cells, row));
        }
        out.bytes.push(b'}');
    }
    out.close()
}

/// `,"histograms":[[t,{...}],...]` of a row that has some.
fn push_cells(
    out: &mut Vec<u8>,
    writer: &mut HistogramWriter,
    times: &StepTimes,
    (cells, row): (&CellsIn<'_>, usize),
) {
    out.extend_from_slice(b",\"histograms\":");
    let opened_at = out.len();
    let mut last: Option<(i32, std::ops::Range<usize>)> = None;
    for (step, &number) in cells.row(row).iter().enumerate() {
        let Some(histogram) = cells.at(number) else {
            continue;
        };
        let begin = times.point(step);
        out.extend_from_slice(&begin[..begin.len() - 1]);
        let start = out.len();
        match last {
            Some((same, text)) if same == number => out.extend_from_within(text),
            _ => writer.push(out, histogram),
        }
        last = Some((number, start..out.len()));
        out.push(b']');
    }
    // The comma of the first point is where the list opens.
    out[opened_at] = b'[';
    out.push(b']');
}

/// How a point of each step begins: `,[1600000000,"`.
struct StepTimes {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl StepTimes {
    fn new(steps: Steps, count: usize) -> Self {
        let mut times = Self {
            bytes: Vec::with_capacity(count * 16),
            ends: Vec::with_capacity(count + 1),
        };
        times.ends.push(0);
        for step in 0..count as i64 {
            let offset = steps.step_ms.wrapping_mul(step);
            push_point_begin(&mut times.bytes, steps.start_ms.wrapping_add(offset));
            times.ends.push(times.bytes.len());
        }
        times
    }

    fn point(&self, step: usize) -> &[u8] {
        &self.bytes[self.ends[step]..self.ends[step + 1]]
    }
}

fn push_point_begin(out: &mut Vec<u8>, ms: i64) {
    out.extend_from_slice(b",[");
    push_timestamp(out, ms);
    out.extend_from_slice(b",\"");
}

/// The same of samples at their own times.
pub fn range_samples(labels: &LabelFrame, columns: &SampleColumns, limit: usize) -> Vec<u8> {
    let sets = LabelSets::new(labels);
    let mut writer = HistogramWriter::new();
    let mut out = List::with_capacity(labels.len() * 256);
    for row in 0..labels.len() {
        let (times, values) = columns.row(row);
        let (histogram_times, histograms) = match columns.histograms() {
            Some(samples) => samples.row(row),
            None => Default::default(),
        };
        if times.is_empty() && histogram_times.is_empty() {
            continue;
        }
        if !out.item(limit) {
            break;
        }
        sets.push_series(&mut out.bytes, row);
        if !times.is_empty() {
            let points = times.iter().zip(values);
            push_points(&mut out.bytes, "values", points, |out, &value| {
                out.push(b'"');
                push_value(out, value);
                out.push(b'"');
            });
        }
        if !histogram_times.is_empty() {
            let points = histogram_times.iter().zip(histograms);
            push_points(&mut out.bytes, "histograms", points, |out, histogram| {
                writer.push(out, histogram);
            });
        }
        out.bytes.push(b'}');
    }
    out.close()
}

/// `,"name":[[t,...],...]` of one point or more.
fn push_points<'a, T: 'a>(
    out: &mut Vec<u8>,
    name: &str,
    points: impl Iterator<Item = (&'a i64, &'a T)>,
    mut push: impl FnMut(&mut Vec<u8>, &T),
) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    let opened_at = out.len();
    for (&ms, item) in points {
        out.extend_from_slice(b",[");
        push_timestamp(out, ms);
        out.push(b',');
        push(out, item);
        out.push(b']');
    }
    // The comma of the first point is where the list opens.
    out[opened_at] = b'[';
    out.push(b']');
}

/// A sample of a vector.
pub enum Sample<'a> {
    Float(f64),
    Histogram(&'a FloatHistogram),
}

/// `[{"metric":{...},"value":[t,"v"]},{"metric":{...},"histogram":[t,{...}]},...]`: one sample or none per row.
pub fn vector<'a>(
    labels: &LabelFrame,
    ms: i64,
    samples: impl Iterator<Item = Option<Sample<'a>>>,
    limit: usize,
) -> Vec<u8> {
    let mut time = Vec::new();
    push_timestamp(&mut time, ms);
    let sets = LabelSets::new(labels);
    let mut writer = HistogramWriter::new();
    let mut out = List::with_capacity(labels.len() * 256);
    for (row, sample) in samples.enumerate() {
        let Some(sample) = sample else {
            continue;
        };
        if !out.item(limit) {
            break;
        }
        sets.push_series(&mut out.bytes, row);
        match sample {
            Sample::Float(value) => {
                out.bytes.extend_from_slice(b",\"value\":[");
                out.bytes.extend_from_slice(&time);
                out.bytes.extend_from_slice(b",\"");
                push_value(&mut out.bytes, value);
                out.bytes.extend_from_slice(b"\"]}");
            }
            Sample::Histogram(histogram) => {
                out.bytes.extend_from_slice(b",\"histogram\":[");
                out.bytes.extend_from_slice(&time);
                out.bytes.push(b',');
                writer.push(&mut out.bytes, histogram);
                out.bytes.extend_from_slice(b"]}");
            }
        }
    }
    out.close()
}

/// `[{"a":"b",...},...]`
pub fn label_sets(labels: &LabelFrame, limit: usize) -> Vec<u8> {
    let sets = LabelSets::new(labels);
    let mut out = List::with_capacity(labels.len() * 256);
    for row in 0..labels.len() {
        if !out.item(limit) {
            break;
        }
        sets.push(&mut out.bytes, row);
    }
    out.close()
}

/// `["a",...]` by an encoder of one item.
pub fn list<T>(items: impl Iterator<Item = T>, limit: usize, push: fn(&mut Vec<u8>, T)) -> Vec<u8> {
    let mut out = List::with_capacity(0);
    for item in items {
        if !out.item(limit) {
            break;
        }
        push(&mut out.bytes, item);
    }
    out.close()
}

/// Writes the label sets of a frame, names escaped once.
struct LabelSets<'a> {
    /// `,"name":` and the column.
    columns: Vec<(Vec<u8>, &'a Column)>,
}

impl<'a> LabelSets<'a> {
    fn new(labels: &'a LabelFrame) -> Self {
        let columns = labels.columns().iter().map(|column| {
            let mut begin = vec![b','];
            push_label(&mut begin, &column.name);
            begin.push(b':');
            (begin, column)
        });
        Self {
            columns: columns.collect(),
        }
    }

    fn push(&self, out: &mut Vec<u8>, row: usize) {
        let opened_at = out.len();
        for (begin, column) in &self.columns {
            if let Some(value) = column.value(row) {
                out.extend_from_slice(begin);
                push_label(out, value);
            }
        }
        // The comma of the first label is where the object opens.
        match out.get_mut(opened_at) {
            Some(comma) => *comma = b'{',
            None => out.push(b'{'),
        }
        out.push(b'}');
    }

    /// `{"metric":{...}`
    fn push_series(&self, out: &mut Vec<u8>, row: usize) {
        out.extend_from_slice(b"{\"metric\":");
        self.push(out, row);
    }
}

/// A JSON list under construction.
struct List {
    bytes: Vec<u8>,
    items: usize,
}

impl List {
    fn with_capacity(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity + 2);
        bytes.push(b'[');
        Self { bytes, items: 0 }
    }

    /// Begin an item; false when the limit (0: none) is reached.
    fn item(&mut self, limit: usize) -> bool {
        if limit != 0 && self.items == limit {
            return false;
        }
        if self.items > 0 {
            self.bytes.push(b',');
        }
        self.items += 1;
        true
    }

    fn close(mut self) -> Vec<u8> {
        self.bytes.push(b']');
        self.bytes
    }
}

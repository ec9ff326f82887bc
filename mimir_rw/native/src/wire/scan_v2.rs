//! First pass over a remote write 2.0 message (remote-write.md 3): label sets are written out as the canonical encoding
//! would have them, in the order sent; all else goes to columns as of a 1.0 message.
//!
//! A label whose value has been seen under the same name is copied from where it was written first, so that a label set
//! costs a copy a label.
//!
//! Bounds: the label sets written out have at most as many bytes as the body may have.

use std::ops::Range;

use super::columns::{Columns, varints, within};
use super::exemplar_message::{ExemplarFault, exemplar};
use super::metadata::SeriesMetadata;
use super::proto::{Malformed, Reader, Result as ProtoResult, Wire};
use super::remote_write::{Context, DecodeFault};
use super::series::{METRIC_NAME, canonical_labels, write_label};
use super::validate::{adjust_process, show_series};
use crate::batch::Exemplar;

const TYPE_LABEL: &[u8] = b"__type__";
const UNIT_LABEL: &[u8] = b"__unit__";
const TYPES: [&[u8]; 8] = [
    b"",
    b"counter",
    b"gauge",
    b"histogram",
    b"gaugehistogram",
    b"summary",
    b"info",
    b"stateset",
];

/// Where a symbol was first written out as the value of a label; `name` is the symbol of that label's name plus one.
#[derive(Clone, Copy, Default)]
struct Written {
    name: u32,
    start: u32,
    len: u32,
}

/// A label set in `labels`: its references, and where each label starts, then where the last ends.
#[derive(Default)]
struct LabelRow {
    pairs: Vec<[u32; 2]>,
    starts: Vec<u32>,
}

impl LabelRow {
    fn clear(&mut self) {
        self.pairs.clear();
        self.starts.clear();
    }

    fn bytes(&self, from: usize, to: usize) -> Range<usize> {
        self.starts[from] as usize..self.starts[to] as usize
    }
}

pub struct ScanV2<'a> {
    buf: &'a [u8],
    context: &'a Context<'a>,
    pub columns: Columns<'a>,
    symbols: Vec<(u32, u32)>,
    written: Vec<Written>,
    /// Label sets of the rows.
    pub labels: Vec<u8>,
    before: LabelRow,
    /// Memory for the next one.
    spare: LabelRow,
    refs: Vec<u32>,
    /// The last metadata of the metric that a symbol is the name of.
    metas: Vec<Meta>,
    pub metadata: Vec<SeriesMetadata<'a>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Meta {
    kind: u8,
    help: u32,
    unit: u32,
}

/// What is wrong with a series as a whole.
enum BadSeries {
    OddReferences(usize),
    NoSymbol(u32),
}

impl<'a> ScanV2<'a> {
    pub fn new(buf: &'a [u8], context: &'a Context<'a>) -> Self {
        Self {
            buf,
            context,
            columns: Columns::new(buf.len() / 40 + 1, context),
            symbols: Vec::new(),
            written: Vec::new(),
            labels: Vec::with_capacity((6 * buf.len()).min(context.bytes_max)),
            before: LabelRow::default(),
            spare: LabelRow::default(),
            refs: Vec::new(),
            metas: Vec::new(),
            metadata: Vec::new(),
        }
    }

    pub fn body(&mut self) -> Result<(), DecodeFault> {
        let symbols_max = (self.context.bytes_max / 16).max(1 << 16);
        let (mut reader, mut series) = (Reader::new(self.buf), Vec::new());
        while let Some((number, wire)) = reader.field()? {
            match (number, wire) {
                (4, Wire::Bytes) => {
                    let (start, end) = reader.bytes()?;
                    within(self.symbols.len(), "symbols", symbols_max)?;
                    self.symbols.push((start as u32, end as u32));
                }
                (5, Wire::Bytes) => {
                    let (start, end) = reader.bytes()?;
                    within(series.len(), "series", symbols_max)?;
                    series.push((start as u32, end as u32));
                }
                _ => reader.skip(number, wire)?,
            }
        }
        if series.is_empty() && self.symbols.is_empty() && !self.buf.is_empty() {
            return Err(Malformed("it holds neither symbols nor series").into());
        }
        self.written.resize(self.symbols.len(), Written::default());
        self.metas.resize(self.symbols.len(), Meta::default());
        for (start, end) in series {
            self.series(start as usize, end as usize)?;
        }
        Ok(())
    }

    fn symbol(&self, number: u32) -> Option<&'a [u8]> {
        let &(start, end) = self.symbols.get(number as usize)?;
        Some(&self.buf[start as usize..end as usize])
    }

    fn series(&mut self, start: usize, end: usize) -> Result<(), DecodeFault> {
        let buf = self.buf;
        let mut reader = Reader::within(buf, start, end);
        let mut refs = std::mem::take(&mut self.refs);
        refs.clear();
        let (mut meta, mut start_ts) = (Meta::default(), 0i64);
        while let Some((number, wire)) = reader.field()? {
            match (number, wire) {
                (1, Wire::Bytes) => read_references(&mut reader.nested()?, &mut refs)?,
                (1, Wire::Varint) => refs.push(symbol_number(reader.varint()?)),
                (2, Wire::Bytes) => {
                    let (from, to) = reader.bytes()?;
                    self.columns.sample(buf, from, to, true)?;
                }
                (3, Wire::Bytes) => {
                    let (from, to) = reader.bytes()?;
                    self.columns.histogram(buf, from, to, true)?;
                }
                (4, Wire::Bytes) => {
                    let mut nested = reader.nested()?;
                    if self.columns.wants_exemplar() {
                        let exemplar = self.exemplar(&mut nested)?;
                        self.columns.exemplar(exemplar)?;
                    }
                }
                (5, Wire::Bytes) => meta = read_meta(&mut reader.nested()?)?,
                (6, Wire::Varint) => start_ts = reader.varint()? as i64,
                _ => reader.skip(number, wire)?,
            }
        }
        self.columns.start_of_row(start_ts);
        let outcome = self.row(&refs, meta);
        self.refs = refs;
        outcome
    }

    fn row(&mut self, refs: &[u32], meta: Meta) -> Result<(), DecodeFault> {
        if let Err(bad) = self.check_references(refs, meta) {
            let symbols = self.symbols.len();
            self.skip_series("label-invalid", || match bad {
                BadSeries::OddReferences(refs) => {
                    format!(
                        "a series has {refs} references to symbols for its labels, an odd number"
                    )
                }
                BadSeries::NoSymbol(number) => {
                    format!("a series refers to symbol {number} and there are {symbols}")
                }
            });
            return Ok(());
        }
        let from = self.labels.len();
        self.write_labels(refs, meta)?;
        if self.columns.row_is_empty() {
            if self.columns.row_was_empty() {
                let labels = canonical_labels(&self.labels[from..]).collect::<Vec<_>>();
                let shown = show_series(labels.into_iter());
                self.skip_series("", || {
                    format!("series {shown} has no samples or histograms")
                });
            } else {
                self.columns.no_row();
            }
            return Ok(());
        }
        let hash = self.context.hasher.hash(&self.labels[from..]);
        let range = (from as u32, (self.labels.len() - from) as u32);
        self.columns.row(range, hash)?;
        self.metadata_of(refs, meta)
    }

    fn check_references(&self, refs: &[u32], meta: Meta) -> Result<(), BadSeries> {
        if !refs.len().is_multiple_of(2) {
            return Err(BadSeries::OddReferences(refs.len()));
        }
        let symbols = self.symbols.len() as u32;
        let texts = [meta.help, meta.unit]
            .into_iter()
            .filter(|&number| number > 0);
        let mut all = refs.iter().copied().chain(texts);
        match all.find(|&number| number >= symbols) {
            Some(number) => Err(BadSeries::NoSymbol(number)),
            None => Ok(()),
        }
    }

    /// What has been read of the series counts as refused.
    fn skip_series(&mut self, id: &'static str, text: impl FnOnce() -> String) {
        let count = self.columns.row_samples();
        self.columns.no_row();
        let row = self.columns.push.batch.label_range.len();
        self.columns.push.reject(row, id, count, text);
    }

    /// A label set, mostly copied: what it has in common with the row before in one piece, other labels from where they
    /// were written first.
    fn write_labels(&mut self, refs: &[u32], meta: Meta) -> Result<(), DecodeFault> {
        if self.context.limits.type_and_unit_labels {
            return self.write_labels_with_meta(refs, meta);
        }
        let pairs = refs.as_chunks::<2>().0;
        let before = std::mem::take(&mut self.before);
        let mut row = std::mem::take(&mut self.spare);
        row.clear();
        let mut at = 0;
        while at < pairs.len() {
            let rest = before.pairs.get(at..).unwrap_or_default();
            let same = rest
                .iter()
                .zip(&pairs[at..])
                .take_while(|(a, b)| a == b)
                .count();
            let start = self.labels.len() as u32;
            if same > 0 {
                let range = before.bytes(at, at + same);
                let moved = start.wrapping_sub(range.start as u32);
                let starts = before.starts[at..at + same].iter();
                row.starts
                    .extend(starts.map(|from| from.wrapping_add(moved)));
                self.check_room(range.len())?;
                self.labels.extend_from_within(range);
                at += same;
            } else {
                row.starts.push(start);
                self.write_label(pairs[at])?;
                at += 1;
            }
        }
        row.pairs.extend_from_slice(pairs);
        row.starts.push(self.labels.len() as u32);
        (self.before, self.spare) = (row, before);
        Ok(())
    }

    fn write_label(&mut self, pair: [u32; 2]) -> Result<(), DecodeFault> {
        let [name, value] = pair;
        let written = self.written[value as usize];
        if written.name == name + 1 {
            let range = written.start as usize..(written.start + written.len) as usize;
            self.check_room(range.len())?;
            self.labels.extend_from_within(range);
            return Ok(());
        }
        let (name_text, text) = self.texts(name, value);
        let start = self.labels.len();
        self.write(name_text, text)?;
        self.written[value as usize] = Written {
            name: name + 1,
            start: start as u32,
            len: (self.labels.len() - start) as u32,
        };
        Ok(())
    }

    /// What the metadata says replaces what was sent.
    fn write_labels_with_meta(&mut self, refs: &[u32], meta: Meta) -> Result<(), DecodeFault> {
        for &[name, value] in refs.as_chunks::<2>().0 {
            let (name, value) = self.texts(name, value);
            if name == TYPE_LABEL || name == UNIT_LABEL {
                continue;
            }
            self.write(name, value)?;
            if name == METRIC_NAME {
                let unit = self.symbol(meta.unit).unwrap_or_default();
                self.write_known(TYPE_LABEL, TYPES[usize::from(meta.kind)])?;
                self.write_known(UNIT_LABEL, unit)?;
            }
        }
        Ok(())
    }

    fn texts(&self, name: u32, value: u32) -> (&'a [u8], &'a [u8]) {
        let text = |number| self.symbol(number).unwrap_or_default();
        (text(name), text(value))
    }

    fn write_known(&mut self, name: &[u8], value: &[u8]) -> Result<(), DecodeFault> {
        match value.is_empty() {
            true => Ok(()),
            false => self.write(name, value),
        }
    }

    fn write(&mut self, name: &[u8], value: &[u8]) -> Result<(), DecodeFault> {
        self.check_room(name.len() + value.len())?;
        write_label(&mut self.labels, name, value);
        Ok(())
    }

    #[inline]
    fn check_room(&self, bytes: usize) -> Result<(), DecodeFault> {
        let max = self.context.bytes_max;
        match self.labels.len() + bytes <= max {
            true => Ok(()),
            false => Err(DecodeFault::TooLarge(format!(
                "the label sets of the write request have more than {max} bytes; {}",
                adjust_process("distributor.max-recv-msg-size")
            ))),
        }
    }

    fn exemplar(&self, reader: &mut Reader<'_>) -> ProtoResult<Result<Exemplar, ExemplarFault>> {
        let (mut refs, mut value, mut ts) = (Vec::new(), 0.0, 0);
        while let Some((number, wire)) = reader.field()? {
            match (number, wire) {
                (1, Wire::Varint | Wire::Bytes) => {
                    varints(reader, wire, |number| refs.push(symbol_number(number)))?;
                }
                (2, Wire::Fixed64) => value = reader.double()?,
                (3, Wire::Varint) => ts = reader.varint()? as i64,
                _ => reader.skip(number, wire)?,
            }
        }
        let (pairs, rest) = refs.as_chunks::<2>();
        let label = |pair: &[u32; 2]| Some((self.symbol(pair[0])?, self.symbol(pair[1])?));
        let labels: Option<Vec<_>> = pairs.iter().map(label).collect();
        Ok(match labels.filter(|_| rest.is_empty()) {
            Some(labels) => exemplar(labels, value, ts),
            None => Err(ExemplarFault::LabelsInvalid),
        })
    }

    /// Keep the metadata of a series, once for all series of a metric that have the same.
    fn metadata_of(&mut self, refs: &[u32], meta: Meta) -> Result<(), DecodeFault> {
        if meta == Meta::default() {
            return Ok(());
        }
        let mut pairs = refs.as_chunks::<2>().0.iter();
        let is_name = |pair: &&[u32; 2]| self.symbol(pair[0]) == Some(METRIC_NAME);
        let Some(&[_, metric]) = pairs.find(is_name) else {
            return Ok(());
        };
        let known = &mut self.metas[metric as usize];
        if *known == meta {
            return Ok(());
        }
        *known = meta;
        self.columns.check_metadata(self.metadata.len())?;
        let text = |number| self.symbol(number).unwrap_or_default();
        self.metadata.push(SeriesMetadata {
            kind: meta.kind,
            series: text(metric),
            help: text(meta.help),
            unit: text(meta.unit),
        });
        Ok(())
    }
}

/// Packed references; most have one byte or two.
fn read_references(reader: &mut Reader<'_>, refs: &mut Vec<u32>) -> ProtoResult<()> {
    let mut count = refs.len();
    refs.resize(count + reader.rest().len(), 0);
    while !reader.rest().is_empty() {
        refs[count] = match *reader.rest() {
            [low @ 0..0x80, ..] => {
                reader.advance(1);
                u32::from(low)
            }
            [low, high @ 0..0x80, ..] => {
                reader.advance(2);
                u32::from(low & 0x7f) | u32::from(high) << 7
            }
            _ => symbol_number(reader.varint()?),
        };
        count += 1;
    }
    refs.truncate(count);
    Ok(())
}

/// What does not fit is no symbol's number either.
fn symbol_number(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX).min(u32::MAX - 1)
}

fn read_meta(reader: &mut Reader<'_>) -> ProtoResult<Meta> {
    let mut meta = Meta::default();
    while let Some((number, wire)) = reader.field()? {
        match (number, wire) {
            (1, Wire::Varint) => meta.kind = u8::try_from(reader.varint()?).unwrap_or(0),
            (3, Wire::Varint) => meta.help = symbol_number(reader.varint()?),
            (4, Wire::Varint) => meta.unit = symbol_number(reader.varint()?),
            _ => reader.skip(number, wire)?,
        }
    }
    if usize::from(meta.kind) >= TYPES.len() {
        meta.kind = 0;
    }
    Ok(meta)
}

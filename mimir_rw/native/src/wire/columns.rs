//! Columns of a remote write body as they are read, row by row; what both versions of the message share.
//!
//! All numbers that an attacker could make large beside a small body are bounded here.

use std::sync::Arc;

use super::exemplar_message::ExemplarFault;
use super::histogram_message::{self, HistogramFault};
use super::proto::{Reader, Result as ProtoResult, Wire};
use super::remote_write::{Context, DecodeFault, Push, PushLimits};
use super::validate::adjust_process;
use crate::batch::Exemplar;

/// Rows, samples and metadata that any body may have, however small its bound.
const COUNT_FLOOR: usize = 1 << 16;

pub struct Columns<'a> {
    pub push: Push,
    /// Histograms that are not to be kept, by number and ascending, and why.
    pub histogram_faults: Vec<(u32, HistogramFault)>,
    /// Of samples and histograms.
    pub oldest_ms: i64,
    pub newest_ms: i64,
    pub exemplars_oldest_ms: i64,
    pub exemplars_newest_ms: i64,
    limits: &'a PushLimits,
    /// `Push::left_out` when the last row ended.
    left_out_before: u64,
    rows_max: usize,
    samples_max: usize,
    histograms_max: usize,
    exemplars_max: usize,
    metadata_max: usize,
}

impl<'a> Columns<'a> {
    /// rows: how many there may well be.
    pub fn new(rows: usize, context: &Context<'a>) -> Self {
        let mut push = Push::default();
        push.batch.label_range.reserve(rows);
        push.batch.hash.reserve(rows);
        push.batch.sample_end.reserve(rows);
        push.batch.ts.reserve(rows);
        push.batch.values.reserve(rows);
        let at_most = |bytes_each: usize| (context.bytes_max / bytes_each).max(COUNT_FLOOR);
        Self {
            push,
            histogram_faults: Vec::new(),
            oldest_ms: i64::MAX,
            newest_ms: i64::MIN,
            exemplars_oldest_ms: i64::MAX,
            exemplars_newest_ms: i64::MIN,
            limits: context.limits,
            left_out_before: 0,
            rows_max: at_most(36),
            samples_max: at_most(8),
            histograms_max: at_most(64),
            exemplars_max: at_most(32),
            metadata_max: at_most(128),
        }
    }

    pub fn check_metadata(&self, entries: usize) -> Result<(), DecodeFault> {
        within(entries, "metadata entries", self.metadata_max)
    }

    /// `starts`: field 3 is a start timestamp.
    #[inline]
    pub fn sample(
        &mut self,
        buf: &[u8],
        start: usize,
        end: usize,
        starts: bool,
    ) -> Result<(), DecodeFault> {
        within(self.push.batch.ts.len(), "samples", self.samples_max)?;
        let mut reader = Reader::within(buf, start, end);
        let (mut value, mut ts, mut start_ts) = (0u64, 0i64, 0i64);
        while let Some((number, wire)) = reader.field()? {
            match (number, wire) {
                (1, Wire::Fixed64) => value = reader.fixed64()?,
                (2, Wire::Varint) => ts = reader.varint()? as i64,
                (3, Wire::Varint) if starts => start_ts = reader.varint()? as i64,
                _ => reader.skip(number, wire)?,
            }
        }
        self.oldest_ms = self.oldest_ms.min(ts);
        self.newest_ms = self.newest_ms.max(ts);
        let batch = &mut self.push.batch;
        batch.ts.push(ts);
        batch.values.push(f64::from_bits(value));
        if start_ts != 0 && start_ts < ts {
            batch.start_ts.resize(batch.ts.len() - 1, 0);
            batch.start_ts.push(start_ts);
        } else if !batch.start_ts.is_empty() {
            batch.start_ts.push(0);
        }
        Ok(())
    }

    pub fn histogram(
        &mut self,
        buf: &[u8],
        start: usize,
        end: usize,
        starts: bool,
    ) -> Result<(), DecodeFault> {
        if !self.limits.histograms {
            self.push.histograms_dropped += 1;
            return Ok(());
        }
        let number = self.push.batch.histograms.len();
        within(number, "native histograms", self.histograms_max)?;
        let mut sample = histogram_message::read(buf, start, end)?;
        if !starts || sample.start_ts >= sample.ts {
            sample.start_ts = 0;
        }
        self.oldest_ms = self.oldest_ms.min(sample.ts);
        self.newest_ms = self.newest_ms.max(sample.ts);
        let (histogram, fault) = histogram_message::admit(sample.histogram, self.limits);
        if let Some(fault) = fault {
            self.histogram_faults.push((number as u32, fault));
        }
        self.push
            .batch
            .histograms
            .push(crate::batch::HistogramSample {
                ts: sample.ts,
                start_ts: sample.start_ts,
                histogram: Arc::new(histogram),
            });
        Ok(())
    }

    /// Count an exemplar; whether it is to be read.
    pub fn wants_exemplar(&mut self) -> bool {
        self.push.exemplars_received += 1;
        if !self.limits.exemplars {
            self.push.exemplars_dropped += 1;
        }
        self.limits.exemplars
    }

    pub fn exemplar(&mut self, read: Result<Exemplar, ExemplarFault>) -> Result<(), DecodeFault> {
        within(
            self.push.batch.exemplars.len(),
            "exemplars",
            self.exemplars_max,
        )?;
        match read {
            Err(fault) => self.push.refuse_exemplar(fault.id()),
            Ok(exemplar) => {
                self.exemplars_oldest_ms = self.exemplars_oldest_ms.min(exemplar.ts);
                self.exemplars_newest_ms = self.exemplars_newest_ms.max(exemplar.ts);
                self.push.batch.exemplars.push(Arc::new(exemplar));
            }
        }
        Ok(())
    }

    /// Give the samples and histograms since the last row that have no start time this one.
    pub fn start_of_row(&mut self, start_ts: i64) {
        let (samples, histograms) = self.open_row();
        let batch = &mut self.push.batch;
        if start_ts == 0 {
            return;
        }
        for i in samples..batch.ts.len() {
            let known = batch.start_ts.get(i).is_some_and(|&known| known != 0);
            if !known && start_ts < batch.ts[i] {
                batch.start_ts.resize(batch.ts.len(), 0);
                batch.start_ts[i] = start_ts;
            }
        }
        for sample in &mut batch.histograms[histograms..] {
            if sample.start_ts == 0 && start_ts < sample.ts {
                sample.start_ts = start_ts;
            }
        }
    }

    /// Where the samples and the histograms of the row begin that is being read.
    fn open_row(&self) -> (usize, usize) {
        let batch = &self.push.batch;
        let last = |ends: &[u32]| ends.last().map_or(0, |&end| end as usize);
        (last(&batch.sample_end), last(&batch.histogram_end))
    }

    /// How many samples and histograms the row has that is being read.
    pub fn row_samples(&self) -> u64 {
        let batch = &self.push.batch;
        let (samples, histograms) = self.open_row();
        (batch.ts.len() - samples + batch.histograms.len() - histograms) as u64
    }

    pub fn row_is_empty(&self) -> bool {
        let batch = &self.push.batch;
        let exemplars = batch.exemplar_end.last().map_or(0, |&end| end as usize);
        self.row_samples() == 0 && batch.exemplars.len() == exemplars
    }

    /// Nothing was sent for it, not even what is left out.
    pub fn row_was_empty(&self) -> bool {
        let push = &self.push;
        self.row_is_empty() && push.left_out() == self.left_out_before
    }

    /// End the row that is being read.
    pub fn row(&mut self, labels: (u32, u32), hash: u128) -> Result<(), DecodeFault> {
        let row = self.push.batch.label_range.len();
        within(row, "series", self.rows_max)?;
        self.push.samples_received += self.row_samples();
        self.left_out_before = self.push.left_out();
        let batch = &mut self.push.batch;
        batch.hash.push(hash);
        batch.label_range.push(labels);
        batch.sample_end.push(batch.ts.len() as u32);
        end_row(&mut batch.histogram_end, row, batch.histograms.len());
        end_row(&mut batch.exemplar_end, row, batch.exemplars.len());
        Ok(())
    }

    /// Drop what has been read of a row that is none.
    pub fn no_row(&mut self) {
        let (samples, histograms) = self.open_row();
        self.push.samples_received += self.row_samples();
        self.left_out_before = self.push.left_out();
        let batch = &mut self.push.batch;
        batch.ts.truncate(samples);
        batch.values.truncate(samples);
        batch.start_ts.truncate(samples);
        batch.histograms.truncate(histograms);
        let exemplars = batch.exemplar_end.last().map_or(0, |&end| end as usize);
        batch.exemplars.truncate(exemplars);
        let kept = |fault: &(u32, HistogramFault)| (fault.0 as usize) < histograms;
        self.histogram_faults.retain(kept);
    }
}

/// Rows have ends once there is anything.
fn end_row(ends: &mut Vec<u32>, row: usize, items: usize) {
    if items > 0 {
        ends.resize(row, 0);
        ends.push(items as u32);
    }
}

pub fn within(count: usize, what: &str, max: usize) -> Result<(), DecodeFault> {
    match count < max {
        true => Ok(()),
        false => Err(DecodeFault::TooLarge(format!(
            "the write request has more than {max} {what}, too many for the limit on its bytes; {}",
            adjust_process("distributor.max-recv-msg-size")
        ))),
    }
}

/// Call `each` with the numbers of a field that is packed or not.
pub fn varints(reader: &mut Reader<'_>, wire: Wire, mut each: impl FnMut(u64)) -> ProtoResult<()> {
    if wire != Wire::Bytes {
        each(reader.varint()?);
        return Ok(());
    }
    let mut packed = reader.nested()?;
    while !packed.rest().is_empty() {
        each(packed.varint()?);
    }
    Ok(())
}

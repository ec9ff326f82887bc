//! The samples of selected series as they stood at one moment: closed chunks shared, open ones copied.

use std::sync::Arc;

use super::series::{Chunk, SeriesTable};
use crate::codec::Damaged;
use crate::codec::merge::merge_runs;
use crate::codec::xor;
use crate::labels::LabelFrame;

/// Where a run of samples is kept.
enum Run {
    Closed(Arc<[u8]>),
    /// A chunk in `Snapshot::bytes`.
    Open {
        start: usize,
        end: usize,
    },
    /// Plain samples in `Snapshot::plain`.
    Plain {
        start: usize,
        end: usize,
    },
}

struct RunRef {
    mint: i64,
    maxt: i64,
    run: Run,
}

/// Immutable. Rows are in the order of `labels`.
pub struct Snapshot {
    pub labels: LabelFrame,
    /// Run numbers `run_start[s]..run_start[s + 1]` belong to the s-th captured series.
    run_start: Vec<u32>,
    runs: Vec<RunRef>,
    bytes: Vec<u8>,
    plain: Vec<(i64, u64)>,
    /// Captured series of each row.
    order: Vec<i64>,
}

/// Offsets of rows, times, values.
pub type Columns = (Vec<usize>, Vec<i64>, Vec<f64>);

/// What must be read under the table's lock.
pub struct Capture {
    frame: LabelFrame,
    run_start: Vec<u32>,
    runs: Vec<RunRef>,
    bytes: Vec<u8>,
    plain: Vec<(i64, u64)>,
}

impl Capture {
    /// Take the runs of the series that overlap mint..=maxt.
    pub fn new(table: &SeriesTable, sids: &[u32], mint: i64, maxt: i64) -> Self {
        let mut capture = Capture {
            frame: super::select::label_frame(table, sids),
            run_start: Vec::with_capacity(sids.len() + 1),
            runs: Vec::with_capacity(sids.len()),
            bytes: Vec::new(),
            plain: Vec::new(),
        };
        capture.run_start.push(0);
        for &sid in sids {
            capture.series(table, sid, mint, maxt);
            capture.run_start.push(capture.runs.len() as u32);
        }
        capture
    }

    fn series(&mut self, table: &SeriesTable, sid: u32, mint: i64, maxt: i64) {
        let overlaps = |from: i64, to: i64| from <= maxt && to >= mint;
        let closed = |c: &&Chunk| overlaps(c.mint, c.maxt);
        let share = |c: &Chunk| RunRef {
            mint: c.mint,
            maxt: c.maxt,
            run: Run::Closed(c.data.clone()),
        };
        let extra = table.extra(sid);
        if let Some(extra) = extra {
            self.runs
                .extend(extra.closed.iter().filter(closed).map(share));
        }
        let open = table.open(sid);
        if open.xor.count > 0 && overlaps(open.mint, open.xor.t) {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(&open.xor.count.to_be_bytes());
            let stream = &open.stream;
            table
                .blocks()
                .copy_to(stream.head, stream.byte_len(), &mut self.bytes);
            self.runs.push(RunRef {
                mint: open.mint,
                maxt: open.xor.t,
                run: Run::Open {
                    start,
                    end: self.bytes.len(),
                },
            });
        }
        let Some(extra) = extra else {
            return;
        };
        self.runs
            .extend(extra.ooo_closed.iter().filter(closed).map(share));
        if let [first, .., last] | [first @ last] = extra.ooo.as_slice()
            && overlaps(first.0, last.0)
        {
            let start = self.plain.len();
            self.plain.extend_from_slice(&extra.ooo);
            self.runs.push(RunRef {
                mint: first.0,
                maxt: last.0,
                run: Run::Plain {
                    start,
                    end: self.plain.len(),
                },
            });
        }
    }

    /// Sort by labels; needs no lock.
    pub fn finish(self) -> Snapshot {
        let order = self.frame.sort_order();
        let labels = self.frame.take(order.iter().map(|&row| row as usize));
        Snapshot {
            labels,
            run_start: self.run_start,
            runs: self.runs,
            bytes: self.bytes,
            plain: self.plain,
            order,
        }
    }
}

impl Snapshot {
    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn runs_of(&self, row: usize) -> &[RunRef] {
        let series = self.order[row] as usize;
        &self.runs[self.run_start[series] as usize..self.run_start[series + 1] as usize]
    }

    /// Upper bound of the samples in rows.
    pub fn sample_count_max(&self, rows: std::ops::Range<usize>) -> usize {
        let count = |run: &RunRef| match &run.run {
            Run::Closed(data) => xor::sample_count(data).unwrap_or(0),
            Run::Open { start, end } => xor::sample_count(&self.bytes[*start..*end]).unwrap_or(0),
            Run::Plain { start, end } => end - start,
        };
        rows.flat_map(|row| self.runs_of(row)).map(count).sum()
    }

    /// Samples of rows with mint <= t <= maxt: offsets, times, values.
    pub fn decode(
        &self,
        rows: std::ops::Range<usize>,
        mint: i64,
        maxt: i64,
    ) -> Result<Columns, Damaged> {
        let room = self.sample_count_max(rows.clone());
        let mut offsets = Vec::with_capacity(rows.len() + 1);
        let mut ts = Vec::with_capacity(room);
        let mut values = Vec::with_capacity(room);
        let mut ends = Vec::new();
        offsets.push(0);
        for row in rows {
            let start = ts.len();
            ends.clear();
            for run in self.runs_of(row) {
                if run.mint > maxt || run.maxt < mint {
                    continue;
                }
                self.decode_run(&run.run, mint, maxt, &mut ts, &mut values)?;
                ends.push(ts.len());
            }
            merge_runs(&mut ts, &mut values, start, &ends);
            offsets.push(ts.len());
        }
        Ok((offsets, ts, values))
    }

    fn decode_run(
        &self,
        run: &Run,
        mint: i64,
        maxt: i64,
        ts: &mut Vec<i64>,
        values: &mut Vec<f64>,
    ) -> Result<(), Damaged> {
        match run {
            Run::Closed(data) => xor::decode_into(data, mint, maxt, ts, values),
            Run::Open { start, end } => {
                xor::decode_into(&self.bytes[*start..*end], mint, maxt, ts, values)
            }
            Run::Plain { start, end } => {
                let samples = &self.plain[*start..*end];
                for &(t, v) in samples.iter().filter(|s| mint <= s.0 && s.0 <= maxt) {
                    ts.push(t);
                    values.push(f64::from_bits(v));
                }
                Ok(())
            }
        }
    }
}

//! The samples of selected series as they stood at one moment: closed chunks shared, open ones copied.

use std::sync::Arc;

use super::histograms::HistogramChunk;
use super::series::{Chunk, SeriesTable};
use crate::histogram::Histogram;
use crate::labels::LabelFrame;
use crate::series_set::runs::{Run, RunSource, Samples};

/// Where a run of samples is kept.
enum Place {
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
    ClosedHistograms(u8, Arc<[u8]>),
    /// A chunk of histograms in `Snapshot::bytes`.
    OpenHistograms {
        encoding: u8,
        start: usize,
        end: usize,
    },
    PlainHistograms(Box<[(i64, Arc<Histogram>)]>),
}

struct RunRef {
    mint: i64,
    maxt: i64,
    place: Place,
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
            place: Place::Closed(c.data.clone()),
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
                place: Place::Open {
                    start,
                    end: self.bytes.len(),
                },
            });
        }
        let Some(extra) = extra else {
            return;
        };
        if extra.histograms.is_some() {
            self.histograms(table, sid, mint, maxt);
        }
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
                place: Place::Plain {
                    start,
                    end: self.plain.len(),
                },
            });
        }
    }

    #[cold]
    fn histograms(&mut self, table: &SeriesTable, sid: u32, mint: i64, maxt: i64) {
        let Some(histograms) = table.histograms(sid) else {
            return;
        };
        let overlaps = |from: i64, to: i64| from <= maxt && to >= mint;
        let closed = |c: &&HistogramChunk| overlaps(c.chunk.mint, c.chunk.maxt);
        let share = |c: &HistogramChunk| RunRef {
            mint: c.chunk.mint,
            maxt: c.chunk.maxt,
            place: Place::ClosedHistograms(c.encoding, c.chunk.data.clone()),
        };
        let in_order = histograms.closed.iter().filter(closed).map(share);
        self.runs.extend(in_order);
        if let Some(open) = &histograms.open
            && overlaps(open.mint, open.chunk.t())
        {
            let start = self.bytes.len();
            open.chunk.copy_to(&mut self.bytes);
            self.runs.push(RunRef {
                mint: open.mint,
                maxt: open.chunk.t(),
                place: Place::OpenHistograms {
                    encoding: open.chunk.encoding(),
                    start,
                    end: self.bytes.len(),
                },
            });
        }
        let ooo = histograms.ooo_closed.iter().filter(closed).map(share);
        self.runs.extend(ooo);
        if let [first, .., last] | [first @ last] = histograms.ooo.as_slice()
            && overlaps(first.0, last.0)
        {
            self.runs.push(RunRef {
                mint: first.0,
                maxt: last.0,
                place: Place::PlainHistograms(histograms.ooo.as_slice().into()),
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

impl RunSource for Snapshot {
    fn labels(&self) -> &LabelFrame {
        &self.labels
    }

    fn runs(&self, row: usize) -> impl ExactSizeIterator<Item = Run<'_>> {
        let series = self.order[row] as usize;
        let (start, end) = (self.run_start[series], self.run_start[series + 1]);
        let runs = self.runs[start as usize..end as usize].iter();
        runs.map(|run| Run {
            mint: run.mint,
            maxt: run.maxt,
            samples: match &run.place {
                Place::Closed(data) => Samples::Chunk(data),
                Place::Open { start, end } => Samples::Chunk(&self.bytes[*start..*end]),
                Place::Plain { start, end } => Samples::Plain(&self.plain[*start..*end]),
                Place::ClosedHistograms(encoding, data) => Samples::Histograms(*encoding, data),
                Place::OpenHistograms {
                    encoding,
                    start,
                    end,
                } => Samples::Histograms(*encoding, &self.bytes[*start..*end]),
                Place::PlainHistograms(samples) => Samples::PlainHistograms(samples),
            },
        })
    }
}

//! A series set made of parts from another process. The parts are kept as they came; chunks are read from them.

use std::ops::Range;

use super::part;
use super::runs::{Run, RunSource, Samples, XOR};
use crate::bytes::Bytes;
use crate::codec::Damaged;
use crate::labels::LabelFrame;
use crate::labels::union::{ascends, concat};

pub struct EncodedSet {
    /// Sorted, distinct.
    pub labels: LabelFrame,
    parts: Vec<Bytes>,
    /// Runs of row i: `run_start[i]..run_start[i + 1]`.
    run_start: Vec<u32>,
    runs: Vec<Span>,
}

#[derive(Clone, Copy)]
struct Span {
    mint: i64,
    maxt: i64,
    start: u32,
    end: u32,
    part: u32,
    encoding: u8,
}

impl EncodedSet {
    /// Parts in order.
    pub fn decode(parts: Vec<Bytes>) -> Result<Self, Damaged> {
        let mut frames = Vec::with_capacity(parts.len());
        let (mut run_start, mut runs) = (vec![0u32], Vec::new());
        for (number, data) in (0..).zip(&parts) {
            let part = part::decode(data)?;
            let mut end = runs.len();
            for count in part.run_counts {
                end += count as usize;
                run_start.push(
                    u32::try_from(end).map_err(|_| Damaged("a series set has too many runs"))?,
                );
            }
            runs.extend(part.runs.into_iter().map(|run| Span {
                mint: run.mint,
                maxt: run.maxt,
                start: run.start,
                end: run.end,
                part: number,
                encoding: run.encoding,
            }));
            frames.push(part.labels);
        }
        let labels = match &frames[..] {
            [frame] => frame.clone(),
            frames => concat(&frames.iter().collect::<Vec<_>>()),
        };
        if !ascends(&labels) {
            return Err(Damaged("the rows of a series set do not ascend"));
        }
        Ok(EncodedSet {
            labels,
            parts,
            run_start,
            runs,
        })
    }

    /// Bytes held.
    pub fn memory_bytes(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum::<usize>()
            + self.labels.memory_bytes()
            + self.runs.len() * size_of::<Span>()
            + self.run_start.len() * 4
    }
}

impl RunSource for EncodedSet {
    fn labels(&self) -> &LabelFrame {
        &self.labels
    }

    fn runs(&self, row: usize) -> impl ExactSizeIterator<Item = Run<'_>> {
        let range: Range<usize> = self.run_start[row] as usize..self.run_start[row + 1] as usize;
        self.runs[range].iter().map(|span| {
            let chunk = &self.parts[span.part as usize][span.start as usize..span.end as usize];
            Run {
                mint: span.mint,
                maxt: span.maxt,
                samples: match span.encoding {
                    XOR => Samples::Chunk(chunk),
                    encoding => Samples::Histograms(encoding, chunk),
                },
            }
        })
    }
}

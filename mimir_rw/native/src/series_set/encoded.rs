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

/// A part's bytes at most, so that places in it fit 32 bits.
const PART_BYTES_MAX: usize = 1 << 30;

/// Builds a set of chunks from a block, row by row: `chunk` for each chunk of a row, then `end_row`.
pub struct SetBuilder {
    parts: Vec<Vec<u8>>,
    run_start: Vec<u32>,
    runs: Vec<Span>,
}

impl Default for SetBuilder {
    fn default() -> Self {
        SetBuilder {
            parts: vec![Vec::new()],
            run_start: vec![0],
            runs: Vec::new(),
        }
    }
}

impl SetBuilder {
    /// Add a chunk: `read` appends its data and gives its encoding.
    pub fn chunk<E: From<Damaged>>(
        &mut self,
        mint: i64,
        maxt: i64,
        read: impl FnOnce(&mut Vec<u8>) -> Result<u8, E>,
    ) -> Result<(), E> {
        if self
            .parts
            .last()
            .is_none_or(|part| part.len() > PART_BYTES_MAX)
        {
            self.parts.push(Vec::new());
        }
        let part = self.parts.len() - 1;
        let bytes = &mut self.parts[part];
        let start = bytes.len() as u32;
        let encoding = read(bytes)?;
        let end = u32::try_from(bytes.len()).map_err(|_| Damaged("a chunk exceeds 3 GiB"))?;
        if !(XOR..=part::FLOAT_HISTOGRAMS).contains(&encoding) {
            return Err(Damaged("a chunk has an encoding that is not supported").into());
        }
        self.runs.push(Span {
            mint,
            maxt,
            start,
            end,
            part: part as u32,
            encoding,
        });
        Ok(())
    }

    pub fn end_row(&mut self) -> Result<(), Damaged> {
        let end = u32::try_from(self.runs.len());
        self.run_start
            .push(end.map_err(|_| Damaged("a series set has too many runs"))?);
        Ok(())
    }

    /// labels: one for each row that was ended, ascending (the caller vouches for it).
    pub fn finish(self, labels: LabelFrame) -> EncodedSet {
        assert_eq!(labels.len() + 1, self.run_start.len(), "labels of all rows");
        EncodedSet {
            labels,
            parts: self.parts.into_iter().map(Bytes::Copy).collect(),
            run_start: self.run_start,
            runs: self.runs,
        }
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

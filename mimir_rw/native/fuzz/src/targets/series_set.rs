//! Label frames and parts of series sets: bytes are an error or what encodes back; a set can be read and merged.

use std::sync::Arc;

use _native::bytes::Bytes;
use _native::codec::histogram::looks::Looks;
use _native::labels::{FrameBuilder, LabelFrame, frame_codec};
use _native::series_set::encoded::EncodedSet;
use _native::series_set::merged::MergedSet;
use _native::series_set::part;
use _native::series_set::runs::{Columns, Run, RunSource, Samples, Source};

fn encoded(frame: &LabelFrame) -> Vec<u8> {
    let mut out = Vec::new();
    frame_codec::encode(frame, 0..frame.len(), &mut out);
    out
}

pub fn target_frame(data: &[u8]) {
    let Ok(frame) = frame_codec::decode_all(data) else {
        return;
    };
    let once = encoded(&frame);
    let again = frame_codec::decode_all(&once).expect("what was encoded");
    assert_eq!(again.len(), frame.len());
    assert_eq!(encoded(&again), once);
    for row in 0..frame.len().min(100) {
        assert!(again.labels(row).eq(frame.labels(row)));
    }
}

fn frame(rows: usize) -> LabelFrame {
    let mut builder = FrameBuilder::default();
    for row in 0..rows {
        builder.label("__name__", "up");
        builder.label("pod", &format!("p{row:03}"));
        if row % 2 == 0 {
            builder.label("zone", "é");
        }
        builder.end_row();
    }
    builder.finish()
}

pub fn seeds_frame() -> Vec<Vec<u8>> {
    [0, 1, 3, 40, 300]
        .iter()
        .map(|&rows| encoded(&frame(rows)))
        .collect()
}

pub fn target_part(data: &[u8]) {
    let rows = part::rows_of(data);
    let Ok(set) = EncodedSet::decode(vec![Bytes::Copy(data.to_vec())]) else {
        return;
    };
    assert_eq!(rows, Ok(set.len()));
    let set = Arc::new(set);
    let all = 0..set.len();
    let (mint, maxt) = (1_000, 1_000_000);
    let apart = set.decode(all.clone(), mint, maxt, &Looks::ALL);
    let merged = MergedSet::new(vec![Source::Encoded(set.clone()), Source::Encoded(set)]);
    let together = merged.decode(all, mint, maxt, &Looks::ALL);
    if let (Ok(apart), Ok(together)) = (apart, together) {
        assert_eq!(apart.offsets, together.offsets);
        assert_eq!(apart.ts, together.ts);
        let times = |columns: &Columns| columns.histograms.as_ref().map(|h| h.ts.clone());
        assert_eq!(times(&apart), times(&together));
    }
}

struct Fixed {
    labels: LabelFrame,
    samples: Vec<Vec<(i64, u64)>>,
}

impl RunSource for Fixed {
    fn labels(&self) -> &LabelFrame {
        &self.labels
    }

    fn runs(&self, row: usize) -> impl ExactSizeIterator<Item = Run<'_>> {
        self.samples[row].chunks(7).map(|samples| Run {
            mint: samples[0].0,
            maxt: samples[samples.len() - 1].0,
            samples: Samples::Plain(samples),
        })
    }
}

pub fn seeds_part() -> Vec<Vec<u8>> {
    let part = |rows: usize| {
        let series = |row: usize| (0..row as i64 * 5 % 23).map(|i| (i * 15_000, (i * i) as u64));
        let set = Fixed {
            labels: frame(rows).take(frame(rows).sort_order().iter().map(|&row| row as usize)),
            samples: (0..rows).map(|row| series(row).collect()).collect(),
        };
        part::encode(&set, 0..rows, true)
    };
    [0, 1, 5, 20].map(part).to_vec()
}

//! Batches between processes: bytes are an error or a batch that encodes to one equal to it.

use _native::batch::WriteBatch;
use _native::wire::batch_codec::{decode, encode};
use _native::wire::series::SeriesHasher;

use super::remote_write;

fn hasher() -> SeriesHasher {
    SeriesHasher::new(&[1; 32])
}

fn all(batch: &WriteBatch) -> Vec<u32> {
    (0..batch.rows() as u32).collect()
}

pub fn target(data: &[u8]) {
    let Ok(batch) = decode(data, "t", &hasher()) else {
        return;
    };
    let rows = batch.rows();
    assert!(
        batch.hash.len() == rows && batch.token.len() == rows && batch.sample_end.len() == rows
    );
    assert_eq!(batch.ts.len(), batch.values.len());
    assert_eq!(
        batch.sample_end.last().map_or(0, |&end| end as usize),
        batch.ts.len()
    );
    assert!(batch.start_ts.is_empty() || batch.start_ts.len() == batch.ts.len());
    for (ends, items) in [
        (&batch.histogram_end, batch.histograms.len()),
        (&batch.exemplar_end, batch.exemplars.len()),
    ] {
        assert!(ends.len() == if items == 0 { 0 } else { rows });
        assert!(ends.is_sorted() && ends.last().map_or(0, |&end| end as usize) == items);
    }
    let again = decode(&encode(&batch, &all(&batch), None, true), "t", &hasher());
    assert_eq!(
        format!("{:?}", again.as_ref()),
        format!("{:?}", Ok::<_, ()>(&batch))
    );
}

pub fn seeds() -> Vec<Vec<u8>> {
    let batches = remote_write::seeds_message()
        .into_iter()
        .map(remote_write::batch);
    let encoded = batches.flat_map(|batch| {
        let rows = all(&batch);
        [None, Some(&rows[..0]), Some(&rows[..rows.len() / 2])]
            .map(|labelled| encode(&batch, &rows, labelled, true))
    });
    encoded.collect()
}

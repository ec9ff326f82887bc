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
    remote_write::check_columns(&batch);
    let again = decode(&encode(&batch, &all(&batch), None, true), "t", &hasher());
    assert_eq!(
        format!("{:?}", again.as_ref()),
        format!("{:?}", Ok::<_, ()>(&batch))
    );
}

pub fn seeds() -> Vec<Vec<u8>> {
    let encoded = remote_write::batches().into_iter().flat_map(|batch| {
        let rows = all(&batch);
        [None, Some(&rows[..0]), Some(&rows[..rows.len() / 2])]
            .map(|labelled| encode(&batch, &rows, labelled, true))
    });
    encoded.collect()
}

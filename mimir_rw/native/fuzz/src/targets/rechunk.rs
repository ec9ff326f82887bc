//! Chunks of one series put together anew: any bytes give ascending chunks, each sample once, or an error; putting these
//! together again changes nothing. An input is a list of chunks: encoding, length (16 bits), bytes.

use _native::codec::rechunk::{Encoded, rechunk};

fn chunks(mut data: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while let Some((&[which, a, b], rest)) = data.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([a, b])).min(rest.len());
        let (chunk, after) = rest.split_at(length);
        found.push((1 + which % 3, chunk));
        data = after;
    }
    found
}

fn count(chunks: &[Encoded]) -> usize {
    let of = |chunk: &Encoded| usize::from(u16::from_be_bytes([chunk.data[0], chunk.data[1]]));
    chunks.iter().map(of).sum()
}

pub fn target(data: &[u8]) {
    let Ok(made) = rechunk(chunks(data).into_iter(), i64::MIN, i64::MAX) else {
        return;
    };
    assert!(made.windows(2).all(|pair| pair[0].maxt < pair[1].mint));
    let parts = made.iter().map(|chunk| (chunk.encoding, &chunk.data[..]));
    let again = rechunk(parts, i64::MIN, i64::MAX).expect("our own chunks decode");
    assert_eq!(count(&again), count(&made));
    if let [first, ..] = &made[..] {
        let parts = made.iter().map(|chunk| (chunk.encoding, &chunk.data[..]));
        let part = rechunk(parts, first.mint.saturating_add(1), i64::MAX).expect("a part decodes");
        assert_eq!(count(&part), count(&made) - 1);
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let lists = [
        super::chunk::seeds().into_iter().map(|chunk| (0, chunk)).collect(),
        // The first byte of those seeds tells their encoding.
        super::histogram_chunk::seeds()
            .into_iter()
            .filter_map(|seed| Some((1 + seed.first()? % 2, seed[1..].to_vec())))
            .collect::<Vec<(u8, Vec<u8>)>>(),
    ];
    let put = |list: &[(u8, Vec<u8>)]| {
        let mut out = Vec::new();
        for (which, chunk) in list.iter().filter(|(_, chunk)| chunk.len() < 1 << 16) {
            out.push(*which);
            out.extend_from_slice(&(chunk.len() as u16).to_be_bytes());
            out.extend_from_slice(chunk);
        }
        out
    };
    vec![put(&lists[0]), put(&lists[1]), put(&lists.concat())]
}

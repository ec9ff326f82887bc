//! Postings lists: ascending series ids; their bytes, and how sets of them are combined.

use super::layout::CRC_BYTES;
use crate::codec::Damaged;

/// Append a list as it is stored.
pub fn encode(ids: &[u32], out: &mut Vec<u8>) {
    out.extend_from_slice(&(4 + 4 * ids.len() as u32).to_be_bytes());
    let start = out.len();
    out.extend_from_slice(&(ids.len() as u32).to_be_bytes());
    out.extend(ids.iter().flat_map(|id| id.to_be_bytes()));
    let crc = crc32c::crc32c(&out[start..]);
    out.extend_from_slice(&crc.to_be_bytes());
}

/// Append the ids of a list to `ids`. bytes: from its length on; what follows the list is ignored.
pub fn decode(bytes: &[u8], ids: &mut Vec<u32>) -> Result<(), Damaged> {
    const SHORT: Damaged = Damaged("a postings list ends early");
    let (len, rest) = bytes.split_first_chunk::<4>().ok_or(SHORT)?;
    let len = u32::from_be_bytes(*len) as usize;
    let (body, rest) = rest.split_at_checked(len).ok_or(SHORT)?;
    let crc = rest.get(..CRC_BYTES as usize).ok_or(SHORT)?;
    if crc32c::crc32c(body).to_be_bytes() != crc {
        return Err(Damaged("the checksum of a postings list differs"));
    }
    let (count, list) = body.split_first_chunk::<4>().ok_or(SHORT)?;
    if list.len() as u64 != 4 * u64::from(u32::from_be_bytes(*count)) {
        return Err(Damaged("a postings list is not as long as it says"));
    }
    let start = ids.len();
    ids.reserve(list.len() / 4);
    ids.extend(
        list.chunks_exact(4)
            .map(|id| id.iter().fold(0u32, |v, &b| v << 8 | u32::from(b))),
    );
    match ids[start..].is_sorted_by(|a, b| a < b) {
        true => Ok(()),
        false => Err(Damaged("the ids of a postings list do not ascend")),
    }
}

/// Keep those of `ids` that `other` has; both ascend.
pub fn intersect(ids: &mut Vec<u32>, other: &[u32]) {
    let mut rest = other;
    ids.retain(|id| {
        rest = advance(rest, *id);
        rest.first() == Some(id)
    });
}

/// Keep those of `ids` that `other` lacks; both ascend.
pub fn subtract(ids: &mut Vec<u32>, other: &[u32]) {
    let mut rest = other;
    ids.retain(|id| {
        rest = advance(rest, *id);
        rest.first() != Some(id)
    });
}

/// From the first id that is not below `id`: a search that gallops, cheap for near ones and for far ones.
fn advance(rest: &[u32], id: u32) -> &[u32] {
    let mut step = 1;
    while rest.get(step).is_some_and(|&at| at < id) {
        step *= 2;
    }
    let from = step / 2;
    let until = (step + 1).min(rest.len());
    let window = rest.get(from..until).unwrap_or_default();
    &rest[from.min(rest.len()) + window.partition_point(|&at| at < id)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_combined_as_sets() {
        let lists: [&[u32]; 6] = [
            &[],
            &[1],
            &[1, 2, 3, 4, 5, 6, 7, 8, 9],
            &[3, 9, 27],
            &[0, 100],
            &[2, 4, 8, 16, 32, 64],
        ];
        for a in lists {
            for b in lists {
                let (mut both, mut rest) = (a.to_vec(), a.to_vec());
                intersect(&mut both, b);
                subtract(&mut rest, b);
                let has = |id: &&u32| b.contains(id);
                let want: Vec<u32> = a.iter().filter(has).copied().collect();
                assert_eq!(both, want, "{a:?} and {b:?}");
                let want: Vec<u32> = a.iter().filter(|id| !has(id)).copied().collect();
                assert_eq!(rest, want, "{a:?} without {b:?}");
            }
        }
    }

    #[test]
    fn damaged_lists_are_errors() {
        let mut bytes = Vec::new();
        encode(&[3, 5, 9], &mut bytes);
        let mut ids = Vec::new();
        decode(&bytes, &mut ids).expect("as written");
        assert_eq!(ids, [3, 5, 9]);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(decode(&damaged, &mut Vec::new()).is_err(), "byte {at}");
            assert!(decode(&bytes[..at], &mut Vec::new()).is_err());
        }
        let mut unsorted = Vec::new();
        encode(&[5, 3], &mut unsorted);
        assert!(decode(&unsorted, &mut Vec::new()).is_err());
    }
}

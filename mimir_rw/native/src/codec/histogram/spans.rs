//! Bucket layouts: which buckets spans mean, what one layout lacks of another, and their union.

use crate::histogram::Span;

/// Indices of the buckets, ascending.
pub fn indices(spans: &[Span]) -> impl Iterator<Item = i64> + '_ {
    let mut at = 0i64;
    spans.iter().flat_map(move |span| {
        let start = at + i64::from(span.offset);
        at = start + i64::from(span.length);
        start..at
    })
}

pub fn bucket_count(spans: &[Span]) -> u64 {
    spans.iter().map(|span| u64::from(span.length)).sum()
}

/// Largest index of a bucket, either way. Those of real histograms end three powers of ten before.
const INDEX_MAX: i64 = 1 << 30;

/// Whether the buckets ascend and lie within bounds: what all else here relies on.
pub fn are_sound(spans: &[Span]) -> bool {
    let mut at = 0i64;
    spans.iter().enumerate().all(|(n, span)| {
        let start = at + i64::from(span.offset);
        at = start + i64::from(span.length);
        (n == 0 || span.offset >= 0) && -INDEX_MAX <= start && at <= INDEX_MAX
    })
}

/// What the layouts of a chunk and of a sample lack of each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lack {
    /// The sample has buckets that the chunk does not have.
    pub chunk: bool,
    /// The chunk has buckets that the sample does not have.
    pub sample: bool,
}

/// How a counter goes on from `old` (of the chunk) to `new`; None: a bucket fell, or one in use is gone.
pub fn counter_lack<B: Copy + Default + PartialOrd>(
    old: (&[Span], &[B]),
    new: (&[Span], &[B]),
) -> Option<Lack> {
    let empty = B::default();
    if old.0 == new.0 {
        let fell = old.1.iter().zip(new.1).any(|(old, new)| old > new);
        return (!fell).then(Lack::default);
    }
    let mut lack = Lack::default();
    let mut olds = indices(old.0).zip(old.1.iter().copied()).peekable();
    let mut news = indices(new.0).zip(new.1.iter().copied()).peekable();
    loop {
        match (olds.peek().copied(), news.peek().copied()) {
            (None, None) => return Some(lack),
            (Some((a, old)), Some((b, new))) if a == b => {
                if old > new {
                    return None;
                }
                olds.next();
                news.next();
            }
            (Some((a, old)), next) if next.is_none_or(|(b, _)| a < b) => {
                if old != empty {
                    return None;
                }
                lack.sample = true;
                olds.next();
            }
            _ => {
                lack.chunk = true;
                news.next();
            }
        }
    }
}

/// What two layouts lack of each other, whatever the buckets hold.
pub fn lack(chunk: &[Span], sample: &[Span]) -> Lack {
    let both = union_indices(chunk, sample).len() as u64;
    Lack {
        chunk: both > bucket_count(chunk),
        sample: both > bucket_count(sample),
    }
}

/// The fewest spans with the buckets of both.
pub fn union(a: &[Span], b: &[Span]) -> Vec<Span> {
    from_indices(union_indices(a, b).into_iter())
}

fn union_indices(a: &[Span], b: &[Span]) -> Vec<i64> {
    let (mut a, mut b) = (indices(a).peekable(), indices(b).peekable());
    let mut all = Vec::new();
    loop {
        let next = match (a.peek(), b.peek()) {
            (None, None) => return all,
            (Some(&a), Some(&b)) => a.min(b),
            (Some(&only), None) | (None, Some(&only)) => only,
        };
        a.next_if_eq(&next);
        b.next_if_eq(&next);
        all.push(next);
    }
}

/// The fewest spans with these buckets, which ascend.
pub fn from_indices(indices: impl Iterator<Item = i64>) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut end = 0;
    for index in indices {
        match spans.last_mut() {
            Some(span) if index == end => span.length += 1,
            _ => spans.push(Span {
                offset: (index - end) as i32,
                length: 1,
            }),
        }
        end = index + 1;
    }
    spans
}

/// The buckets in a layout that has them all; what it has beyond them is empty.
pub fn relaid<B: Copy + Default>(from: &[Span], buckets: &[B], to: &[Span]) -> Vec<B> {
    let mut known = indices(from).zip(buckets.iter().copied()).peekable();
    indices(to)
        .map(|index| {
            while known.next_if(|&(at, _)| at < index).is_some() {}
            let found = known.next_if(|&(at, _)| at == index);
            found.map_or(B::default(), |(_, bucket)| bucket)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(parts: &[(i32, u32)]) -> Vec<Span> {
        let span = |&(offset, length): &(i32, u32)| Span { offset, length };
        parts.iter().map(span).collect()
    }

    #[test]
    fn spans_mean_buckets_and_back() {
        let odd = spans(&[(-3, 2), (0, 0), (1, 1), (0, 2)]);
        let at: Vec<i64> = indices(&odd).collect();
        assert_eq!(at, [-3, -2, 0, 1, 2]);
        assert_eq!(from_indices(at.into_iter()), spans(&[(-3, 2), (1, 3)]));
    }

    #[test]
    fn spans_that_go_back_or_too_far_are_not_sound() {
        assert!(are_sound(&spans(&[(-300_000, 4), (0, 0), (600_000, 9)])));
        for bad in [
            [(0, 2), (-1, 1)],
            [(0, u32::MAX), (0, 1)],
            [(i32::MIN, 1), (0, 1)],
        ] {
            assert!(!are_sound(&spans(&bad)), "{bad:?}");
        }
    }

    #[test]
    fn counters_tell_what_is_new_gone_or_reset() {
        let chunk = spans(&[(0, 3)]);
        type Case<'a> = (&'a [(i32, u32)], &'a [i64], Option<(bool, bool)>);
        let cases: [Case<'_>; 6] = [
            (&[(0, 3)], &[1, 0, 2], Some((false, false))),
            (&[(0, 2), (0, 1)], &[1, 0, 2], Some((false, false))),
            (&[(0, 1), (1, 2)], &[1, 2, 9], Some((true, true))),
            (&[(0, 1)], &[5], None),
            (&[(0, 3)], &[0, 0, 2], None),
            (&[(-1, 4)], &[1, 1, 0, 2], Some((true, false))),
        ];
        for (layout, buckets, want) in cases {
            let got = counter_lack((&chunk, &[1, 0, 2]), (&spans(layout), buckets));
            assert_eq!(
                got.map(|lack| (lack.chunk, lack.sample)),
                want,
                "{layout:?}"
            );
        }
    }

    #[test]
    fn a_wider_layout_takes_the_buckets_to_their_places() {
        let (a, b) = (spans(&[(0, 2)]), spans(&[(1, 1), (2, 1)]));
        let wide = union(&a, &b);
        assert_eq!(wide, spans(&[(0, 2), (2, 1)]));
        assert_eq!(relaid(&b, &[7, 8], &wide), [0, 7, 8]);
        assert_eq!(
            lack(&a, &b),
            Lack {
                chunk: true,
                sample: true
            }
        );
        assert_eq!(
            lack(&wide, &a),
            Lack {
                chunk: false,
                sample: true
            }
        );
    }
}

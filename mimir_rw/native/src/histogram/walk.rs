//! Buckets one after the other, in either direction, without computing bounds that nobody asks for.

use super::{Buckets, FloatHistogram, Span};

/// Which bucket: the index on its side, or the one around zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Negative(i64),
    Zero,
    Positive(i64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    pub lower: f64,
    pub upper: f64,
}

/// Indices and counts of one side, empty buckets too. Ends early where spans and counts do not agree.
#[derive(Clone)]
pub struct SideWalk<'a> {
    spans: &'a [Span],
    counts: &'a [f64],
    /// Next index at the front, and what is left of the first span.
    front: i64,
    front_left: u32,
    /// The index after the last one, and what is left of the last span.
    back: i64,
    back_left: u32,
}

impl<'a> SideWalk<'a> {
    pub fn new(side: &'a Buckets) -> Self {
        let spans = side.spans.as_slice();
        let ends = spans
            .iter()
            .map(|span| i64::from(span.offset) + i64::from(span.length));
        Self {
            spans,
            counts: &side.counts,
            front: spans.first().map_or(0, |span| i64::from(span.offset)),
            front_left: spans.first().map_or(0, |span| span.length),
            back: ends.sum(),
            back_left: spans.last().map_or(0, |span| span.length),
        }
    }
}

impl Iterator for SideWalk<'_> {
    type Item = (i64, f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (&count, rest) = self.counts.split_first()?;
        while self.front_left == 0 {
            self.spans = self.spans.get(1..)?;
            let span = self.spans.first()?;
            self.front += i64::from(span.offset);
            self.front_left = span.length;
        }
        let index = self.front;
        self.front = index + 1;
        self.front_left -= 1;
        self.counts = rest;
        Some((index, count))
    }
}

impl DoubleEndedIterator for SideWalk<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        let (&count, rest) = self.counts.split_last()?;
        while self.back_left == 0 {
            let (gone, before) = self.spans.split_last()?;
            self.spans = before;
            self.back -= i64::from(gone.offset);
            self.back_left = before.last()?.length;
        }
        self.back -= 1;
        self.back_left -= 1;
        self.counts = rest;
        Some((self.back, count))
    }
}

impl FloatHistogram {
    /// All buckets in order of their bounds; the zero bucket only where it is not empty. `rev()` walks down.
    pub fn walk(&self) -> impl DoubleEndedIterator<Item = (Place, f64)> {
        let negative = SideWalk::new(&self.negative).rev();
        let positive = SideWalk::new(&self.positive);
        let zero = (self.zero_count > 0.0 && !self.has_custom_buckets()).then_some(self.zero_count);
        negative
            .map(|(index, count)| (Place::Negative(index), count))
            .chain(zero.map(|count| (Place::Zero, count)))
            .chain(positive.map(|(index, count)| (Place::Positive(index), count)))
    }

    /// A bucket that the zero bucket reaches into ends where that begins.
    pub fn bounds(&self, place: Place) -> Bounds {
        match place {
            Place::Zero => Bounds {
                lower: -self.zero_threshold,
                upper: self.zero_threshold,
            },
            Place::Positive(index) => {
                let Bounds { lower, upper } = self.side_bounds(index);
                let inside = lower > 0.0 && lower < self.zero_threshold;
                Bounds {
                    lower: if inside { self.zero_threshold } else { lower },
                    upper,
                }
            }
            Place::Negative(index) => {
                let Bounds { lower, upper } = self.side_bounds(index);
                let inside = lower > 0.0 && lower < self.zero_threshold;
                Bounds {
                    lower: -upper,
                    upper: if inside { -self.zero_threshold } else { -lower },
                }
            }
        }
    }

    /// Of the positive side, whatever the zero bucket.
    fn side_bounds(&self, index: i64) -> Bounds {
        Bounds {
            lower: self.bound(index - 1),
            upper: self.bound(index),
        }
    }

    /// As `bounds`, but a bucket ends where its schema says.
    pub fn whole_bounds(&self, place: Place) -> Bounds {
        match place {
            Place::Zero => self.bounds(place),
            Place::Positive(index) => self.side_bounds(index),
            Place::Negative(index) => {
                let Bounds { lower, upper } = self.side_bounds(index);
                Bounds {
                    lower: -upper,
                    upper: -lower,
                }
            }
        }
    }

    /// Whether the bounds belong to the bucket: the lower, the upper.
    pub fn inclusive(&self, place: Place) -> (bool, bool) {
        match place {
            Place::Zero => (true, true),
            Place::Positive(index) => (self.has_custom_buckets() && index == 0, true),
            Place::Negative(_) => (true, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(spans: &[(i32, u32)], counts: &[f64]) -> Buckets {
        Buckets {
            spans: spans
                .iter()
                .map(|&(offset, length)| Span { offset, length })
                .collect(),
            counts: counts.to_vec(),
        }
    }

    #[test]
    fn spans_give_indices() {
        let side = side(
            &[(-2, 2), (0, 0), (3, 1), (1, 2)],
            &[1.0, 2.0, 3.0, 4.0, 5.0],
        );
        let expected = [(-2, 1.0), (-1, 2.0), (3, 3.0), (5, 4.0), (6, 5.0)];
        assert_eq!(SideWalk::new(&side).collect::<Vec<_>>(), expected);
        let mut back: Vec<_> = SideWalk::new(&side).rev().collect();
        back.reverse();
        assert_eq!(back, expected);
    }

    #[test]
    fn what_does_not_agree_ends_early() {
        assert_eq!(SideWalk::new(&side(&[(0, 1)], &[1.0, 2.0])).count(), 1);
        assert_eq!(SideWalk::new(&side(&[(0, 3)], &[1.0])).count(), 1);
        assert_eq!(SideWalk::new(&side(&[], &[1.0])).rev().count(), 0);
    }

    #[test]
    fn order_of_all_buckets() {
        let h = FloatHistogram {
            zero_threshold: 0.25,
            zero_count: 7.0,
            positive: side(&[(-2, 3)], &[1.0, 2.0, 3.0]),
            negative: side(&[(0, 2)], &[4.0, 5.0]),
            ..FloatHistogram::default()
        };
        let places = [
            (Place::Negative(1), 5.0),
            (Place::Negative(0), 4.0),
            (Place::Zero, 7.0),
            (Place::Positive(-2), 1.0),
            (Place::Positive(-1), 2.0),
            (Place::Positive(0), 3.0),
        ];
        assert_eq!(h.walk().collect::<Vec<_>>(), places);
        let bounds = |place| {
            let Bounds { lower, upper } = h.bounds(place);
            (lower, upper)
        };
        assert_eq!(bounds(Place::Negative(1)), (-2.0, -1.0));
        assert_eq!(bounds(Place::Zero), (-0.25, 0.25));
        // Lies within the zero bucket but for its end.
        assert_eq!(bounds(Place::Positive(-2)), (0.25, 0.25));
        assert_eq!(bounds(Place::Positive(-1)), (0.25, 0.5));
    }
}

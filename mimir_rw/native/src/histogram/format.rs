//! Histograms as text: `{count:4, sum:5, [-0.5,-0.25):1, [-0.001,0.001]:1, (0.5,1]:2}` (promql-notes.md 13).

use super::FloatHistogram;
use super::walk::{Bounds, Place};
use crate::text::number::push_general;

impl FloatHistogram {
    /// Empty buckets are left out.
    pub fn to_text(&self) -> String {
        let mut out = b"{count:".to_vec();
        push_general(&mut out, self.count);
        out.extend_from_slice(b", sum:");
        push_general(&mut out, self.sum);
        for (place, count) in self.shown() {
            let Bounds { lower, upper } = self.whole_bounds(place);
            let (lower_inside, upper_inside) = self.inclusive(place);
            out.extend_from_slice(b", ");
            out.push(if lower_inside { b'[' } else { b'(' });
            push_general(&mut out, lower);
            out.push(b',');
            push_general(&mut out, upper);
            out.push(if upper_inside { b']' } else { b')' });
            out.push(b':');
            push_general(&mut out, count);
        }
        out.push(b'}');
        out.into_iter().map(char::from).collect()
    }

    /// All buckets that are not empty; a walk leaves out a zero bucket of less than nothing.
    fn shown(&self) -> Vec<(Place, f64)> {
        let mut shown: Vec<_> = self
            .walk()
            .filter(|&(place, count)| count != 0.0 && place != Place::Zero)
            .collect();
        if self.zero_count != 0.0 && !self.has_custom_buckets() {
            let negative = shown.partition_point(|&(place, _)| matches!(place, Place::Negative(_)));
            shown.insert(negative, (Place::Zero, self.zero_count));
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Buckets, FloatHistogram, Span};

    #[test]
    fn less_than_nothing_in_the_zero_bucket_is_shown_in_its_place() {
        let side = |count| Buckets {
            spans: vec![Span {
                offset: 0,
                length: 1,
            }],
            counts: vec![count],
        };
        let mut h = FloatHistogram {
            count: -6.0,
            sum: -5.0,
            zero_threshold: 0.25,
            zero_count: -3.0,
            positive: side(-2.0),
            negative: side(-1.0),
            ..FloatHistogram::default()
        };
        assert_eq!(
            h.to_text(),
            "{count:-6, sum:-5, [-1,-0.5):-1, [-0.25,0.25]:-3, (0.5,1]:-2}"
        );
        h.zero_count = 0.0;
        assert_eq!(h.to_text(), "{count:-6, sum:-5, [-1,-0.5):-1, (0.5,1]:-2}");
    }
}

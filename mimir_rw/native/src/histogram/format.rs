//! Histograms as text: `{count:4, sum:5, [-0.5,-0.25):1, [-0.001,0.001]:1, (0.5,1]:2}` (promql-notes.md 13).

use super::FloatHistogram;
use super::walk::Bounds;
use crate::text::number::push_general;

impl FloatHistogram {
    /// Empty buckets are left out.
    pub fn to_text(&self) -> String {
        let mut out = b"{count:".to_vec();
        push_general(&mut out, self.count);
        out.extend_from_slice(b", sum:");
        push_general(&mut out, self.sum);
        for (place, count) in self.walk().filter(|&(_, count)| count != 0.0) {
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
}

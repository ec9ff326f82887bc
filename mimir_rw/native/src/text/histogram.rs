//! Native histograms as JSON.

use super::number::push_value;
use crate::histogram::FloatHistogram;
use crate::histogram::walk::Bounds;

/// `{"count":"4","sum":"5","buckets":[[0,"0.5","1","2"],...]}`: each bucket with a code for which of its bounds belong
/// to it (0 the upper, 1 the lower, 2 none, 3 both), its bounds and its count. Empty buckets are left out, and the list
/// where there are no others.
pub fn push_histogram(out: &mut Vec<u8>, histogram: &FloatHistogram) {
    out.extend_from_slice(b"{\"count\":\"");
    push_value(out, histogram.count);
    out.extend_from_slice(b"\",\"sum\":\"");
    push_value(out, histogram.sum);
    out.push(b'"');
    let mut any = false;
    for (place, count) in histogram.walk().filter(|&(_, count)| count != 0.0) {
        let code = match histogram.inclusive(place) {
            (false, true) => b'0',
            (true, false) => b'1',
            (false, false) => b'2',
            (true, true) => b'3',
        };
        out.extend_from_slice(if any { b",[" } else { b",\"buckets\":[[" });
        any = true;
        out.push(code);
        let Bounds { lower, upper } = histogram.bounds(place);
        for number in [lower, upper, count] {
            out.extend_from_slice(b",\"");
            push_value(out, number);
            out.push(b'"');
        }
        out.push(b']');
    }
    if any {
        out.push(b']');
    }
    out.push(b'}');
}

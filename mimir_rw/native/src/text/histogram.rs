//! Native histograms as JSON.

use super::number::push_value;
use crate::histogram::FloatHistogram;
use crate::histogram::walk::Bounds;

/// Writes histograms; remembers the texts of bounds, which are the same few in most of them.
pub struct HistogramWriter {
    texts: Vec<BoundText>,
}

/// `,"0.5"` and the bits of the number. What is longer than a slot is not remembered.
#[derive(Clone, Copy)]
struct BoundText {
    bits: u64,
    length: u8,
    text: [u8; 31],
}

const SLOTS: usize = 512;

impl HistogramWriter {
    pub fn new() -> Self {
        let empty = BoundText {
            bits: 0,
            length: 0,
            text: [0; 31],
        };
        Self {
            texts: vec![empty; SLOTS],
        }
    }

    /// `{"count":"4","sum":"5","buckets":[[0,"0.5","1","2"],...]}`: each bucket with a code for which of its bounds
    /// belong to it (0 the upper, 1 the lower, 2 none, 3 both), its bounds and its count. Empty buckets are left out,
    /// and the list where there are no others.
    pub fn push(&mut self, out: &mut Vec<u8>, histogram: &FloatHistogram) {
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
            self.push_bound(out, lower);
            self.push_bound(out, upper);
            out.extend_from_slice(b",\"");
            push_value(out, count);
            out.extend_from_slice(b"\"]");
        }
        if any {
            out.push(b']');
        }
        out.push(b'}');
    }

    fn push_bound(&mut self, out: &mut Vec<u8>, bound: f64) {
        let bits = bound.to_bits();
        let slot = (bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SLOTS.ilog2())) as usize;
        let known = &mut self.texts[slot];
        if known.length > 0 && known.bits == bits {
            out.extend_from_slice(&known.text[..usize::from(known.length)]);
            return;
        }
        let start = out.len();
        out.extend_from_slice(b",\"");
        push_value(out, bound);
        out.push(b'"');
        let text = &out[start..];
        if let Some(room) = known.text.get_mut(..text.len()) {
            room.copy_from_slice(text);
            (known.bits, known.length) = (bits, text.len() as u8);
        }
    }
}

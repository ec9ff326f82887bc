//! The buckets of one side: which there are, and the counts in them.

use super::{Buckets, Span};

/// Makes spans of ascending bucket indices; neighbours share a span.
#[derive(Default)]
pub struct SpanBuilder {
    spans: Vec<Span>,
    /// The index behind the last.
    next: i64,
}

impl SpanBuilder {
    pub fn push(&mut self, index: i64) {
        match self.spans.last_mut() {
            Some(last) if index == self.next => last.length += 1,
            _ => self.spans.push(Span {
                offset: (index - self.next) as i32,
                length: 1,
            }),
        }
        self.next = index + 1;
    }

    pub fn finish(self) -> Vec<Span> {
        self.spans
    }
}

/// The indices of the buckets that spans describe.
pub fn indices(spans: &[Span]) -> impl Iterator<Item = i64> + '_ {
    let mut next = 0i64;
    spans.iter().flat_map(move |span| {
        let start = next + i64::from(span.offset);
        next = start + i64::from(span.length);
        start..next
    })
}

/// The bucket of a schema that is `by` lower, in which bucket `index` lies.
pub fn reduced(index: i64, by: u32) -> i64 {
    ((index - 1) >> by.min(63)) + 1
}

/// Call `run(first place in a, places in b)` for each span of b. False, after some of the calls, when a bucket of b
/// is not one of a within a single span.
fn runs(a: &[Span], b: &[Span], mut run: impl FnMut(usize, std::ops::Range<usize>)) -> bool {
    let mut spans = a.iter();
    let Some(mut current) = spans.next() else {
        return b.iter().all(|span| span.length == 0);
    };
    let mut start = i64::from(current.offset);
    let mut place = 0usize;
    let (mut b_next, mut b_place) = (0i64, 0usize);
    for span in b {
        let b_start = b_next + i64::from(span.offset);
        b_next = b_start + i64::from(span.length);
        if span.length == 0 {
            continue;
        }
        while b_start >= start + i64::from(current.length) {
            let end = start + i64::from(current.length);
            place += current.length as usize;
            match spans.next() {
                None => return false,
                Some(following) => current = following,
            }
            start = end + i64::from(current.offset);
        }
        if b_start < start || b_next > start + i64::from(current.length) {
            return false;
        }
        let b_end = b_place + span.length as usize;
        run(place + (b_start - start) as usize, b_place..b_end);
        b_place = b_end;
    }
    true
}

/// The union of two layouts, and for each bucket of `a` and of `b` from `skip` on its place in it.
struct Union {
    spans: Vec<Span>,
    a: Vec<usize>,
    b: Vec<usize>,
    /// Buckets of the union.
    len: usize,
}

fn union(a: &[Span], b: &[Span], skip: usize) -> Union {
    let (mut a, mut b) = (indices(a).peekable(), indices(b).skip(skip).peekable());
    let mut out = SpanBuilder::default();
    let (mut a_places, mut b_places) = (Vec::new(), Vec::new());
    let mut place = 0;
    loop {
        let index = match (a.peek(), b.peek()) {
            (None, None) => break,
            (Some(&index), None) | (None, Some(&index)) => index,
            (Some(&left), Some(&right)) => left.min(right),
        };
        out.push(index);
        if a.next_if_eq(&index).is_some() {
            a_places.push(place);
        }
        if b.next_if_eq(&index).is_some() {
            b_places.push(place);
        }
        place += 1;
    }
    Union {
        spans: out.finish(),
        a: a_places,
        b: b_places,
        len: place,
    }
}

fn moved(counts: &[f64], places: &[usize], len: usize) -> Vec<f64> {
    let mut out = vec![0.0; len];
    for (&place, &count) in places.iter().zip(counts) {
        out[place] = count;
    }
    out
}

impl Buckets {
    /// (index, count), ascending.
    pub fn iter(&self) -> impl Iterator<Item = (i64, f64)> + '_ {
        indices(&self.spans).zip(self.counts.iter().copied())
    }

    /// Add the counts of `other` from its bucket number `skip` on, times `sign`; buckets that are missing are made.
    pub fn add(&mut self, other: &Self, skip: usize, sign: f64) {
        let counts = &mut self.counts;
        if skip == 0 && runs(&self.spans, &other.spans, |_, _| ()) {
            runs(&self.spans, &other.spans, |at, from| {
                let into = &mut counts[at..at + from.len()];
                for (count, added) in into.iter_mut().zip(&other.counts[from]) {
                    *count += sign * added;
                }
            });
            return;
        }
        let union = union(&self.spans, &other.spans, skip);
        let mut counts = moved(&self.counts, &union.a, union.len);
        for (&place, added) in union
            .b
            .iter()
            .zip(&other.counts[skip.min(other.counts.len())..])
        {
            counts[place] += sign * added;
        }
        (self.spans, self.counts) = (union.spans, counts);
    }

    /// As `add`, each count with what its additions lost. `lost` is as long as the counts; other_lost: as long as
    /// those of `other`, or empty.
    pub fn add_compensated(
        &mut self,
        lost: &mut Vec<f64>,
        other: &Self,
        other_lost: &[f64],
        skip: usize,
    ) {
        let increase = |counts: &mut [f64], lost: &mut [f64], at: usize, from: usize| {
            compensate(&mut counts[at], &mut lost[at], other.counts[from]);
            let more = other_lost.get(from).copied().unwrap_or(0.0);
            if more != 0.0 {
                compensate(&mut counts[at], &mut lost[at], more);
            }
        };
        let counts = &mut self.counts;
        if skip == 0 && runs(&self.spans, &other.spans, |_, _| ()) {
            runs(&self.spans, &other.spans, |at, from| {
                for (offset, from) in from.enumerate() {
                    increase(counts, lost, at + offset, from);
                }
            });
            return;
        }
        let union = union(&self.spans, &other.spans, skip);
        let mut counts = moved(&self.counts, &union.a, union.len);
        *lost = moved(lost, &union.a, union.len);
        for (number, &place) in union.b.iter().enumerate() {
            increase(&mut counts, lost, place, skip + number);
        }
        (self.spans, self.counts) = (union.spans, counts);
    }

    /// The same counts in the buckets of a schema that is `by` lower.
    pub fn reduced(&self, by: u32) -> Self {
        let mut spans = SpanBuilder::default();
        let mut counts: Vec<f64> = Vec::new();
        let mut last = None;
        for (index, count) in self.iter() {
            let index = reduced(index, by);
            match counts.last_mut() {
                Some(sum) if last == Some(index) => *sum += count,
                _ => {
                    spans.push(index);
                    counts.push(count);
                    last = Some(index);
                }
            }
        }
        Self {
            spans: spans.finish(),
            counts,
        }
    }

    /// As `reduced`, with what the additions lost. `lost` is as long as the counts before and after.
    pub fn reduce_compensated(&mut self, lost: &mut Vec<f64>, by: u32) {
        let mut spans = SpanBuilder::default();
        let mut counts: Vec<f64> = Vec::new();
        let mut kept: Vec<f64> = Vec::new();
        let mut last = None;
        for ((index, count), &more) in self.iter().zip(lost.iter()) {
            let index = reduced(index, by);
            match (counts.last_mut(), kept.last_mut()) {
                (Some(sum), Some(c)) if last == Some(index) => {
                    compensate(sum, c, count);
                    compensate(sum, c, more);
                }
                _ => {
                    spans.push(index);
                    counts.push(count);
                    kept.push(more);
                    last = Some(index);
                }
            }
        }
        *lost = kept;
        *self = Self {
            spans: spans.finish(),
            counts,
        };
    }

    /// Without empty buckets; neighbours share a span.
    pub fn compact(&mut self) {
        if self.is_compact() {
            return;
        }
        let mut spans = SpanBuilder::default();
        for (index, count) in self.iter() {
            if count != 0.0 {
                spans.push(index);
            }
        }
        self.spans = spans.finish();
        self.counts.retain(|&count| count != 0.0);
    }

    /// As `compact`, but an empty bucket stays where something was lost.
    pub fn compact_compensated(&mut self, lost: &mut Vec<f64>) {
        let mut spans = SpanBuilder::default();
        let mut kept = Vec::with_capacity(lost.len());
        let mut counts = Vec::with_capacity(lost.len());
        for ((index, count), &more) in self.iter().zip(lost.iter()) {
            if count != 0.0 || more != 0.0 {
                spans.push(index);
                counts.push(count);
                kept.push(more);
            }
        }
        *lost = kept;
        *self = Self {
            spans: spans.finish(),
            counts,
        };
    }

    fn is_compact(&self) -> bool {
        let joined =
            |(number, span): (usize, &Span)| number > 0 && span.offset <= 0 || span.length == 0;
        !self.counts.contains(&0.0) && !self.spans.iter().enumerate().any(joined)
    }

    /// True when the same buckets hold the same bits; spans of length 0 do not count.
    pub fn same_as(&self, other: &Self) -> bool {
        let same_bits = |(a, b): (&f64, &f64)| a.to_bits() == b.to_bits();
        filled_spans(&self.spans).eq(filled_spans(&other.spans))
            && self.counts.len() == other.counts.len()
            && self.counts.iter().zip(&other.counts).all(same_bits)
    }
}

/// First index and length of the spans that have a bucket.
fn filled_spans(spans: &[Span]) -> impl Iterator<Item = (i64, u32)> + '_ {
    let mut next = 0i64;
    spans.iter().filter_map(move |span| {
        let start = next + i64::from(span.offset);
        next = start + i64::from(span.length);
        (span.length > 0).then_some((start, span.length))
    })
}

/// One step of a Kahan-Neumaier sum.
#[inline]
pub fn compensate(sum: &mut f64, lost: &mut f64, added: f64) {
    let total = *sum + added;
    let error = match sum.abs() >= added.abs() {
        true => (*sum - total) + added,
        false => (added - total) + *sum,
    };
    *lost = if total.is_infinite() {
        0.0
    } else {
        *lost + error
    };
    *sum = total;
}

//! Decoding for a query that says which samples it looks at: only those are built.
//!
//! Every sample of a chunk has to be read, for each is coded as the difference to the one before; but most of the cost
//! is in building them, and a query with wide steps looks at few. All others share one stand-in, which has what the
//! samples of a chunk have in common: schema, bounds, and that nothing was reset before them. What may be compared with
//! samples of other chunks (the first, the last, the one before a stale marker) is always built whole, and so are stale
//! markers.

use std::sync::Arc;

use super::read::{Reader, Scalars, ToFloat};
use super::reduce::SCHEMA_MAX;
use crate::codec::Damaged;
use crate::histogram::{FloatHistogram, ResetHint};

/// Which samples are looked at, by the ends of windows `(end - range, end]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    All,
    /// The newest at each end.
    Newest,
    /// The first and the last of each window. Of gauges all are.
    Edges,
    /// None for its own sake: when they were, and where a counter began anew.
    Times,
}

#[derive(Clone, Copy, Debug)]
pub struct Looks {
    pub wanted: Wanted,
    /// The ends of the windows: `start`, and `steps - 1` more, each `step` later.
    pub start: i64,
    pub step: i64,
    pub steps: u64,
    pub range: i64,
    /// Only count and sum are looked at.
    pub bare: bool,
}

impl Looks {
    pub const ALL: Looks = Looks {
        wanted: Wanted::All,
        start: 0,
        step: 0,
        steps: 0,
        range: 0,
        bare: false,
    };

    /// Whether every sample is to be built whole.
    pub fn at_all(&self) -> bool {
        self.wanted == Wanted::All && !self.bare
    }
}

/// Times at equal distances, asked for in ascending order.
struct Ticks {
    next: i64,
    step: i64,
    left: u64,
}

impl Ticks {
    /// Whether there is a tick in from..before.
    fn within(&mut self, from: i64, before: i64) -> bool {
        if self.left == 0 {
            return false;
        }
        if self.next < from {
            let gap = from.abs_diff(self.next);
            let skipped = match u64::try_from(self.step) {
                Ok(step @ 1..) => gap.div_ceil(step),
                _ => u64::MAX,
            };
            self.left = self.left.saturating_sub(skipped);
            if self.left == 0 {
                return false;
            }
            // No more than a step behind `from`, so saturating is not too early.
            let on = i128::from(self.next) + i128::from(skipped) * i128::from(self.step);
            self.next = i64::try_from(on).unwrap_or(i64::MAX);
        }
        self.next < before
    }
}

/// Says of the samples of one chunk, one after the other, whether they are looked at.
struct Watch {
    wanted: Wanted,
    ends: Ticks,
    starts: Ticks,
}

impl Watch {
    fn new(looks: &Looks, gauges: bool) -> Self {
        let ticks = |next| Ticks {
            next,
            step: looks.step,
            left: looks.steps,
        };
        Watch {
            wanted: match looks.wanted {
                Wanted::Edges | Wanted::Times if gauges => Wanted::All,
                wanted => wanted,
            },
            ends: ticks(looks.start),
            starts: ticks(looks.start.saturating_sub(looks.range)),
        }
    }

    /// Times of a sample, and of those before and after it.
    fn sees(&mut self, before: i64, t: i64, after: i64) -> bool {
        match self.wanted {
            Wanted::All => true,
            Wanted::Times => false,
            Wanted::Newest => self.ends.within(t, after),
            Wanted::Edges => self.starts.within(before, t) | self.ends.within(t, after),
        }
    }
}

/// A sample that has been read but not yet built.
struct AtHand {
    /// Its time, and that of the one before.
    t: i64,
    before: i64,
    hint: ResetHint,
    /// It is the first, a stale marker or the first after one.
    whole: bool,
}

impl<K: ToFloat> Reader<'_, K> {
    /// As decoding whole, but for what is not looked at.
    pub(super) fn decode_looked(
        mut self,
        mint: i64,
        maxt: i64,
        looks: &Looks,
        ts: &mut Vec<i64>,
        histograms: &mut Vec<Arc<FloatHistogram>>,
    ) -> Result<(), Damaged> {
        let mut watch = Watch::new(looks, self.header() == ResetHint::Gauge);
        let stand_in = Arc::new(self.stand_in(looks.bare));
        let (mut at_hand, mut before): (Option<AtHand>, i64) = (None, i64::MIN);
        loop {
            let ended = !self.next_time()? || self.t() > maxt;
            let mut seen = true;
            if let Some(last) = &at_hand {
                let whole = ended || last.whole;
                seen = whole || watch.sees(last.before, last.t, self.t());
                if whole || seen && !looks.bare {
                    histograms.push(Arc::new(self.to_float(self.scalars(), last.hint)));
                    at_hand = None;
                }
            }
            if ended {
                return self.sound();
            }
            let (scalars, after_stale) = (self.scalars(), self.is_stale());
            self.next_numbers()?;
            if let Some(last) = at_hand.take() {
                histograms.push(match (self.is_stale(), seen) {
                    // Its buckets are still there: a stale marker has none.
                    (true, _) => Arc::new(self.to_float(scalars, last.hint)),
                    (false, true) => Arc::new(self.to_bare(scalars, last.hint)),
                    (false, false) => stand_in.clone(),
                });
            }
            let t = self.t();
            if t >= mint {
                ts.push(t);
                at_hand = Some(AtHand {
                    t,
                    before,
                    hint: self.hint(),
                    whole: self.is_first() || self.is_stale() || after_stale,
                });
            }
            before = t;
        }
    }

    fn to_bare(&self, scalars: Scalars<K>, hint: ResetHint) -> FloatHistogram {
        FloatHistogram {
            hint,
            schema: self.layout().schema.min(SCHEMA_MAX),
            count: K::count(scalars.count),
            sum: f64::from_bits(scalars.sum),
            ..FloatHistogram::default()
        }
    }

    fn stand_in(&self, bare: bool) -> FloatHistogram {
        let layout = self.layout();
        let mut stand_in = FloatHistogram {
            hint: match self.header() {
                ResetHint::Gauge => ResetHint::Gauge,
                _ => ResetHint::NotReset,
            },
            schema: layout.schema.min(SCHEMA_MAX),
            ..FloatHistogram::default()
        };
        if !bare {
            stand_in.zero_threshold = layout.zero_threshold;
            stand_in.custom = layout.custom.clone();
        }
        stand_in
    }
}

#[cfg(test)]
mod tests {
    use super::super::chunks_of;
    use super::super::read::decode_into;
    use super::super::tests::{Dice, float};
    use super::*;

    type Decoded = (Vec<i64>, Vec<Arc<FloatHistogram>>);

    fn decode(chunk: (u8, &[u8]), mint: i64, maxt: i64, looks: &Looks) -> Decoded {
        let (mut ts, mut items) = (Vec::new(), Vec::new());
        decode_into(chunk.0, chunk.1, mint, maxt, looks, &mut ts, &mut items).unwrap();
        (ts, items)
    }

    fn bare(item: &FloatHistogram) -> FloatHistogram {
        FloatHistogram {
            hint: item.hint,
            schema: item.schema,
            count: item.count,
            sum: item.sum,
            ..FloatHistogram::default()
        }
    }

    /// As text, in which NaN equals itself.
    fn told(item: &FloatHistogram) -> String {
        format!("{item:?}")
    }

    /// Places that a query looks at, by walking over all windows.
    fn seen((ts, items): &Decoded, looks: &Looks) -> Vec<bool> {
        let mut seen = vec![looks.wanted == Wanted::All; ts.len()];
        for step in 0..looks.steps as i64 {
            let end = looks.start + step * looks.step;
            let inside = |at: &usize| {
                let after = looks.wanted == Wanted::Newest || ts[*at] > end - looks.range;
                ts[*at] <= end && after && !items[*at].is_stale()
            };
            let first = (0..ts.len())
                .find(inside)
                .filter(|_| looks.wanted == Wanted::Edges);
            let last = (0..ts.len())
                .rev()
                .find(inside)
                .filter(|_| looks.wanted != Wanted::Times);
            for at in first.into_iter().chain(last) {
                seen[at] = true;
            }
        }
        seen
    }

    /// Every histogram that may be asked for is as decoding whole gives it; the others tell the same of resets.
    fn check(chunk: (u8, &[u8]), (mint, maxt): (i64, i64), looks: &Looks) -> usize {
        let whole = decode(chunk, mint, maxt, &Looks::ALL);
        let (ts, items) = decode(chunk, mint, maxt, looks);
        assert_eq!(ts, whole.0);
        assert_eq!(items.len(), ts.len());
        let stale = |at: usize| whole.1.get(at).is_some_and(|item| item.is_stale());
        let seen = seen(&whole, looks);
        let mut skipped = 0;
        for (at, (got, want)) in items.iter().zip(&whole.1).enumerate() {
            let edge = want.hint == ResetHint::Unknown || at + 1 == ts.len();
            let compared = edge || stale(at) || stale(at + 1) || at > 0 && stale(at - 1);
            let gauge = want.hint == ResetHint::Gauge && looks.wanted != Wanted::Newest;
            let told_whole = told(got) == told(want);
            match (compared, seen[at] || gauge, looks.bare) {
                (true, ..) | (_, true, false) => assert!(told_whole, "{at}: {got:?} {want:?}"),
                (_, true, true) => assert!(told_whole || told(got) == told(&bare(want))),
                _ => {}
            }
            let kind = |h: &FloatHistogram| (h.hint, h.schema, h.is_stale());
            assert_eq!(kind(got), kind(want));
            skipped += usize::from(!told_whole);
        }
        skipped
    }

    #[test]
    fn what_is_looked_at_is_as_if_all_was() {
        let mut dice = Dice(11);
        let mut skipped = 0;
        for round in 0..400 {
            let mut series = dice.series(60);
            if round % 2 == 1 {
                series = series.iter().map(float).collect();
            }
            let mut t = 0;
            let times: Vec<i64> = series
                .iter()
                .map(|_| {
                    t += 1 + dice.below(40) as i64;
                    t
                })
                .collect();
            for (encoding, _, _, bytes) in chunks_of(times.into_iter().zip(&series)) {
                for wanted in [Wanted::All, Wanted::Newest, Wanted::Edges, Wanted::Times] {
                    let looks = Looks {
                        wanted,
                        start: dice.below(t as u64) as i64,
                        step: dice.below(80) as i64,
                        steps: dice.below(30),
                        range: 1 + dice.below(90) as i64,
                        bare: dice.below(2) == 0,
                    };
                    let last = looks.start + looks.step * (looks.steps as i64 - 1);
                    let range = match dice.below(2) {
                        0 => (i64::MIN, i64::MAX),
                        _ => (looks.start - looks.range + 1, last),
                    };
                    skipped += check((encoding, &bytes), range, &looks);
                }
            }
        }
        assert!(skipped > 10_000, "{skipped}");
    }

    #[test]
    fn ticks_are_found_where_they_are() {
        let ticks = |next, step, left| Ticks { next, step, left };
        let mut all = ticks(10, 5, 3);
        assert!(!all.within(3, 10));
        assert!(all.within(3, 11) && all.within(10, 11));
        assert!(!all.within(11, 15) && all.within(11, 16) && all.within(16, 21));
        assert!(!all.within(21, i64::MAX));
        assert!(!ticks(10, 5, 0).within(0, 100));
        assert!(!ticks(10, 0, 7).within(11, 100) && ticks(10, 0, 7).within(10, 11));
        let mut far = ticks(i64::MIN, i64::MAX, 3);
        assert!(far.within(-5, 0) && far.within(1, i64::MAX));
    }
}

//! What start timestamps say about two samples that follow each other (promql-notes.md 16). 0: not known.

/// A sample's time and start timestamp.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    pub t: i64,
    pub start: i64,
}

/// True when the counter began anew between the two: after the earlier sample, or at it where that one's start is known
/// to be another.
pub fn is_reset(before: Stamp, now: Stamp) -> bool {
    if now.start == 0 || now.start >= now.t {
        return false;
    }
    let known = before.start != 0 && before.start < before.t;
    now.start > before.t || now.start == before.t && known
}

/// True when the later sample began before the earlier one was taken, and not when that one began.
pub fn overlaps(before: Stamp, now: Stamp) -> bool {
    now.start != 0 && now.start < before.t && now.start != before.start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_and_overlaps() {
        let cases = [
            // start and time before, start and time now, reset, overlap
            ((0, 10), (0, 20), false, false),
            ((0, 10), (15, 20), true, false),
            ((5, 10), (10, 20), true, false),
            ((0, 10), (10, 20), false, false),
            ((10, 10), (10, 20), false, false),
            ((12, 10), (10, 20), false, false),
            ((5, 10), (5, 20), false, false),
            ((5, 10), (7, 20), false, true),
            ((5, 10), (20, 20), false, false),
            ((5, 10), (25, 20), false, false),
        ];
        for (before, now, reset, overlap) in cases {
            let stamp = |(start, t)| Stamp { t, start };
            let (before, now) = (stamp(before), stamp(now));
            assert_eq!(is_reset(before, now), reset, "{before:?} {now:?}");
            assert_eq!(overlaps(before, now), overlap, "{before:?} {now:?}");
        }
    }
}

//! Takes out of a push what is not to be stored: refused rows, histograms that are not valid, samples out of time.

use std::iter::Peekable;
use std::slice::Iter;
use std::sync::Arc;

use super::histogram_message::HistogramFault;
use super::remote_write::{Context, Push, PushLimits};
use super::series::canonical_labels;
use super::validate::{adjust, show_series};
use crate::batch::{Exemplar, WriteBatch};

/// Client libraries repeat an exemplar with every scrape; those this much older than the samples of the push are left
/// out.
const EXEMPLAR_AGE_MAX_MS: i64 = 5 * 60 * 1000;

/// Oldest and newest time accepted, both inclusive.
#[derive(Clone, Copy)]
pub struct Times {
    pub oldest: i64,
    pub newest: i64,
    pub exemplars_oldest: i64,
}

impl Times {
    /// oldest_sample: of the push, i64::MAX for none.
    pub fn new(context: &Context<'_>, oldest_sample: i64) -> Self {
        let limits = context.limits;
        Self {
            oldest: match limits.past_grace_ms {
                0 => i64::MIN,
                grace => context.now_ms.saturating_sub(grace),
            },
            newest: context.now_ms.saturating_add(limits.future_grace_ms),
            exemplars_oldest: match oldest_sample {
                i64::MAX => i64::MIN,
                oldest => oldest.saturating_sub(EXEMPLAR_AGE_MAX_MS),
            },
        }
    }
}

struct Settling<'a> {
    push: &'a mut Push,
    limits: &'a PushLimits,
    times: Times,
    faults: Peekable<Iter<'a, (u32, HistogramFault)>>,
}

/// refused: rows, ascending. faults: histograms by number, ascending.
pub fn settle(
    push: &mut Push,
    refused: &[u32],
    faults: &[(u32, HistogramFault)],
    times: Times,
    limits: &PushLimits,
) {
    let old = std::mem::take(&mut push.batch);
    let mut settling = Settling {
        push,
        limits,
        times,
        faults: faults.iter().peekable(),
    };
    let mut kept = WriteBatch {
        key_tag: old.key_tag,
        buf: old.buf.clone(),
        ..WriteBatch::default()
    };
    let mut refused = refused.iter().peekable();
    for row in 0..old.rows() {
        if refused.next_if_eq(&&(row as u32)).is_none() {
            settling.row(&old, row, &mut kept);
        }
    }
    for (ends, items) in [
        (&mut kept.histogram_end, kept.histograms.len()),
        (&mut kept.exemplar_end, kept.exemplars.len()),
    ] {
        if items == 0 {
            ends.clear();
        }
    }
    kept.metadata = old.metadata;
    settling.push.batch = kept;
}

impl Settling<'_> {
    fn row(&mut self, old: &WriteBatch, row: usize, kept: &mut WriteBatch) {
        let before = (kept.ts.len(), kept.histograms.len(), kept.exemplars.len());
        for i in old.samples(row) {
            if self.in_time(old, row, old.ts[i]) {
                kept.ts.push(old.ts[i]);
                kept.values.push(old.values[i]);
                if let Some(&start_ts) = old.start_ts.get(i) {
                    kept.start_ts.push(start_ts);
                }
            }
        }
        for number in old.histogram_range(row) {
            let sample = &old.histograms[number];
            if self.takes_histogram(old, row, number as u32, sample.ts) {
                kept.histograms.push(sample.clone());
            }
        }
        for exemplar in old.exemplars_of(row) {
            if self.takes_exemplar(exemplar) {
                kept.exemplars.push(exemplar.clone());
            }
        }
        let after = (kept.ts.len(), kept.histograms.len(), kept.exemplars.len());
        if before == after {
            return;
        }
        kept.label_range.push(old.label_range[row]);
        kept.hash.push(old.hash[row]);
        kept.token.push(old.token[row]);
        kept.sample_end.push(after.0 as u32);
        kept.histogram_end.push(after.1 as u32);
        kept.exemplar_end.push(after.2 as u32);
    }

    fn in_time(&mut self, batch: &WriteBatch, row: usize, ts: i64) -> bool {
        let Times { oldest, newest, .. } = self.times;
        if ts < oldest || ts > newest {
            reject_time(self.push, batch, row, ts, self.limits, ts > newest);
            return false;
        }
        true
    }

    fn takes_histogram(&mut self, batch: &WriteBatch, row: usize, number: u32, ts: i64) -> bool {
        while self.faults.next_if(|fault| fault.0 < number).is_some() {}
        match self.faults.next_if(|fault| fault.0 == number) {
            None => self.in_time(batch, row, ts),
            Some((_, fault)) => {
                self.push.reject(row, fault.id(), 1, || {
                    format!(
                        "the native histogram of series {} at {ts} {}",
                        shown(batch, row),
                        fault.text()
                    )
                });
                false
            }
        }
    }

    fn takes_exemplar(&mut self, exemplar: &Arc<Exemplar>) -> bool {
        let id = if exemplar.ts > self.times.newest {
            "exemplar-too-far-in-future"
        } else if exemplar.ts < self.times.exemplars_oldest {
            "exemplar-too-far-in-past"
        } else {
            return true;
        };
        self.push.refuse_exemplar(id);
        false
    }
}

fn reject_time(
    push: &mut Push,
    batch: &WriteBatch,
    row: usize,
    ts: i64,
    limits: &PushLimits,
    future: bool,
) {
    let (id, what, grace_ms, flag) = if future {
        (
            "too-far-in-future",
            "future",
            limits.future_grace_ms,
            "validation.create-grace-period",
        )
    } else {
        (
            "too-far-in-past",
            "past",
            limits.past_grace_ms,
            "validation.past-grace-period",
        )
    };
    push.reject(row, id, 1, || {
        format!(
            "timestamp {ts} is more than {} s in the {what}, in series {}; {}",
            grace_ms / 1000,
            shown(batch, row),
            adjust(flag)
        )
    });
}

fn shown(batch: &WriteBatch, row: usize) -> String {
    let labels: Vec<_> = canonical_labels(batch.labels(row)).collect();
    show_series(labels.into_iter())
}

//! Remote write 1.0 to `WriteBatch` (remote-write.md 1 and 2; texts and ids: mimir-atlas.md 1.1).
//!
//! One pass over the body finds each series' label bytes and samples; the label bytes are hashed as they are. What
//! `KnownSeries` holds under that hash is a valid canonical label set, so nothing more is asked. The other rows are
//! read label by label: empty values dropped, labels sorted by name, then checked; what is valid is entered. The order
//! of labels in the body therefore does not matter (senders other than Prometheus do not all sort), but names may not
//! repeat.
//!
//! The batch's buffer is the unpacked body itself; label sets that were not canonical in it are appended.
//!
//! Bounds: the unpacked body has at most `bytes_max` bytes, refused by its declared length and before allocation; the
//! columns made from it have at most three times that.

use std::sync::Arc;

use super::known::{KnownSeries, LabelLimits, generation};
use super::metadata::read_metadata;
use super::proto::{Malformed, Result as ProtoResult};
use super::scan::Scan;
use super::series::{SeriesHasher, TokenBatch, TokenHasher, canonical_labels, write_label};
use super::validate::{LabelSet, adjust, adjust_process, show_series};
use crate::batch::WriteBatch;

/// A snappy block can unpack to at most 64 bytes for each 3 (one copy element); a body that declares more is broken.
const SNAPPY_RATIO_MAX: u64 = 22;
/// The largest body that 32-bit offsets into body and appended label sets can address.
const BODY_BYTES_MAX: usize = 1 << 31;

#[derive(Clone, Debug)]
pub struct PushLimits {
    pub labels: LabelLimits,
    pub metadata_bytes_max: usize,
    pub future_grace_ms: i64,
    /// 0: samples may be of any age.
    pub past_grace_ms: i64,
}

#[derive(Debug, PartialEq, Eq)]
pub enum DecodeFault {
    /// Unpacked it has more bytes, rows or samples than allowed.
    TooLarge(String),
    Malformed(String),
}

impl From<Malformed> for DecodeFault {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(format!(
            "the body is not a remote write 1.0 message: {malformed}"
        ))
    }
}

/// What was refused for one reason: how many samples (or metadata entries), and the text about the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub id: &'static str,
    pub count: u64,
    pub first: String,
    /// Where in the body the first one is: rows, then metadata.
    row: usize,
}

#[derive(Debug, Default)]
pub struct Push {
    pub batch: WriteBatch,
    /// In the order in which the first of each stands in the body.
    pub rejections: Vec<Rejection>,
    /// As sent, valid or not; native histograms count as samples.
    pub samples_received: u64,
    pub metadata_received: u64,
    pub exemplars_dropped: u64,
    /// Newest time of the valid samples.
    pub newest_ms: Option<i64>,
}

impl Push {
    /// `first` is called for the first of a kind only.
    pub fn reject(
        &mut self,
        row: usize,
        id: &'static str,
        count: u64,
        first: impl FnOnce() -> String,
    ) {
        match self.rejections.iter_mut().find(|r| r.id == id) {
            Some(rejection) => {
                rejection.count += count;
                if row < rejection.row {
                    rejection.row = row;
                    rejection.first = first();
                }
            }
            None => self.rejections.push(Rejection {
                id,
                count,
                first: first(),
                row,
            }),
        }
    }
}

/// The context of one decode.
pub struct Context<'a> {
    pub tenant: &'a str,
    pub hasher: &'a SeriesHasher,
    pub known: &'a KnownSeries,
    pub limits: &'a PushLimits,
    pub now_ms: i64,
    pub bytes_max: usize,
}

/// Decode a snappy block.
pub fn decode(body: &[u8], context: &Context<'_>) -> Result<Push, DecodeFault> {
    decode_message(unpack(body, context.bytes_max)?, context)
}

fn unpack(body: &[u8], bytes_max: usize) -> Result<Vec<u8>, DecodeFault> {
    let malformed =
        |e: snap::Error| DecodeFault::Malformed(format!("the body is not a snappy block: {e}"));
    let declared = snap::raw::decompress_len(body).map_err(malformed)?;
    if declared > bytes_max.min(BODY_BYTES_MAX) {
        return Err(DecodeFault::TooLarge(format!(
            "the write request has {declared} bytes unpacked and the limit is {bytes_max}; {}",
            adjust_process("distributor.max-recv-msg-size")
        )));
    }
    if declared as u64 > body.len() as u64 * SNAPPY_RATIO_MAX {
        return Err(DecodeFault::Malformed(format!(
            "the body is not a snappy block: {} bytes cannot unpack to {declared}",
            body.len()
        )));
    }
    snap::raw::Decoder::new()
        .decompress_vec(body)
        .map_err(malformed)
}

/// Decode an unpacked message.
pub fn decode_message(buf: Vec<u8>, context: &Context<'_>) -> Result<Push, DecodeFault> {
    let mut scan = Scan::new(&buf, context);
    scan.body()?;
    let Scan {
        mut push,
        scattered,
        histograms,
        metadata,
        oldest_ms,
        newest_ms,
        ..
    } = scan;
    push.metadata_received = metadata.len() as u64;
    let mut appended = Vec::new();
    let refused = resolve(
        &buf,
        &mut push,
        &mut appended,
        &scattered,
        &histograms,
        context,
    )?;
    let in_time = time_bounds(context);
    let all_in_time =
        push.batch.ts.is_empty() || (oldest_ms >= in_time.0 && newest_ms <= in_time.1);
    read_metadata(&buf, &metadata, &mut push, context.limits)?;
    let mut buf = buf;
    buf.append(&mut appended);
    push.batch.buf = Arc::new(buf);
    push.batch.key_tag = context.hasher.tag();
    if !refused.is_empty() || !histograms.is_empty() || !all_in_time {
        settle(&mut push, &refused, &histograms, in_time, context.limits);
    }
    push.newest_ms = push.batch.ts.iter().copied().max();
    push.rejections.sort_by_key(|rejection| rejection.row);
    Ok(push)
}

/// Oldest and newest time accepted, both inclusive.
fn time_bounds(context: &Context<'_>) -> (i64, i64) {
    let limits = context.limits;
    let oldest = match limits.past_grace_ms {
        0 => i64::MIN,
        grace => context.now_ms.saturating_sub(grace),
    };
    (
        oldest,
        context.now_ms.saturating_add(limits.future_grace_ms),
    )
}

pub fn samples_of(batch: &WriteBatch, row: usize) -> u64 {
    batch.samples(row).len() as u64
}

fn histograms_of(histograms: &[(u32, u32)], row: u32) -> u64 {
    match histograms.binary_search_by_key(&row, |h| h.0) {
        Ok(i) => u64::from(histograms[i].1),
        Err(_) => 0,
    }
}

/// Give every row its token: from the known set, else by validation. Returns the refused rows, ascending.
fn resolve(
    buf: &[u8],
    push: &mut Push,
    appended: &mut Vec<u8>,
    scattered: &[u32],
    histograms: &[(u32, u32)],
    context: &Context<'_>,
) -> ProtoResult<Vec<u32>> {
    let rows = push.batch.hash.len();
    let now = generation(context.now_ms);
    let mut tokens = vec![0; rows];
    let mut missed = Vec::new();
    {
        let mut known = context.known.lock();
        known.enter(context.tenant, &context.limits.labels);
        known.find(&push.batch.hash, now, &mut tokens, &mut missed);
    }
    if !scattered.is_empty() {
        missed.extend_from_slice(scattered);
        missed.sort_unstable();
        missed.dedup();
    }
    push.batch.token = tokens;
    if missed.is_empty() {
        return Ok(Vec::new());
    }
    let refused = admit(buf, push, appended, &missed, histograms, context)?;
    let mut known = context.known.lock();
    known.enter(context.tenant, &context.limits.labels);
    let mut next_refused = refused.iter().peekable();
    for &row in &missed {
        if next_refused.next_if_eq(&&row).is_none() {
            known.insert(
                push.batch.hash[row as usize],
                push.batch.token[row as usize],
                now,
            );
        }
    }
    Ok(refused)
}

/// Validate and canonicalise the rows in `missed` (ascending); set their token, hash and range. Returns the refused.
fn admit(
    buf: &[u8],
    push: &mut Push,
    appended: &mut Vec<u8>,
    missed: &[u32],
    histograms: &[(u32, u32)],
    context: &Context<'_>,
) -> ProtoResult<Vec<u32>> {
    let limits = &context.limits.labels;
    let mut tokens = TokenBatch::new(TokenHasher::new(context.tenant));
    let mut set = LabelSet::default();
    let mut refused = Vec::new();
    for &missed_row in missed {
        let row = missed_row as usize;
        let (start, len) = push.batch.label_range[row];
        let end = start as usize + len as usize;
        set.read(buf, start as usize, end, limits)?;
        if let Err(fault) = set.check(buf, limits) {
            let count = samples_of(&push.batch, row) + histograms_of(histograms, missed_row);
            push.reject(row, fault.id(), count, || set.explain(buf, limits, fault));
            refused.push(missed_row);
            continue;
        }
        tokens.add(missed_row, set.iter(buf), &mut push.batch.token);
        if !set.is_canonical() {
            let from = appended.len();
            set.iter(buf)
                .for_each(|(name, value)| write_label(appended, name, value));
            push.batch.hash[row] = context.hasher.hash(&appended[from..]);
            push.batch.label_range[row] =
                ((buf.len() + from) as u32, (appended.len() - from) as u32);
        }
    }
    tokens.finish(&mut push.batch.token);
    Ok(refused)
}

/// Take refused rows, histograms and samples out of time out of the batch, in place.
fn settle(
    push: &mut Push,
    refused: &[u32],
    histograms: &[(u32, u32)],
    in_time: (i64, i64),
    limits: &PushLimits,
) {
    let mut batch = std::mem::take(&mut push.batch);
    let mut refused = refused.iter().peekable();
    let (mut row_to, mut sample_to, mut sample_from) = (0, 0, 0);
    for row in 0..batch.label_range.len() {
        let samples = sample_from..batch.sample_end[row] as usize;
        sample_from = samples.end;
        if refused.next_if_eq(&&(row as u32)).is_some() {
            continue;
        }
        let unsupported = histograms_of(histograms, row as u32);
        if unsupported > 0 {
            push.reject(row, "invalid-native-histogram-schema", unsupported, || {
                format!(
                    "native histograms are not supported yet, in series {}",
                    shown(&batch, row)
                )
            });
        }
        let kept_from = sample_to;
        for i in samples {
            let ts = batch.ts[i];
            if ts < in_time.0 || ts > in_time.1 {
                reject_time(push, &batch, row, ts, limits, ts > in_time.1);
                continue;
            }
            batch.ts[sample_to] = ts;
            batch.values[sample_to] = batch.values[i];
            sample_to += 1;
        }
        if sample_to > kept_from {
            move_row(&mut batch, row, row_to, sample_to);
            row_to += 1;
        }
    }
    batch.label_range.truncate(row_to);
    batch.hash.truncate(row_to);
    batch.token.truncate(row_to);
    batch.sample_end.truncate(row_to);
    batch.ts.truncate(sample_to);
    batch.values.truncate(sample_to);
    push.batch = batch;
}

fn move_row(batch: &mut WriteBatch, from: usize, to: usize, sample_end: usize) {
    batch.label_range[to] = batch.label_range[from];
    batch.hash[to] = batch.hash[from];
    batch.token[to] = batch.token[from];
    batch.sample_end[to] = sample_end as u32;
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

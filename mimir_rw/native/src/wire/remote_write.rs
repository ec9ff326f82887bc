//! Remote write 1.0 and 2.0 to `WriteBatch` (remote-write.md 1 to 4; texts and ids: mimir-atlas.md 1.1).
//!
//! One pass over the body finds each series' label bytes and samples; the label bytes are hashed as they are. What
//! `KnownSeries` holds under that hash is a valid canonical label set, so nothing more is asked. The other rows are
//! read label by label: empty values dropped, labels sorted by name, then checked; what is valid is entered. The order
//! of labels in the body therefore does not matter (senders other than Prometheus do not all sort), but names may not
//! repeat.
//!
//! The batch's buffer is the unpacked body itself, or of 2.0 the label sets written out (scan_v2.rs); label sets that
//! were not canonical in it are appended.
//!
//! Bounds: the unpacked body has at most `bytes_max` bytes, refused by its declared length and before allocation; the
//! columns made from it have at most three times that, native histograms at most ten times their bytes.

use std::sync::Arc;

use super::columns::Columns;
use super::histogram_message::HistogramFault;
use super::known::{KnownSeries, LabelLimits, generation};
use super::metadata::{add_series_metadata, read_metadata};
use super::proto::{Malformed, Result as ProtoResult};
use super::recent_metadata::RecentMetadata;
use super::scan::Scan;
use super::scan_v2::ScanV2;
use super::series::{SeriesHasher, TokenBatch, TokenHasher, write_label};
use super::settle::{Times, settle};
use super::validate::{LabelSet, adjust_process};
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
    /// Whether native histograms are taken.
    pub histograms: bool,
    /// 0: any number.
    pub histogram_buckets_max: usize,
    /// Whether a histogram with more buckets gets a coarser resolution; otherwise it is refused.
    pub reduce_histograms: bool,
    /// Whether exemplars are taken.
    pub exemplars: bool,
    /// Whether type and unit of metadata (of 2.0) become labels.
    pub type_and_unit_labels: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
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
            "the body is not a remote write message: {malformed}"
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
    pub exemplars_received: u64,
    /// Those that were not read because the tenant's are not stored.
    pub exemplars_dropped: u64,
    /// Those that were left out, by reason. They are no rejections: what is wrong with one is not the push's fault.
    pub exemplar_refusals: Vec<(&'static str, u64)>,
    /// Native histograms left out because the tenant's are not stored; not among the samples received.
    pub histograms_dropped: u64,
    /// Newest time of the valid samples.
    pub newest_ms: Option<i64>,
}

impl Push {
    pub fn refuse_exemplar(&mut self, id: &'static str) {
        match self.exemplar_refusals.iter_mut().find(|r| r.0 == id) {
            Some(refusal) => refusal.1 += 1,
            None => self.exemplar_refusals.push((id, 1)),
        }
    }

    /// Exemplars and histograms that were left out so far.
    pub fn left_out(&self) -> u64 {
        let refused: u64 = self.exemplar_refusals.iter().map(|r| r.1).sum();
        refused + self.exemplars_dropped + self.histograms_dropped
    }

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
    /// For metadata of 2.0; None: none is held back.
    pub recent_metadata: Option<&'a RecentMetadata>,
    pub version: Version,
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
    match context.version {
        Version::V1 => decode_v1(buf, context),
        Version::V2 => decode_v2(&buf, context),
    }
}

fn decode_v1(buf: Vec<u8>, context: &Context<'_>) -> Result<Push, DecodeFault> {
    let mut scan = Scan::new(&buf, context);
    scan.body()?;
    let Scan {
        columns,
        scattered,
        metadata,
        ..
    } = scan;
    let rows = Rows::of(columns);
    let mut rows = rows.resolved(&buf, &scattered, context)?;
    read_metadata(&buf, &metadata, &mut rows.push, context.limits)?;
    Ok(rows.settled(buf, context))
}

fn decode_v2(buf: &[u8], context: &Context<'_>) -> Result<Push, DecodeFault> {
    let mut scan = ScanV2::new(buf, context);
    scan.body()?;
    let ScanV2 {
        columns,
        labels,
        metadata,
        ..
    } = scan;
    let rows = Rows::of(columns);
    let mut rows = rows.resolved(&labels, &[], context)?;
    add_series_metadata(&metadata, &mut rows.push, context);
    Ok(rows.settled(labels, context))
}

/// Columns of a message on their way to a push.
struct Rows {
    push: Push,
    histogram_faults: Vec<(u32, HistogramFault)>,
    /// Of samples and histograms, and of exemplars.
    extent: (i64, i64),
    exemplar_extent: (i64, i64),
    refused: Vec<u32>,
    appended: Vec<u8>,
}

impl Rows {
    fn of(columns: Columns<'_>) -> Self {
        Self {
            push: columns.push,
            histogram_faults: columns.histogram_faults,
            extent: (columns.oldest_ms, columns.newest_ms),
            exemplar_extent: (columns.exemplars_oldest_ms, columns.exemplars_newest_ms),
            refused: Vec::new(),
            appended: Vec::new(),
        }
    }

    /// buf: what label ranges are of.
    fn resolved(
        mut self,
        buf: &[u8],
        scattered: &[u32],
        context: &Context<'_>,
    ) -> ProtoResult<Self> {
        self.refused = resolve(buf, &mut self.push, &mut self.appended, scattered, context)?;
        Ok(self)
    }

    fn settled(mut self, mut buf: Vec<u8>, context: &Context<'_>) -> Push {
        buf.append(&mut self.appended);
        let push = &mut self.push;
        push.batch.buf = Arc::new(buf);
        push.batch.key_tag = context.hasher.tag();
        let times = Times::new(context, self.extent.0);
        let in_time = self.extent.0 >= times.oldest
            && self.extent.1 <= times.newest
            && self.exemplar_extent.0 >= times.exemplars_oldest
            && self.exemplar_extent.1 <= times.newest;
        if !self.refused.is_empty() || !self.histogram_faults.is_empty() || !in_time {
            settle(
                push,
                &self.refused,
                &self.histogram_faults,
                times,
                context.limits,
            );
        }
        let histograms = push.batch.histograms.iter().map(|sample| sample.ts);
        push.newest_ms = push.batch.ts.iter().copied().chain(histograms).max();
        push.rejections.sort_by_key(|rejection| rejection.row);
        self.push
    }
}

fn samples_of(batch: &WriteBatch, row: usize) -> u64 {
    (batch.samples(row).len() + batch.histograms_of(row).len()) as u64
}

/// Give every row its token: from the known set, else by validation. Returns the refused rows, ascending.
fn resolve(
    buf: &[u8],
    push: &mut Push,
    appended: &mut Vec<u8>,
    scattered: &[u32],
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
    let refused = admit(buf, push, appended, &missed, context)?;
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
            let count = samples_of(&push.batch, row);
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

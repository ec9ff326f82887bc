//! Identity of a series: keyed hash and ring token, both over its canonical labels.
//!
//! Canonical labels are the protobuf encoding that `WriteBatch` holds: `0a len (0a n name 12 m value)` for each
//! label, shortest varints, sorted by name, names unique, values not empty.

use highway::{HighwayHash, HighwayHasher, Key};

use super::proto::{Reader, Result, Wire};

pub const METRIC_NAME: &[u8] = b"__name__";
const FNV_BASIS: u32 = 2_166_136_261;
const FNV_PRIME: u32 = 16_777_619;

/// The cluster's secret key, ready to hash with.
#[derive(Clone)]
pub struct SeriesHasher(HighwayHasher);

impl SeriesHasher {
    pub fn new(key: &[u8; 32]) -> Self {
        let mut words = [0u64; 4];
        for (word, bytes) in words.iter_mut().zip(key.chunks_exact(8)) {
            *word = bytes
                .iter()
                .rev()
                .fold(0, |acc, &b| acc << 8 | u64::from(b));
        }
        Self(HighwayHasher::new(Key(words)))
    }

    /// Names the key without giving it away.
    pub fn tag(&self) -> u64 {
        self.0.clone().hash64(b"series key tag")
    }

    /// HighwayHash-128 of canonical labels.
    #[inline]
    pub fn hash(&self, canonical: &[u8]) -> u128 {
        let [low, high] = self.0.clone().hash128(canonical);
        u128::from(high) << 64 | u128::from(low)
    }
}

/// Ring tokens of one tenant: FNV-1 over the tenant, then each label's name and value, nothing between them.
#[derive(Clone, Copy, Debug)]
pub struct TokenHasher(u32);

impl TokenHasher {
    pub fn new(tenant: &str) -> Self {
        Self(fnv1(FNV_BASIS, tenant.as_bytes()))
    }

    pub fn token<'a>(&self, labels: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> u32 {
        labels.into_iter().fold(self.0, |state, (name, value)| {
            fnv1(fnv1(state, name), value)
        })
    }
}

fn fnv1(state: u32, bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(state, |state, &byte| fnv1_step(state, byte))
}

#[inline(always)]
fn fnv1_step(state: u32, byte: u8) -> u32 {
    state.wrapping_mul(FNV_PRIME) ^ u32::from(byte)
}

/// Tokens of many series. FNV-1 waits for its own last step at each byte, so four series go side by side.
pub struct TokenBatch {
    hasher: TokenHasher,
    /// Names and values of the series collected, one series after another.
    text: Vec<u8>,
    /// Row and end in `text` of each of them.
    ends: Vec<(u32, usize)>,
}

const TOKEN_LANES: usize = 4;

impl TokenBatch {
    pub fn new(hasher: TokenHasher) -> Self {
        Self {
            hasher,
            text: Vec::new(),
            ends: Vec::with_capacity(TOKEN_LANES),
        }
    }

    /// Add a series; `tokens[row]` is set by now or by a later call, of `finish` at the latest.
    pub fn add<'a>(
        &mut self,
        row: u32,
        labels: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        tokens: &mut [u32],
    ) {
        for (name, value) in labels {
            self.text.extend_from_slice(name);
            self.text.extend_from_slice(value);
        }
        self.ends.push((row, self.text.len()));
        if self.ends.len() == TOKEN_LANES {
            self.finish(tokens);
        }
    }

    pub fn finish(&mut self, tokens: &mut [u32]) {
        let mut lanes = [&self.text[..0]; TOKEN_LANES];
        let mut start = 0;
        for (lane, &(_, end)) in lanes.iter_mut().zip(&self.ends) {
            *lane = &self.text[start..end];
            start = end;
        }
        let states = self.side_by_side(lanes);
        for (&(row, _), state) in self.ends.iter().zip(states) {
            tokens[row as usize] = state;
        }
        self.text.clear();
        self.ends.clear();
    }

    fn side_by_side(&self, lanes: [&[u8]; TOKEN_LANES]) -> [u32; TOKEN_LANES] {
        let common = lanes.iter().map(|lane| lane.len()).min().unwrap_or(0);
        let [a, b, c, d] = lanes.map(|lane| &lane[..common]);
        let mut states = [self.hasher.0; TOKEN_LANES];
        for (((&a, &b), &c), &d) in a.iter().zip(b).zip(c).zip(d) {
            states[0] = fnv1_step(states[0], a);
            states[1] = fnv1_step(states[1], b);
            states[2] = fnv1_step(states[2], c);
            states[3] = fnv1_step(states[3], d);
        }
        std::array::from_fn(|i| fnv1(states[i], &lanes[i][common..]))
    }
}

/// Offsets of one label's name and value in the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LabelSpan {
    name: (u32, u32),
    value: (u32, u32),
}

impl LabelSpan {
    pub fn name<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        &buf[self.name.0 as usize..self.name.1 as usize]
    }

    pub fn value<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        &buf[self.value.0 as usize..self.value.1 as usize]
    }

    pub fn has_value(&self) -> bool {
        self.value.0 < self.value.1
    }

    pub fn name_is_first(&self) -> bool {
        self.name.0 < self.value.0
    }

    /// Bytes of the label's canonical encoding.
    pub fn canonical_bytes(&self) -> usize {
        canonical_label_bytes(
            (self.name.1 - self.name.0) as usize,
            (self.value.1 - self.value.0) as usize,
        )
    }
}

/// Read one `Label` message. As always in protobuf, the last of a repeated field counts and an absent one is empty.
pub fn read_label(buf: &[u8], start: usize, end: usize) -> Result<LabelSpan> {
    if let Some(label) = plain_label(buf, start, end) {
        return Ok(label);
    }
    let mut reader = Reader::within(buf, start, end);
    let mut label = LabelSpan::default();
    while let Some((number, wire)) = reader.field()? {
        let field = match (number, wire) {
            (1, Wire::Bytes) => &mut label.name,
            (2, Wire::Bytes) => &mut label.value,
            _ => {
                reader.skip(number, wire)?;
                continue;
            }
        };
        let (from, to) = reader.bytes()?;
        *field = (from as u32, to as u32);
    }
    Ok(label)
}

/// The usual encoding: name, then value, both shorter than 128 bytes, nothing else.
#[inline]
fn plain_label(buf: &[u8], start: usize, end: usize) -> Option<LabelSpan> {
    let bytes = &buf[start..end];
    let [0x0a, name_len @ 0..0x80, ..] = *bytes else {
        return None;
    };
    let name_end = 2 + usize::from(name_len);
    let [0x12, value_len @ 0..0x80, ..] = *bytes.get(name_end..)? else {
        return None;
    };
    let value_start = name_end + 2;
    (value_start + usize::from(value_len) == bytes.len()).then_some(LabelSpan {
        name: ((start + 2) as u32, (start + name_end) as u32),
        value: ((start + value_start) as u32, end as u32),
    })
}

/// Append the canonical encoding of one label.
pub fn write_label(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let inner = label_bytes(name.len(), value.len());
    out.push(0x0a);
    write_varint(out, inner);
    out.push(0x0a);
    write_varint(out, name.len());
    out.extend_from_slice(name);
    out.push(0x12);
    write_varint(out, value.len());
    out.extend_from_slice(value);
}

/// Names and values of canonical labels, in order. Stops where the bytes are not canonical.
pub fn canonical_labels(canonical: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut reader = Reader::new(canonical);
    std::iter::from_fn(move || {
        let (1, Wire::Bytes) = reader.field().ok()?? else {
            return None;
        };
        let (start, end) = reader.bytes().ok()?;
        let label = read_label(canonical, start, end).ok()?;
        Some((label.name(canonical), label.value(canonical)))
    })
}

/// Bytes of the canonical encoding of a label of these lengths.
pub fn canonical_label_bytes(name: usize, value: usize) -> usize {
    let inner = label_bytes(name, value);
    1 + varint_bytes(inner) + inner
}

/// Bytes of a canonical Label message of these lengths.
fn label_bytes(name: usize, value: usize) -> usize {
    2 + varint_bytes(name) + varint_bytes(value) + name + value
}

fn varint_bytes(n: usize) -> usize {
    1 + (n > 0x7f) as usize
        + (n > 0x3fff) as usize
        + (n > 0x1f_ffff) as usize
        + (n > 0xfff_ffff) as usize
}

fn write_varint(out: &mut Vec<u8>, mut n: usize) {
    while n > 0x7f {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(labels: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, value) in labels {
            write_label(&mut out, name.as_bytes(), value.as_bytes());
        }
        out
    }

    #[test]
    fn token_is_fnv1_over_tenant_names_and_values() {
        let bytes = canonical(&[("__name__", "up"), ("job", "a")]);
        let token = TokenHasher::new("user-1").token(canonical_labels(&bytes));
        assert_eq!(token, 4_177_082_754);
        assert_eq!(fnv1(FNV_BASIS, b"user-1up"), 1_612_714_009);
    }

    #[test]
    fn tokens_side_by_side_are_the_tokens_one_by_one() {
        let hasher = TokenHasher::new("user-1");
        let sets: Vec<Vec<u8>> = (0..11)
            .map(|i| canonical(&[("__name__", "up"), ("job", &"a".repeat(i * 7 % 5))]))
            .collect();
        let mut tokens = vec![0; sets.len()];
        let mut batch = TokenBatch::new(hasher);
        for (row, set) in sets.iter().enumerate() {
            batch.add(row as u32, canonical_labels(set), &mut tokens);
        }
        batch.finish(&mut tokens);
        let expected: Vec<u32> = sets
            .iter()
            .map(|set| hasher.token(canonical_labels(set)))
            .collect();
        assert_eq!(tokens, expected);
    }

    #[test]
    fn hash_is_highwayhash_128_under_the_key() {
        // First vector of the reference implementation's own test: key bytes 0..32, no data.
        let key: [u8; 32] = std::array::from_fn(|i| i as u8);
        let hasher = SeriesHasher::new(&key);
        assert_eq!(hasher.hash(&[]), 0x3356_5e76_7f09_3e6f_0fed_268f_9d8f_fec7);
        assert_ne!(hasher.hash(b"a"), SeriesHasher::new(&[0; 32]).hash(b"a"));
        assert_ne!(hasher.hash(b"a"), hasher.hash(b"a\0"));
        assert_eq!(hasher.hash(b"a"), hasher.hash(b"a"));
    }

    #[test]
    fn labels_round_trip_at_every_varint_size() {
        for bytes in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152] {
            let name = "n".repeat(bytes);
            let value = "v".repeat(bytes + 1);
            let encoded = canonical(&[(&name, &value), ("z", "1")]);
            let labels: Vec<_> = canonical_labels(&encoded).collect();
            assert_eq!(
                labels,
                [(name.as_bytes(), value.as_bytes()), (&b"z"[..], &b"1"[..])]
            );
        }
    }
}

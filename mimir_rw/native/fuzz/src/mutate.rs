//! Inputs from seeds: byte mutations plus some that know what binary formats are made of (length prefixes, varints,
//! big-endian lengths, repeated records).

/// SplitMix64: small, seeded, good enough to choose mutations.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform enough in 0..n; n = 0 gives 0.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 {
            0
        } else {
            (self.word() % n as u64) as usize
        }
    }
}

const INPUT_BYTES_MAX: usize = 1 << 20;
const BYTES: [u8; 12] = [
    0, 1, 2, 0x0a, 0x12, 0x1a, 0x22, 0x7f, 0x80, 0x81, 0xfe, 0xff,
];
const LENGTHS: [u64; 12] = [
    0,
    1,
    127,
    128,
    255,
    256,
    65_535,
    1 << 20,
    (1 << 31) - 1,
    u32::MAX as u64,
    1 << 40,
    u64::MAX,
];

/// One input: a seed with a handful of mutations; now and then the seed as it is, or noise.
pub fn input(rng: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    if seeds.is_empty() || rng.below(64) == 0 {
        let len = rng.below(64);
        return (0..len).map(|_| rng.word() as u8).collect();
    }
    let mut data = seeds[rng.below(seeds.len())].clone();
    let mutations = [0, 1, 1, 1, 2, 2, 3, 4, 6, 10, 20][rng.below(11)];
    for _ in 0..mutations {
        mutate(rng, &mut data, seeds);
    }
    data.truncate(INPUT_BYTES_MAX);
    data
}

fn mutate(rng: &mut Rng, data: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let at = rng.below(data.len() + 1);
    let reach = if rng.below(4) == 0 { data.len() } else { 16 };
    let span = 1 + rng.below(reach);
    let to = (at + span).min(data.len());
    match rng.below(13) {
        0 if at < data.len() => data[at] ^= 1 << rng.below(8),
        1 if at < data.len() => data[at] = rng.word() as u8,
        2 if at < data.len() => data[at] = BYTES[rng.below(BYTES.len())],
        3 if at < data.len() => data[at] = data[at].wrapping_add([1, 255, 2, 254][rng.below(4)]),
        4 => drop(data.drain(at..to)),
        5 => data.truncate(at),
        6 => insert(data, at, &rng.word().to_le_bytes()[..1 + span % 2]),
        7 => repeat(rng, data, at, to),
        8 => splice(rng, data, at, seeds),
        9 => replace(
            data,
            at,
            to.min(at + 1),
            &varint(LENGTHS[rng.below(LENGTHS.len())]),
        ),
        10 => replace(
            data,
            at,
            (at + 4).min(data.len()),
            &(LENGTHS[rng.below(LENGTHS.len())] as u32).to_be_bytes(),
        ),
        11 => wrap(rng, data, at, to),
        _ => shuffle(rng, data, at, to),
    }
}

fn insert(data: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    replace(data, at, at, bytes);
}

fn replace(data: &mut Vec<u8>, from: usize, to: usize, bytes: &[u8]) {
    data.splice(from..to, bytes.iter().copied());
}

/// A range again, once or very often.
fn repeat(rng: &mut Rng, data: &mut Vec<u8>, at: usize, to: usize) {
    let bytes = data[at..to].to_vec();
    let times =
        [1, 2, 10, 1000][rng.below(4)].min(INPUT_BYTES_MAX / (bytes.len() + data.len() + 1));
    insert(data, at, &bytes.repeat(times));
}

/// A range of some seed in the middle of this one.
fn splice(rng: &mut Rng, data: &mut Vec<u8>, at: usize, seeds: &[Vec<u8>]) {
    let other = &seeds[rng.below(seeds.len())];
    let from = rng.below(other.len() + 1);
    let len = rng.below(other.len() - from + 1);
    insert(data, at, &other[from..from + len]);
}

/// A range as the payload of a length-delimited protobuf field.
fn wrap(rng: &mut Rng, data: &mut Vec<u8>, at: usize, to: usize) {
    let mut head = vec![(1 + rng.below(5) as u8) << 3 | 2];
    head.extend(varint((to - at) as u64));
    insert(data, at, &head);
}

fn shuffle(rng: &mut Rng, data: &mut [u8], at: usize, to: usize) {
    for i in (at + 1..to).rev() {
        data.swap(i, at + rng.below(i - at + 1));
    }
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

//! Bytes of open chunks: lists of 64-byte blocks.
//!
//! An open chunk grows by a few bytes at a time while all its neighbours do the same. Lists of equal blocks give that
//! without a copy and without holes in the heap: the waste is half a block per chunk, and an append touches one line.

use crate::codec::bits::BitSink;

pub const BLOCK_BYTES: usize = 64;
const BLOCK_BITS: u16 = 8 * BLOCK_BYTES as u16;
const PAGE_BLOCKS: usize = 1024;

/// No block.
pub const NONE: u32 = u32::MAX;

#[repr(align(64))]
#[derive(Clone)]
struct Block([u8; BLOCK_BYTES]);

#[derive(Default)]
pub struct Blocks {
    pages: Vec<Vec<Block>>,
    /// The block after each one, in its list or in the free list.
    next: Vec<u32>,
    free: Option<u32>,
}

impl Blocks {
    #[inline]
    fn block(&self, at: u32) -> &[u8; BLOCK_BYTES] {
        &self.pages[at as usize / PAGE_BLOCKS][at as usize % PAGE_BLOCKS].0
    }

    #[inline]
    fn block_mut(&mut self, at: u32) -> &mut [u8; BLOCK_BYTES] {
        &mut self.pages[at as usize / PAGE_BLOCKS][at as usize % PAGE_BLOCKS].0
    }

    /// A zeroed block outside every list.
    fn allocate(&mut self) -> u32 {
        if let Some(at) = self.free {
            let after = self.next[at as usize];
            self.free = (after != NONE).then_some(after);
            self.next[at as usize] = NONE;
            *self.block_mut(at) = [0; BLOCK_BYTES];
            return at;
        }
        let at = self.next.len();
        if at.is_multiple_of(PAGE_BLOCKS) {
            self.pages.push(vec![Block([0; BLOCK_BYTES]); PAGE_BLOCKS]);
        }
        self.next.push(NONE);
        at as u32
    }

    /// Copy the first `len` bytes of the list to `out`.
    pub fn copy_to(&self, head: u32, len: usize, out: &mut Vec<u8>) {
        let mut at = head;
        let mut rest = len;
        while rest > 0 && at != NONE {
            let n = rest.min(BLOCK_BYTES);
            out.extend_from_slice(&self.block(at)[..n]);
            rest -= n;
            at = self.next[at as usize];
        }
    }

    /// Read from the block that the stream's next bits go to.
    #[inline]
    pub fn touch(&self, stream: &BlockStream) -> u64 {
        match stream.tail {
            NONE => 0,
            tail => u64::from(self.block(tail)[0]),
        }
    }

    /// Give the list back.
    pub fn release(&mut self, stream: &mut BlockStream) {
        if stream.head != NONE {
            self.next[stream.tail as usize] = self.free.unwrap_or(NONE);
            self.free = Some(stream.head);
        }
        *stream = BlockStream::default();
    }

    pub fn memory_bytes(&self) -> usize {
        self.pages.len() * PAGE_BLOCKS * BLOCK_BYTES + self.next.capacity() * 4
    }
}

/// A bit stream in a list of blocks.
#[derive(Clone, Copy, Debug)]
pub struct BlockStream {
    pub head: u32,
    tail: u32,
    bits: u16,
}

impl Default for BlockStream {
    fn default() -> Self {
        BlockStream {
            head: NONE,
            tail: NONE,
            bits: 0,
        }
    }
}

impl BlockStream {
    #[inline]
    pub fn byte_len(&self) -> usize {
        usize::from(self.bits).div_ceil(8)
    }
}

/// A stream bound to its blocks, for an append.
pub struct BlockSink<'a> {
    pub blocks: &'a mut Blocks,
    pub stream: &'a mut BlockStream,
}

impl BlockSink<'_> {
    fn grow(&mut self) {
        let fresh = self.blocks.allocate();
        if self.stream.head == NONE {
            self.stream.head = fresh;
        } else {
            self.blocks.next[self.stream.tail as usize] = fresh;
        }
        self.stream.tail = fresh;
    }

    /// Near the end of a block: split at it, byte by byte.
    #[cold]
    fn put_at_end(&mut self, left: u64, n: u32) {
        let room = u32::from(BLOCK_BITS - self.stream.bits % BLOCK_BITS);
        if n > room {
            self.put_at_end(left >> (64 - room) << (64 - room), room);
            return self.put(left << room, n - room);
        }
        let at = usize::from(self.stream.bits >> 3) % BLOCK_BYTES;
        let off = u32::from(self.stream.bits & 7);
        let wide = (u128::from(left) << 64 >> off).to_be_bytes();
        let block = self.blocks.block_mut(self.stream.tail);
        for (to, from) in block[at..].iter_mut().zip(wide) {
            *to |= from;
        }
        self.stream.bits += n as u16;
    }
}

impl BitSink for BlockSink<'_> {
    #[inline]
    fn put(&mut self, left: u64, n: u32) {
        if n == 0 {
            return;
        }
        if self.stream.bits.is_multiple_of(BLOCK_BITS) {
            self.grow();
        }
        let at = usize::from(self.stream.bits >> 3) % BLOCK_BYTES;
        let off = u32::from(self.stream.bits & 7);
        let block = self.blocks.block_mut(self.stream.tail);
        let Some(nine) = block.get_mut(at..at + 9) else {
            return self.put_at_end(left, n);
        };
        let (word, last) = nine.split_at_mut(8);
        let old = u64::from_be_bytes(word.try_into().unwrap_or([0; 8]));
        word.copy_from_slice(&(old | left >> off).to_be_bytes());
        last[0] |= (left.unbounded_shl(64 - off) >> 56) as u8;
        self.stream.bits += n as u16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::bits::BitVec;

    #[test]
    fn a_block_stream_holds_what_a_vector_would() {
        let mut blocks = Blocks::default();
        let mut streams = [BlockStream::default(), BlockStream::default()];
        let mut plain = [BitVec::default(), BitVec::default()];
        let mut seed = 7u64;
        for round in 0..3 {
            for i in 0..400usize {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let n = (seed >> 58) as u32 % 64 + 1;
                let left = seed >> (64 - n) << (64 - n);
                let which = i % 2;
                plain[which].put(left, n);
                let mut sink = BlockSink {
                    blocks: &mut blocks,
                    stream: &mut streams[which],
                };
                sink.put(left, n);
            }
            for (stream, plain) in streams.iter_mut().zip(&mut plain) {
                let mut got = Vec::new();
                blocks.copy_to(stream.head, stream.byte_len(), &mut got);
                assert_eq!(got, plain.bytes, "round {round}");
                blocks.release(stream);
                *plain = BitVec::default();
            }
        }
        assert!(blocks.next.len() < 120, "released blocks are used again");
    }
}

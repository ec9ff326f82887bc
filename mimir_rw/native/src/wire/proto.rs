//! Protobuf wire format, read only: a cursor over one message.
//!
//! Total: every length is checked against the message that holds it, nothing is allocated, nothing recurses. A field
//! whose number is known but whose wire type is another one counts as unknown, as in the protobuf runtimes.

use std::fmt;

/// Groups (obsolete, only ever skipped here) may nest this deep.
const GROUP_DEPTH_MAX: usize = 32;
const FIELD_MAX: u64 = (1 << 29) - 1;

/// The bytes are no protobuf message. The text completes "cannot decode: …".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

pub type Result<T> = std::result::Result<T, Malformed>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Varint,
    Fixed64,
    Bytes,
    GroupStart,
    GroupEnd,
    Fixed32,
}

/// Position within `data[..end]`; `data` is the whole body, so that positions are offsets into it.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    data: &'a [u8],
    pos: usize,
}

impl<'a> Reader<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, pos: 0 }
    }

    /// A reader of `data[start..end]` whose positions count from the start of `data`.
    pub fn within(data: &'a [u8], start: usize, end: usize) -> Self {
        Self {
            data: &data[..end],
            pos: start,
        }
    }

    pub fn pos(&self) -> usize {
        self.pos
    }

    pub fn end(&self) -> usize {
        self.data.len()
    }

    /// What is left of the message.
    pub fn rest(&self) -> &'a [u8] {
        &self.data[self.pos..]
    }

    /// Step over `n` bytes that the caller has looked at through `rest`.
    pub fn advance(&mut self, n: usize) {
        debug_assert!(n <= self.data.len() - self.pos);
        self.pos += n;
    }

    #[inline(always)]
    pub fn varint(&mut self) -> Result<u64> {
        match self.data.get(self.pos) {
            Some(&byte) if byte < 0x80 => {
                self.pos += 1;
                Ok(u64::from(byte))
            }
            Some(_) => self.varint_long(),
            None => Err(Malformed("the message ends within a field")),
        }
    }

    #[inline]
    fn varint_long(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for (i, &byte) in self.rest().iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                if i == 9 && byte > 1 {
                    break;
                }
                self.pos += i + 1;
                return Ok(value);
            }
        }
        Err(Malformed(if self.rest().len() < 10 {
            "the message ends within a varint"
        } else {
            "a varint is longer than 64 bits"
        }))
    }

    /// The next field's number and wire type, or None at the end of the message.
    #[inline]
    pub fn field(&mut self) -> Result<Option<(u32, Wire)>> {
        if self.pos == self.data.len() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = tag >> 3;
        if number == 0 || number > FIELD_MAX {
            return Err(Malformed("a field number is out of range"));
        }
        let wire = match tag & 7 {
            0 => Wire::Varint,
            1 => Wire::Fixed64,
            2 => Wire::Bytes,
            3 => Wire::GroupStart,
            4 => Wire::GroupEnd,
            5 => Wire::Fixed32,
            _ => return Err(Malformed("a wire type is unknown")),
        };
        Ok(Some((number as u32, wire)))
    }

    #[inline]
    pub fn fixed64(&mut self) -> Result<u64> {
        let bytes = self
            .rest()
            .first_chunk::<8>()
            .ok_or(Malformed("the message ends within a field"))?;
        self.pos += 8;
        Ok(u64::from_le_bytes(*bytes))
    }

    #[inline]
    pub fn double(&mut self) -> Result<f64> {
        self.fixed64().map(f64::from_bits)
    }

    /// A reader of a length-delimited field; this one steps over it.
    #[inline]
    pub fn nested(&mut self) -> Result<Self> {
        let (start, end) = self.bytes()?;
        Ok(Self {
            data: &self.data[..end],
            pos: start,
        })
    }

    /// The extent of a length-delimited field, as offsets into the body.
    #[inline(always)]
    pub fn bytes(&mut self) -> Result<(usize, usize)> {
        let len = self.varint()?;
        if len > (self.data.len() - self.pos) as u64 {
            return Err(Malformed(
                "a field is longer than the message that holds it",
            ));
        }
        let start = self.pos;
        self.pos += len as usize;
        Ok((start, self.pos))
    }

    /// Step over the value of a field just announced by `field`.
    pub fn skip(&mut self, number: u32, wire: Wire) -> Result<()> {
        match wire {
            Wire::Varint => self.varint().map(drop),
            Wire::Fixed64 => self.fixed64().map(drop),
            Wire::Bytes => self.bytes().map(drop),
            Wire::Fixed32 => self.skip_fixed32(),
            Wire::GroupStart => self.skip_group(number),
            Wire::GroupEnd => Err(Malformed("a group ends that did not begin")),
        }
    }

    fn skip_fixed32(&mut self) -> Result<()> {
        if self.rest().len() < 4 {
            return Err(Malformed("the message ends within a field"));
        }
        self.pos += 4;
        Ok(())
    }

    fn skip_group(&mut self, number: u32) -> Result<()> {
        let mut open = [0u32; GROUP_DEPTH_MAX];
        open[0] = number;
        let mut depth = 1;
        while depth > 0 {
            match self.field()? {
                None => return Err(Malformed("the message ends within a group")),
                Some((inner, Wire::GroupStart)) => {
                    if depth == GROUP_DEPTH_MAX {
                        return Err(Malformed("groups nest too deep"));
                    }
                    open[depth] = inner;
                    depth += 1;
                }
                Some((inner, Wire::GroupEnd)) => {
                    depth -= 1;
                    if open[depth] != inner {
                        return Err(Malformed("a group ends that did not begin"));
                    }
                }
                Some((inner, wire)) => self.skip(inner, wire)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(bytes: &[u8]) -> Result<u64> {
        Reader::new(bytes).varint()
    }

    #[test]
    fn varints() {
        assert_eq!(varint(&[0x7f]), Ok(127));
        assert_eq!(varint(&[0x80, 0x01]), Ok(128));
        assert_eq!(
            varint(&[0x80, 0x80, 0xba, 0xbb, 0xc8, 0x2e]),
            Ok(1_600_000_000_000)
        );
        assert_eq!(
            varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
            Ok(u64::MAX)
        );
        assert!(varint(&[0xff; 10]).is_err());
        assert!(varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).is_err());
        assert!(varint(&[0x80]).is_err());
        assert!(varint(&[]).is_err());
    }

    #[test]
    fn unknown_fields_of_every_wire_type_are_skipped() {
        let body = [
            0x08, 0x96, 0x01, // 1: varint
            0x11, 0, 0, 0, 0, 0, 0, 0, 0, // 2: fixed64
            0x1a, 0x02, b'h', b'i', // 3: bytes
            0x25, 0, 0, 0, 0, // 4: fixed32
            0x2b, 0x33, 0x34, 0x08, 0x01, 0x2c, // 5: group { 6: group {} 1: 1 }
        ];
        let mut reader = Reader::new(&body);
        let mut seen = Vec::new();
        while let Some((number, wire)) = reader.field().unwrap() {
            seen.push(number);
            reader.skip(number, wire).unwrap();
        }
        assert_eq!(seen, [1, 2, 3, 4, 5]);
        for cut in 1..body.len() {
            let mut reader = Reader::new(&body[..cut]);
            while let Ok(Some((number, wire))) = reader.field() {
                if reader.skip(number, wire).is_err() {
                    break;
                }
            }
        }
    }

    #[test]
    fn malformed_fields_are_errors() {
        let cases: &[&[u8]] = &[
            &[0x00],             // field 0
            &[0x0e],             // wire type 6
            &[0x0a, 0x05, 0x00], // longer than the message
            &[
                0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
            ],
            &[0x2c],       // group end alone
            &[0x2b, 0x34], // another group's end
            &[0x2b],       // group never ends
        ];
        for body in cases {
            let mut reader = Reader::new(body);
            let result = reader
                .field()
                .and_then(|field| field.map_or(Ok(()), |(number, wire)| reader.skip(number, wire)));
            assert!(result.is_err(), "{body:02x?}");
        }
        let deep = [0x2b; 100];
        assert!(Reader::new(&deep[1..]).skip(5, Wire::GroupStart).is_err());
    }
}

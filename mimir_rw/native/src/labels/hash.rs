//! XXH64 of label sets in the encoding in which Prometheus hashes them: for each label in name order its name and its
//! value, each after its length (one byte below 255, else FF and three bytes, little endian).

use xxhash_rust::xxh64::xxh64;

use super::frame::LabelFrame;

const LONG: u8 = 0xff;

fn push_text(buffer: &mut Vec<u8>, text: &str) {
    match u8::try_from(text.len()) {
        Ok(length) if length < LONG => buffer.push(length),
        _ => {
            buffer.push(LONG);
            buffer.extend_from_slice(&text.len().to_le_bytes()[..3]);
        }
    }
    buffer.extend_from_slice(text.as_bytes());
}

impl LabelFrame {
    /// One per row.
    pub fn hashes(&self) -> Vec<u64> {
        let mut buffer = Vec::new();
        (0..self.len())
            .map(|row| {
                buffer.clear();
                for (name, value) in self.labels(row) {
                    push_text(&mut buffer, name);
                    push_text(&mut buffer, value);
                }
                xxh64(&buffer, 0)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_have_a_length_of_four_bytes() {
        let mut buffer = Vec::new();
        push_text(&mut buffer, &"a".repeat(254));
        assert_eq!(&buffer[..2], &[254, b'a']);
        buffer.clear();
        push_text(&mut buffer, &"a".repeat(300));
        assert_eq!(&buffer[..5], &[0xff, 0x2c, 0x01, 0x00, b'a']);
    }
}

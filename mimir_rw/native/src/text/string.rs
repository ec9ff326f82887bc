//! JSON strings, escaped as Prometheus escapes them.

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A label name or value: quotes, backslashes and control characters escaped, nothing else.
pub fn push_label(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if text.bytes().all(|b| b >= b' ' && b != b'"' && b != b'\\') {
        out.extend_from_slice(text.as_bytes());
    } else {
        text.bytes().for_each(|b| push_escaped(out, b));
    }
    out.push(b'"');
}

/// Any other string: what means something in HTML and the separators of JavaScript are escaped too.
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut utf8 = [0; 4];
    for c in text.chars() {
        match c {
            '<' | '>' | '&' => push_code(out, c as u8),
            '\u{2028}' => out.extend_from_slice(b"\\u2028"),
            '\u{2029}' => out.extend_from_slice(b"\\u2029"),
            c => c
                .encode_utf8(&mut utf8)
                .bytes()
                .for_each(|b| push_escaped(out, b)),
        }
    }
    out.push(b'"');
}

fn push_escaped(out: &mut Vec<u8>, b: u8) {
    match b {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', b]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        0..=0x1f => push_code(out, b),
        b => out.push(b),
    }
}

fn push_code(out: &mut Vec<u8>, b: u8) {
    out.extend_from_slice(b"\\u00");
    out.extend_from_slice(&[HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
}

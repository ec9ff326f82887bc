//! Label sets as text, in the two forms that Prometheus prints.

use std::fmt::Write;

use super::frame::LabelFrame;
use super::regex::is_print;

const METRIC_NAME: &str = "__name__";

impl LabelFrame {
    /// `{__name__="up", a="b"}`: the form of error messages.
    pub fn format_labels(&self, row: usize) -> String {
        let mut text = String::from("{");
        push_pairs(&mut text, self.labels(row));
        text.push('}');
        text
    }

    /// `up{a="b"}`, `up`, `{a="b"}` or `{}`: the form of series in text output.
    pub fn format_metric(&self, row: usize) -> String {
        let name = self
            .column(METRIC_NAME)
            .and_then(|column| column.value(row));
        let mut pairs = self
            .labels(row)
            .filter(|&(label, _)| label != METRIC_NAME)
            .peekable();
        let mut text = String::new();
        match name {
            Some(name) if is_legacy_metric_name(name) => text.push_str(name),
            Some(name) => {
                text.push('{');
                push_quoted(&mut text, name);
                if pairs.peek().is_some() {
                    text.push_str(", ");
                }
                push_pairs(&mut text, pairs);
                text.push('}');
                return text;
            }
            None => {}
        }
        if name.is_none() || pairs.peek().is_some() {
            text.push('{');
            push_pairs(&mut text, pairs);
            text.push('}');
        }
        text
    }
}

fn push_pairs<'a>(text: &mut String, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
    for (i, (name, value)) in pairs.enumerate() {
        if i > 0 {
            text.push_str(", ");
        }
        if is_legacy_label_name(name) {
            text.push_str(name);
        } else {
            push_quoted(text, name);
        }
        text.push('=');
        push_quoted(text, value);
    }
}

fn is_legacy_label_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn is_legacy_metric_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

/// Go's `strconv.Quote`.
pub fn push_quoted(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\x07' => text.push_str("\\a"),
            '\x08' => text.push_str("\\b"),
            '\x0c' => text.push_str("\\f"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\x0b' => text.push_str("\\v"),
            ' '..='~' => text.push(c),
            '\0'..='\x1f' | '\x7f' => push_code(text, "\\x", c, 2),
            c if is_print(c) => text.push(c),
            c if (c as u32) < 0x1_0000 => push_code(text, "\\u", c, 4),
            c => push_code(text, "\\U", c, 8),
        }
    }
    text.push('"');
}

fn push_code(text: &mut String, prefix: &str, c: char, digits: usize) {
    write!(text, "{prefix}{:0digits$x}", c as u32).expect("writing to a string succeeds");
}

#[cfg(test)]
mod tests {
    use super::super::frame::FrameBuilder;
    use super::*;

    #[test]
    fn both_forms() {
        type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);
        let cases: &[Case<'_>] = &[
            (&[], "{}", "{}"),
            (&[("__name__", "up")], r#"{__name__="up"}"#, "up"),
            (&[("a", "b\n")], r#"{a="b\n"}"#, r#"{a="b\n"}"#),
            (
                &[("__name__", "up"), ("a", "b"), ("c", "\"")],
                r#"{__name__="up", a="b", c="\""}"#,
                r#"up{a="b", c="\""}"#,
            ),
            (
                &[("__name__", "a b"), ("c.d", "x")],
                r#"{__name__="a b", "c.d"="x"}"#,
                r#"{"a b", "c.d"="x"}"#,
            ),
        ];
        let mut builder = FrameBuilder::default();
        for (labels, _, _) in cases {
            for (name, value) in *labels {
                builder.label(name, value);
            }
            builder.end_row();
        }
        let frame = builder.finish();
        for (row, (_, labels, metric)) in cases.iter().enumerate() {
            assert_eq!(frame.format_labels(row), *labels);
            assert_eq!(frame.format_metric(row), *metric);
        }
    }

    #[test]
    fn quoting_is_gos() {
        let mut text = String::new();
        push_quoted(&mut text, "\u{1}\u{7f}é\u{a0}\u{2028}\u{e0001}😀\u{ad}");
        assert_eq!(text, "\"\\x01\\x7fé\\u00a0\\u2028\\U000e0001😀\\u00ad\"");
    }
}

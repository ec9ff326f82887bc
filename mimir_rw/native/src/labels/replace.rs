//! label_replace: a pattern over whole values and a replacement with Go's `$name` templates.

use pyo3::prelude::*;

use super::regex::{self, CapturingRegex};

/// Part of a replacement.
enum Piece<'t> {
    Text(&'t str),
    Numbered(usize),
    Named(&'t str),
}

/// Go's template: `$1`, `$name`, `${name}` with the longest run of letters, digits and `_` as the name, `$$` a dollar;
/// a `$` that begins nothing stands for itself.
fn template(mut rest: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    while let Some((text, after)) = rest.split_once('$') {
        pieces.push(Piece::Text(text));
        if let Some(after_second) = after.strip_prefix('$') {
            pieces.push(Piece::Text("$"));
            rest = after_second;
        } else if let Some((name, after_name)) = reference(after) {
            pieces.push(number(name).map_or(Piece::Named(name), Piece::Numbered));
            rest = after_name;
        } else {
            pieces.push(Piece::Text("$"));
            rest = after;
        }
    }
    pieces.push(Piece::Text(rest));
    pieces
}

/// A name, in braces or not, and what follows it.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (text, braced) = match text.strip_prefix('{') {
        Some(inside) => (inside, true),
        None => (text, false),
    };
    let in_name = |c: char| c == '_' || regex::is_letter(c) || regex::is_digit(c);
    let end = text.find(|c| !in_name(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let rest = if braced {
        rest.strip_prefix('}')?
    } else {
        rest
    };
    (!name.is_empty()).then_some((name, rest))
}

/// A decimal number without leading zeros; anything else is a name.
fn number(name: &str) -> Option<usize> {
    let plain = name.bytes().all(|b| b.is_ascii_digit());
    if !plain || name.len() > 9 || name.len() > 1 && name.starts_with('0') {
        return None;
    }
    name.parse().ok()
}

fn expand(regex: &CapturingRegex, pieces: &[Piece<'_>], value: &str) -> Option<String> {
    let groups = regex.captures(value)?;
    let mut out = String::new();
    for piece in pieces {
        let range = match piece {
            Piece::Text(text) => {
                out.push_str(text);
                continue;
            }
            Piece::Numbered(index) => groups.numbered(*index),
            Piece::Named(name) => groups.named(name),
        };
        out.push_str(range.map_or("", |range| &value[range]));
    }
    Some(out)
}

/// Per value its replacement, None where the pattern does not match the whole of it.
#[pyfunction]
fn regex_replace(
    py: Python<'_>,
    dictionary: Vec<String>,
    regex: &str,
    replacement: &str,
) -> PyResult<Vec<Option<String>>> {
    let replaced = py.detach(|| {
        let regex = regex::compile_capturing(regex)?;
        let pieces = template(replacement);
        let values = dictionary.iter();
        Ok::<_, regex::RegexError>(values.map(|value| expand(&regex, &pieces, value)).collect())
    })?;
    Ok(replaced)
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(regex_replace, m)?)
}

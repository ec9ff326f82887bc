//! Character classes by name (Perl, POSIX, Unicode), and case folding.

use std::sync::OnceLock;

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind, Literal};

const DIGIT: &[(char, char)] = &[('0', '9')];
const SPACE: &[(char, char)] = &[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')];
const WORD: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];

/// POSIX classes by name.
const POSIX: &[(&str, &[(char, char)])] = &[
    ("alnum", &[('0', '9'), ('A', 'Z'), ('a', 'z')]),
    ("alpha", &[('A', 'Z'), ('a', 'z')]),
    ("ascii", &[('\0', '\x7f')]),
    ("blank", &[('\t', '\t'), (' ', ' ')]),
    ("cntrl", &[('\0', '\x1f'), ('\x7f', '\x7f')]),
    ("digit", DIGIT),
    ("graph", &[('!', '~')]),
    ("lower", &[('a', 'z')]),
    ("print", &[(' ', '~')]),
    ("punct", &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')]),
    ("space", &[('\t', '\r'), (' ', ' ')]),
    ("upper", &[('A', 'Z')]),
    ("word", WORD),
    ("xdigit", &[('0', '9'), ('A', 'F'), ('a', 'f')]),
];

/// General categories by their short names.
const CATEGORIES: &str = "C Cc Cf Cn Co Cs L LC Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No \
    P Pc Pd Pe Pf Pi Po Ps S Sc Sk Sm So Z Zl Zp Zs";

/// Long names of general categories, canonical (first letter upper case, no separators).
const CATEGORY_ALIASES: &str = "Casedletter Closepunctuation Cntrl Combiningmark \
    Connectorpunctuation Control Currencysymbol Dashpunctuation Decimalnumber Digit Enclosingmark Finalpunctuation \
    Format Initialpunctuation Letter Letternumber Lineseparator Lowercaseletter Mark Mathsymbol Modifierletter \
    Modifiersymbol Nonspacingmark Number Openpunctuation Other Otherletter Othernumber Otherpunctuation Othersymbol \
    Paragraphseparator Privateuse Punct Punctuation Separator Spaceseparator Spacingmark Surrogate Symbol \
    Titlecaseletter Unassigned Uppercaseletter";

/// Scripts of Unicode 15, in canonical spelling.
const SCRIPTS: &str = "Adlam Ahom Anatolianhieroglyphs Arabic Armenian Avestan Balinese Bamum Bassavah Batak Bengali \
    Bhaiksuki Bopomofo Brahmi Braille Buginese Buhid Canadianaboriginal Carian Caucasianalbanian Chakma Cham Cherokee \
    Chorasmian Common Coptic Cuneiform Cypriot Cyprominoan Cyrillic Deseret Devanagari Divesakuru Dogra Duployan \
    Egyptianhieroglyphs Elbasan Elymaic Ethiopic Georgian Glagolitic Gothic Grantha Greek Gujarati Gunjalagondi \
    Gurmukhi Han Hangul Hanifirohingya Hanunoo Hatran Hebrew Hiragana Imperialaramaic Inherited Inscriptionalpahlavi \
    Inscriptionalparthian Javanese Kaithi Kannada Katakana Kawi Kayahli Kharoshthi Khitansmallscript Khmer Khojki \
    Khudawadi Lao Latin Lepcha Limbu Lineara Linearb Lisu Lycian Lydian Mahajani Makasar Malayalam Mandaic Manichaean \
    Marchen Masaramgondi Medefaidrin Meeteimayek Mendekikakui Meroiticcursive Meroitichieroglyphs Miao Modi Mongolian \
    Mro Multani Myanmar Nabataean Nagmundari Nandinagari Newtailue Newa Nko Nushu Nyiakengpuachuehmong Ogham Olchiki \
    Oldhungarian Olditalic Oldnortharabian Oldpermic Oldpersian Oldsogdian Oldsoutharabian Oldturkic Olduyghur Oriya \
    Osage Osmanya Pahawhhmong Palmyrene Paucinhau Phagspa Phoenician Psalterpahlavi Rejang Runic Samaritan Saurashtra \
    Sharada Shavian Siddham Signwriting Sinhala Sogdian Sorasompeng Soyombo Sundanese Sylotinagri Syriac Tagalog \
    Tagbanwa Taile Taitham Taiviet Takri Tamil Tangsa Tangut Telugu Thaana Thai Tibetan Tifinagh Tirhuta Toto Ugaritic \
    Vai Vithkuqi Wancho Warangciti Yezidi Yi Zanabazarsquare";

/// `\d`, `\s`, `\w` and their negations, ASCII only; None for any other letter.
pub fn perl(letter: char, fold_case: bool) -> Option<ClassUnicode> {
    let ranges = match letter.to_ascii_lowercase() {
        'd' => DIGIT,
        's' => SPACE,
        'w' => WORD,
        _ => return None,
    };
    Some(finish(of(ranges), fold_case, letter.is_ascii_uppercase()))
}

/// `name` of `[:name:]`, with a leading `^` for its negation.
pub fn posix(name: &str, fold_case: bool) -> Option<ClassUnicode> {
    let (name, negated) = match name.strip_prefix('^') {
        Some(name) => (name, true),
        None => (name, false),
    };
    let (_, ranges) = POSIX.iter().find(|(known, _)| *known == name)?;
    Some(finish(of(ranges), fold_case, negated))
}

/// Category, script or one of the special names, spelled loosely as Unicode allows.
pub fn unicode(name: &str, fold_case: bool, negated: bool) -> Option<ClassUnicode> {
    let name = canonical(name);
    let listed = |list: &str| list.split_ascii_whitespace().any(|known| known == name);
    let class = match name.as_str() {
        "Any" => of(&[('\0', char::MAX)]),
        "Ascii" => of(&[('\0', '\x7f')]),
        "Assigned" => finish(property("gc=Cn"), false, true),
        "Lc" => property("gc=LC"),
        _ if name != "LC" && listed(CATEGORIES) || listed(CATEGORY_ALIASES) => {
            property(&format!("gc={name}"))
        }
        _ if listed(SCRIPTS) => property(&format!("sc={name}")),
        _ => return None,
    };
    Some(finish(class, fold_case, negated))
}

/// Upper case first letter, lower case the rest, separators left out.
fn canonical(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars().filter(|c| !matches!(c, '_' | '-' | ' ')) {
        out.push(if out.is_empty() {
            c.to_ascii_uppercase()
        } else {
            c.to_ascii_lowercase()
        });
    }
    out
}

/// A Unicode property from the automata's own tables. Surrogates, which no UTF-8 text holds, are the empty class.
fn property(query: &str) -> ClassUnicode {
    let hir = regex_syntax::parse(&format!(r"\p{{{query}}}"));
    match hir.map(|hir| hir.into_kind()) {
        Ok(HirKind::Class(Class::Unicode(class))) => class,
        // What a class of a single character becomes.
        Ok(HirKind::Literal(Literal(utf8))) => {
            let text = String::from_utf8_lossy(&utf8);
            ClassUnicode::new(text.chars().map(|c| ClassUnicodeRange::new(c, c)))
        }
        _ => ClassUnicode::empty(),
    }
}

fn of(ranges: &[(char, char)]) -> ClassUnicode {
    ClassUnicode::new(
        ranges
            .iter()
            .map(|&(lo, hi)| ClassUnicodeRange::new(lo, hi)),
    )
}

fn finish(class: ClassUnicode, fold_case: bool, negated: bool) -> ClassUnicode {
    let mut class = if fold_case { folded(class) } else { class };
    if negated {
        class.negate();
    }
    class
}

/// The class with all simple case variants of its characters.
pub fn folded(mut class: ClassUnicode) -> ClassUnicode {
    let mut variants = class.clone();
    variants.intersect(cased());
    variants.case_fold_simple();
    class.union(&variants);
    class
}

/// Characters that have a case variant.
pub fn cased() -> &'static ClassUnicode {
    static CASED: OnceLock<ClassUnicode> = OnceLock::new();
    CASED.get_or_init(|| {
        // CWCF: changes when case folded; its closure adds the characters that others fold to.
        let mut class = property("CWCF");
        class.case_fold_simple();
        class
    })
}

/// Simple case variants of one character, itself included.
pub fn variants(c: char) -> ClassUnicode {
    folded(of(&[(c, c)]))
}

/// A range of code points without the surrogates in it; None when nothing is left.
pub fn range(lo: u32, hi: u32) -> Option<ClassUnicodeRange> {
    const SURROGATES: std::ops::RangeInclusive<u32> = 0xd800..=0xdfff;
    let lo = if SURROGATES.contains(&lo) { 0xe000 } else { lo };
    let hi = if SURROGATES.contains(&hi) { 0xd7ff } else { hi };
    if lo > hi {
        return None;
    }
    Some(ClassUnicodeRange::new(
        char::from_u32(lo)?,
        char::from_u32(hi)?,
    ))
}

pub fn is_letter(c: char) -> bool {
    static LETTERS: OnceLock<ClassUnicode> = OnceLock::new();
    contains(LETTERS.get_or_init(|| property("gc=L")), c)
}

/// A decimal digit of any script.
pub fn is_digit(c: char) -> bool {
    static DIGITS: OnceLock<ClassUnicode> = OnceLock::new();
    contains(DIGITS.get_or_init(|| property("gc=Nd")), c)
}

/// Letters, marks, numbers, punctuation and symbols: what Go prints as it is, besides the space.
pub fn is_print(c: char) -> bool {
    static PRINT: OnceLock<ClassUnicode> = OnceLock::new();
    let build = || {
        let mut class = property("gc=L");
        for category in ["gc=M", "gc=N", "gc=P", "gc=S"] {
            class.union(&property(category));
        }
        class
    };
    contains(PRINT.get_or_init(build), c)
}

fn contains(class: &ClassUnicode, c: char) -> bool {
    let ranges = class.ranges();
    let after = ranges.partition_point(|range| range.start() <= c);
    after > 0 && c <= ranges[after - 1].end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_property_is_known() {
        for (prefix, list) in [
            ("gc", CATEGORIES),
            ("gc", CATEGORY_ALIASES),
            ("sc", SCRIPTS),
        ] {
            for name in list.split_ascii_whitespace() {
                let surrogates = matches!(name, "Cs" | "Surrogate");
                let class = property(&format!("{prefix}={name}"));
                assert_eq!(class.ranges().is_empty(), surrogates, "{name}");
            }
        }
    }

    #[test]
    fn folding_closes_over_case_variants() {
        let of_k: Vec<char> = variants('k').iter().map(|range| range.start()).collect();
        assert_eq!(of_k, ['K', 'k', '\u{212a}']);
        assert_eq!(variants('1').ranges().len(), 1);
        let mut all = of(&[('\0', char::MAX)]);
        all.case_fold_simple();
        assert_eq!(folded(of(&[('\0', char::MAX)])), all);
    }

    #[test]
    fn ranges_leave_out_surrogates() {
        assert_eq!(range(0xd800, 0xdfff), None);
        assert_eq!(
            range(0xd700, 0xdabc),
            Some(ClassUnicodeRange::new('\u{d700}', '\u{d7ff}'))
        );
    }
}

//! The Go-syntax regex front end. The first line is the pattern, the rest a subject. An accepted pattern must give the
//! same answer by the matcher's shortcuts and by the plain automaton, also when negated.

use _native::labels::{CompiledMatcher, MatchType, regex};

pub fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (pattern, subject) = text.split_once('\n').unwrap_or((text, "a"));
    let matcher = match CompiledMatcher::new(MatchType::Regex, "l", pattern) {
        Ok(matcher) => matcher,
        Err(error) => {
            assert!(error.to_string().starts_with("error parsing regexp: "));
            return;
        }
    };
    let matches = matcher.matches(subject);
    let negated = CompiledMatcher::new(MatchType::NotRegex, "l", pattern).expect("accepted above");
    assert_ne!(negated.matches(subject), matches);
    if let Some(literals) = matcher.literals() {
        let among = literals.iter().any(|literal| literal == subject);
        assert_eq!(among, matches);
    }
    assert!(!matches || subject.starts_with(matcher.prefix()));
    if let Ok(capturing) = regex::compile_capturing(pattern) {
        assert_eq!(capturing.captures(subject).is_some(), matches);
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    const SEEDS: &[&str] = &[
        "foo|bar.*\nbarn",
        "^(?:GET|POST)_[a-z]+\\d{2,3}$\nGET_a12",
        "(?i)[[:alpha:]k\\x{e9}-\\x{ff}]+?\nKé",
        "(?P<a>x)(?<b>y)?\\Qa.b\\E\nxya.b",
        "\\p{Greek}\\PL[^\\pN\\s]\nα1b",
        "(a*)*(|b){1,2}(?:c??){3}\naabcc",
        "(?m)^a$(?s:.)(?-s:.)\\bb\\B\na\nxb",
        "((((((((((a{10}){10}))))))))){2}\naaaa",
        "[a&&b--c~~d][]x][^]y]\na]z",
        "\\141\\07\\x41\\n\\z\na\u{7}A\n",
        "host-.+\\.example\\..*:9.00\nhost-1.example.org:9100",
    ];
    SEEDS.iter().map(|seed| seed.as_bytes().to_vec()).collect()
}

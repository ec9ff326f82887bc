//go:build ignore

// Records what Go's regexp package says of many patterns, as the golden file of tests/unit/native/test_go_regexp.py:
//
//	go run tests/golden/go_regexp.go > tests/golden/go_regexp.json
//
// Per pattern: the error of parsing it as a matcher (empty if none), the subjects that `^(?s:pattern)$` matches as a
// string of 0 and 1; the error of compiling `^(?s:pattern)$` as one text, as label_replace does, and what its templates
// expand to (null without a match).
package main

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"regexp"
	"regexp/syntax"
	"sort"
	"strings"
	"unicode"
)

var templates = []string{"$1|$2|$0", "${1}x$1x$$", "$n-${n}-$", "${1$1}${}$é${n"}

type entry struct {
	Pattern  string      `json:"p"`
	Error    string      `json:"e,omitempty"`
	Subjects []string    `json:"s,omitempty"`
	Matches  string      `json:"m,omitempty"`
	Wrapped  string      `json:"w,omitempty"`
	Expanded [][]*string `json:"x,omitempty"`
}

func record(rng *rand.Rand, pattern string, subjects []string) entry {
	e := entry{Pattern: pattern}
	seen := map[string]bool{}
	for _, s := range subjects {
		if !seen[s] && len(e.Subjects) < 10 {
			seen[s] = true
			e.Subjects = append(e.Subjects, s)
		}
	}
	tree, err := syntax.Parse(pattern, syntax.Perl|syntax.DotNL)
	if err != nil {
		e.Error = err.Error()
	} else {
		re := regexp.MustCompile("^(?s:" + tree.String() + ")$")
		for _, s := range e.Subjects {
			if re.MatchString(s) {
				e.Matches += "1"
			} else {
				e.Matches += "0"
			}
		}
	}
	re, err := regexp.Compile("^(?s:" + pattern + ")$")
	if err != nil {
		e.Wrapped = err.Error()
		if e.Error != "" {
			e.Subjects = nil
		}
		return e
	}
	template := templates[rng.Intn(len(templates))]
	for i, s := range e.Subjects {
		if i == 4 {
			break
		}
		var out *string
		if m := re.FindStringSubmatchIndex(s); m != nil {
			text := string(re.ExpandString(nil, template, s, m))
			out = &text
		}
		e.Expanded = append(e.Expanded, []*string{&template, out})
	}
	return e
}

func pick(rng *rand.Rand, from ...string) string { return from[rng.Intn(len(from))] }

func atom(rng *rand.Rand, depth int) string {
	switch k := rng.Intn(40); {
	case k < 14:
		return pick(rng, "a", "b", "c", "A", "B", "ab", "abc", "0", "1", "é", "É", "ſ", "k", "K", "\u212a", "-", "_", " ", ".", "]", "}", "\n", ",", "世")
	case k < 18:
		return pick(rng, ".*", ".+", ".", ".?", ".*?", ".{2}")
	case k < 22:
		return pick(rng, "[ab]", "[^a]", "[a-c]", "[^a-c0]", "[a-]", "[-a]", "[]a]", "[^]a]", "[a&&b]", "[a--b]", "[a~~b]", "[[:alpha:]]", "[[:^alpha:]b]", "[\\d]", "[\\D1]", "[\\pL]", "[^\\pL]", "[\\p{Lu}a]", "[[]", "[a[b]", "[\\]]", "[\\n-\\r]", "[é-ü]", "[\\x{e9}\\141]", "[k-m]", "[^\\x00-\\x{10FFFF}]", "[[:word:]]", "[ſ]", "[\\s\\S]", "[\\w-]", "[\\Q]", "[:alpha:]")
	case k < 26:
		return pick(rng, "\\d", "\\D", "\\w", "\\W", "\\s", "\\S", "\\pL", "\\PL", "\\pN", "\\p{Greek}", "\\P{Lu}", "\\p{^Lu}", "\\p{greek}", "\\p{Any}", "\\p{Letter}", "\\p{ L-u }", "\\p{Ll}", "\\p{ASCII}", "\\p{Lc}")
	case k < 29:
		return pick(rng, "\\.", "\\-", "\\_", "\\ ", "\\n", "\\t", "\\x61", "\\x{e9}", "\\141", "\\07", "\\0", "\\Qa.b\\E", "\\Qa", "\\Q\\E", "\\Q+*\\E", "\\a", "\\/", "\\{", "\\\"", "\\x{4e16}", "\\@")
	case k < 32:
		return pick(rng, "^", "$", "\\A", "\\z", "\\b", "\\B", "(?i)", "(?s)", "(?-s)", "(?m)", "(?U)", "(?i-s)", "(?-i)", "(?m)^", "$(?m)")
	case k < 33:
		return pick(rng, "{", "{,3}", "{a}", "a{,}", "{1", "x{2,1", "{2,3", "a{01}")
	}
	if depth <= 0 {
		return "a"
	}
	return pick(rng, "(", "(", "(?:", "(?i:", "(?P<n>", "(?<n>", "(?-s:", "(?sU:", "(?i-s:", "(?m:") + alternation(rng, depth-1) + ")"
}

func piece(rng *rand.Rand, depth int) string {
	return atom(rng, depth) + pick(rng, "", "", "", "", "", "", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{0}", "{0,1}", "{2,}", "{1,2}?", "{0,0}", "{1}")
}

func concat(rng *rand.Rand, depth int) string {
	var b strings.Builder
	for n := rng.Intn(5); n > 0; n-- {
		b.WriteString(piece(rng, depth))
	}
	return b.String()
}

func alternation(rng *rand.Rand, depth int) string {
	parts := []string{concat(rng, depth)}
	for rng.Intn(3) == 0 {
		parts = append(parts, concat(rng, depth))
	}
	return strings.Join(parts, "|")
}

func mutate(rng *rand.Rand, pattern string) string {
	runes := []rune(pattern)
	for n := 1 + rng.Intn(2); n > 0; n-- {
		at := rng.Intn(len(runes) + 1)
		switch {
		case rng.Intn(3) == 0 && at < len(runes):
			runes = append(runes[:at:at], runes[at+1:]...)
		case rng.Intn(3) == 0:
			runes = runes[:at]
		default:
			insert := []rune(pick(rng, "(", ")", "[", "]", "{", "}", "*", "+", "?", "|", "\\", "^", "-", "(?", "(?P<", "(?<", ">", "[:", ":]", "\\p", "\\p{", "\\x", "\\x{", "\\8", "\\1", "\\E", "\\C", "\\u", "\\Z", "{2}", "{2}{3}", "**", "{1001}", "[z-a]", "(?i", "(?=", "(?!", "(?P=n)", "(?P<1é>", "[[:foo:]]", "\\p{Foo}", "\\xg", "\\é"))
			runes = append(runes[:at:at], append(insert, runes[at:]...)...)
		}
	}
	return string(runes)
}

var pool = []string{"", "a", "b", "ab", "abc", "A", "AB", "aab", "abab", "\n", "a\n", "a\nb", "a.b", "0", "01", "é", "É", "ſ", "s", "k", "K", "\u212a", "世", "a b", "-", "_", "]", "{", "{,3}", "α", "Σ", "ς", "\t", "+*", "&", "a&b", "aé", "foo", "foobar", "bar", "xfoo", "foobarbaz", "x"}

// subjects that a pattern is likely to match or nearly match: what is left of it without its operators.
func subjects(rng *rand.Rand, pattern string) []string {
	plain := regexp.MustCompile(`\(\?[^:)>]*[:)>]|\\[a-zA-Z]\{?\w*\}?|[\\()\[\]*+?|^$]|\{[\d,]*\}`)
	stripped := plain.ReplaceAllString(pattern, "")
	out := []string{stripped, strings.ReplaceAll(stripped, ".", "z"), strings.ToUpper(stripped), "x" + stripped, stripped + "\n"}
	if r := []rune(stripped); len(r) > 1 {
		out = append(out, string(r[:len(r)/2]), string(r[len(r)/2:]))
	}
	for len(out) < 14 {
		out = append(out, pick(rng, pool...)+pick(rng, "", "", pick(rng, pool...)))
	}
	return out
}

var chosen = []string{
	"", ".*", ".+", "foo", "foo|bar", "foo(bar|baz)", "foo.*", ".*foo", ".*foo.*", "^foo$", "^(foo|bar)$", "(?i)foo", "foo|", "(foo|bar).*", "foo.+bar.*",
	".+.+", ".*.+", "a**", "a*+", "a++", "a??", "a???", "a{2}{3}", "(a{2}){3}", "(a{10}){100}", "(a{10}){101}", "((a{0}){500}){500}", "((a{10}){10}){11}",
	"a{1000}", "a{1001}", "a{2,1}", "a{1,1001}", "a{99999999999}", "a{0,99999999999}", "a{,3}", "a{3", "{", "{}", "}", "{1}", "*", "+a", "?", "|*", "(*)", "(|a)*", "(|a)+", "(a|b)*", "(a*)*", "(a*)+", "(a|ab)(c|bcd)(d*)", "(a?)*?", "(?:a*)*b",
	"(", ")", "(a", "a)", "a)|(b", "(?", "(?i", "(?i)", "(?i-", "(?-)", "(?-:a)", "(?--i)", "(?:", "(?z)", "(?P<", "(?P<n", "(?P<n>", "(?P<n>a)(?P<n>b)", "(?P<>a)", "(?P<a b>c)", "(?P<é>c)", "(?<n>a)", "(?<n", "(?<=a)b", "(?<!a>)b", "(?=a)", "(?!a)", "(?P=n)", "(?P>n)", "(?#c)", "(?>a)", "(?'n'a)",
	"[", "[]", "[]]", "[^]", "[^]]", "[a", "[z-a]", "[a-\\d]", "[\\d-z]", "[a-z-9]", "[[:foo:]]", "[[:alpha:]", "[[:alpha", "[[.a.]]", "[[=a=]]", "[\\", "[\\E]", "[\\b]", "[\\C]", "[a\\", "[\\p{Foo}]", "[\\pX]",
	"\\", "a\\", "\\8", "\\1", "\\12", "\\08", "\\C", "\\E", "\\Z", "\\u0041", "\\x", "\\x1", "\\xz1", "\\x1z", "\\x{", "\\x{}", "\\x{110000}", "\\x{10FFFF}", "\\x{z}", "\\x{61", "\\p", "\\pX", "\\p{", "\\p{}", "\\p{L", "\\p{Foo}", "\\p{^}", "\\P{Any}", "\\p{Cs}", "\\p{Cn}", "\\p{Assigned}", "\\é", "\\Q", "\\Qab\\E*", "a*\\Q\\E*", "\\Qab\\Ec\\E", "\\x{D800}", "[\\x{D7FF}-\\x{E000}]", "[\\x{D800}-\\x{DFFF}]",
	"(?i)[k]", "(?i)[^k]", "(?i)\\w", "(?i)\\W", "(?i)[[:upper:]]", "(?i)\\p{Lu}", "(?i)\\P{Lu}", "(?i)[\\x00-\\x{10FFFF}]", "(?i)σ", "(?i)ß", "(?i)İ", "(?i)ſ", "(?is).", "(?-s).", "(?-s).*", "(?m)^a$", "a$\\nb", "(?m)a$\\n^b", "\\Aa\\z", "\\ba\\b", "\\Ba", "a\\b世", "é\\b", "\\bé", "(?U)a*", "(?U)(a*)(a*)", "(a*?)(a*)", "(?U)(a*?)(a*)",
	"foo$.*", ".*^foo", "(^a|b$)c?", "a|b|c|d|e|f", "[a-c][0-1]", "(ab?c?)?", "a.?b", "((a)|b)((c)|)", "(?P<n>a)|(?P<n>b)", "(a){0}b", "(a){0,1}(b)", "(a)|b", "()", "(())", "|", "||", "a||b", "(|)", ".{0}", ".{1}", ".{2,}",
	strings.Repeat("(", 500) + "a" + strings.Repeat(")", 500), strings.Repeat("(", 1200) + "a" + strings.Repeat(")", 1200), strings.Repeat("(", 1200), strings.Repeat("(?:", 1200) + "a" + strings.Repeat(")", 1200), strings.Repeat("(?:", 600) + "a" + strings.Repeat(")*", 600), strings.Repeat("(?:", 1200) + "a" + strings.Repeat(")*", 1200), strings.Repeat("(a|", 700) + strings.Repeat(")", 700),
}

func main() {
	rng := rand.New(rand.NewSource(2))
	var entries []entry
	for _, pattern := range chosen {
		entries = append(entries, record(rng, pattern, subjects(rng, pattern)))
	}
	seen := map[string]bool{}
	for len(entries) < 3500 {
		pattern := alternation(rng, 3)
		if rng.Intn(3) == 0 {
			pattern = mutate(rng, pattern)
		}
		if !seen[pattern] && len(pattern) < 80 {
			seen[pattern] = true
			entries = append(entries, record(rng, pattern, subjects(rng, pattern)))
		}
	}
	// Every class that Go knows by name, but for scripts of several words, whose names Go 1.26 mislays.
	var names []string
	for name := range unicode.Categories {
		names = append(names, name)
	}
	for name := range unicode.CategoryAliases {
		names = append(names, name)
	}
	for name := range unicode.Scripts {
		if !strings.Contains(name, "_") && name != "SignWriting" {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	of := []string{"a", "Z", "1", "_", " ", "é", "α世", "\u2028", "\u2029", "\u00ad"}
	for _, name := range names {
		entries = append(entries, record(rng, "\\p{"+name+"}", of))
		entries = append(entries, record(rng, "(?i)[^\\p{"+name+"}]", of))
	}
	fmt.Println("[")
	for i, e := range entries {
		line, err := json.Marshal(e)
		if err != nil {
			panic(err)
		}
		os.Stdout.Write(line)
		if i < len(entries)-1 {
			fmt.Print(",")
		}
		fmt.Println()
	}
	fmt.Println("]")
}

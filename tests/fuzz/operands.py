"""Operands at the edge of what builtins take: numbers, texts, and pools by builtin and position."""

# ruff: noqa: E501, RUF001 - tables of odd texts

from __future__ import annotations

from typing import Any

from policylang.rego.values import Set
from policylang.rego.values.numbers import read
from tests.languages.rego_builtins.calls import CALLS

NUMBERS: tuple[Any, ...] = (0, 1, 2, 3, -1, -2, 7, 10, 16, 64, 100, 512, *map(read, (
    "-0", "1.0", "2.50", "0.1", "0.2", "0.3", "-0.5", "0.5", "1.5", "2.5", "-2.5", "1e3", "1e0", "1E2", "1.0e1", "1e-7",
    "1e21", "1e22", "123e-2", "9007199254740993", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
    "-9223372036854775809", "18446744073709551615", "18446744073709551616", "18446744073709551617", "2147483647",
    "2147483648", "-2147483648", "100000000000000000000", "123456789012345678901234567890", "1234567.5", "12345678.25",
    "0.000001", "0.00000123", "0.30000000000000004", "3.141592653589793238462643383279", "1e300", "1e400", "-1e400",
    "4.9e-324", "1.7976931348623157e308", "0.1234567890123456789", "99999999999999999999.5", "1e-400", "33.3333333",
    "1e100", "4503599627370497.5", "1.00000000000000000001", "0.99999999999999999999", "1000000", "999999.5")))
TEXTS = (
    "", "a", "b", "abc", "abcabc", "ABC", "a b  c", " a ", "\t a\n", ",", "a,b,,c", "é", "e\u0301", "ÀÉ", "ß", "ẞ", "İ", "ı",
    "ŉ", "ǅ", "ǆ", "Ǆ", "ΑΣ", "ΑΣ Β", "σς", "ﬁ", "ﬀ", "ᾳ", "ᾼ", "ΐ", "K", "Å", "ſ", "µ", "ƛ", "Ω", "Ⅷ", "ⓐ", "ა", "Ა", "Ꭰ",
    "ꭰ", "𐐀", "𐐨", "日本語", "🙂", "👨\u200d👩", "x\u0000y", "\u2028", "\u00a0x\u00a0", "\u1680\u180e\u200b", "\x1c\x1d\x85",
    "\ufeff", "\ufffd", "\u3000", "\x7f", "\u202f", "0", "1", "-1", "10", "1.5", "true", "null", "[]", "{}", "[1, 2]", '{"a": 1}',
    "a/b", "/a/b", "%", "%20", "a+b", "*", "?", "[a]", "(", "\\", "\\d", "$1", "<b>&", "'", '"', "a: b", "- x", "#", "a.b.c",
    "aaa", "aaaa", "ababab", "héllo wörld", "zażółć")
_FORMATS = (
    "%s", "%d", "%v", "%q", "%x", "%X", "%o", "%O", "%b", "%c", "%U", "%e", "%f", "%g", "%t", "%T", "%p", "%%", "%z", "%", "%5d",
    "%-5d|", "%05d", "%+d", "% d", "%x %X", "%#x", "%#v", "%+v", "%5s", "%-5s|", "%.2s", "%5.1s", "%.2f", "%8.3f", "%08.3f",
    "%+.2e", "%.3g", "%6.2f%%", "%[1]d", "%[2]s", "%[1]v %[1]q", "%*d", "%.*f", "%[3]d", "%[0]d", "%[x]d", "%!", "%d %d", "%s %s",
    "%x", "% x", "%# x", "%+q", "%#q", "%#U", "%06.2f", "%-08d", "%+05d", "%.0f", "%.f", "%10v", "%-10v|", "%5c", "%5t", "%.10d",
    "é%sé", "%5q", "%#o", "%#b", "%G", "%E", "%F", "%.1v", "%+s", "%v%v", "%w", "%3c", "%.3x", "%#.3g", "%e", "%-+6.1f|")
_PATTERNS = (
    "a", "a+", "a*", "(a)(b)?", "[a-c]+", "[^a]", "^a", "a$", ".", "(?i)ABC", "(?s).", "(?m)^b", "a|b", "a{2}", "a{1,2}?", "\\d+",
    "\\w", "\\s", "\\b", "\\pL", "\\p{Greek}", "\\PL", "[[:alpha:]]", "[^[:space:]]+", "(?P<n>a)", "(?:a)", "x*", "", "\\x61",
    "\\x{1F642}", "é", "[é-ü]", "\\Qa.b\\E", "a**", "(", ")", "[", "a{1001}", "(?=a)", "\\1", "(?<n>a)", "a++", "\\C", "\\z", "\\A",
    "\\Z", "[a-\\d]", "[]a]", "[^]a]", "{", "}", "a{,2}", "a{2", "(?U)a+", "(?i)ß", "(?i)k", "(?i)ſ", "\\B", "\\n", "\\07", "\\8")
_GLOBS = (
    "*", "**", "?", "a*", "*a", "*.com", "a.*.c", "a.**.c", "[abc]", "[!abc]", "[a-c]*", "[^a]", "{a,b}", "{a*,b?}", "{a,b}.{c,d}",
    "{a,{b,c}}", "\\*", "a\\", "[", "{", "}", "]", "a{}", "{,a}", "[]", "[!]", "[a-]", "[-a]", "[\\]]", "a/**", "**/a", "a/*/b", "é*",
    "{a.b,c}*", "*{b,c}", "?*", "*?", "a**b", "***", "[a-c-e]", "{a", "a,b", "\\{a\\}", "!a", "[ab]{c,d}?", "*\\**", "{*,a}", "a?c")
_NAMES = ("a", "b", "abc", "a.b", "a.b.c", "x.com", "a.x.com", "a/b", "a/b/c", "", "a.c", "bc", "ad", "a*", "é", "éa", "a.bb.c", "ac",
          "a..c", "[", "a]", "a,b", "a\\", ".", "/", ":", "a:b", "*", "{a}", "!a", "abc.d", "aXc")
_VERSIONS = ("1.2.3", "1.2.4", "0.0.0", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-1", "1.0.0-01", "1.0.0+b",
             "1.0.0-rc.1+b.2", "1", "1.2", "v1.2.3", "01.2.3", "1.2.3.4", "1.2.3-", "1.2.3+", "", "1.2.x", "99999999999999999999.0.0",
             "9223372036854775807.0.0", "1.0.0--", "1.0.0-a..b", "1.0.0-99999999999999999999", "1.0.0-99999999999999999998",
             "-1.0.0", "1.0.0-A", "1.0.0-a", " 1.0.0", "1.0.0\n", "1.0.0-é", "+1.0.0")
_CIDRS = ("10.0.0.0/8", "10.1.2.3/16", "192.168.1.0/24", "0.0.0.0/0", "::/0", "::1/128", "2001:db8::/32", "10.0.0.1", "::1",
          "x", "1.2.3.4/33", "::ffff:10.0.0.0/104", "010.0.0.0/8", "", "10.0.0.0/-1", "10.0.0/8", "fe80::1%eth0", "fe80::1%eth0/64",
          "10.0.0.0/08", "10.0.0.0/+8", "1:2:3:4:5:6:7:8/64", "::ffff:1.2.3.4", "10.0.0.0/8 ", "255.255.255.255/32", "10.0.0.255/31",
          "10.0.0.0/30", "2001:db8::/126", "::ffff:10.0.0.1/128", "0x10.0.0.1", "1::2::3", "192.168.0.0/23", "192.168.2.0/23")
_TIMES = (0, 1, -1, 10**18, -10**18, 1709164800000000000, 1583020800000000000, 1580428800000000000, 951782400000000000,
          9223372036854775807, -9223372036854775808, 9223372036854775808, 1698541200000000000, 1711846800000000000,
          946684799999999999, -62135596800000000000, 1e18, read("1e18"), read("1.5"), 1700000000123456789)
_ZONES = ("UTC", "", "Local", "Europe/Berlin", "America/New_York", "Asia/Tokyo", "Asia/Kolkata", "Nope", "EST", "Australia/Lord_Howe",
          "Pacific/Apia", "../etc/passwd", "Etc/GMT+5", "America/Sao_Paulo", "Africa/Casablanca")
_LAYOUTS = ("2006-01-02", "2006-01-02T15:04:05Z07:00", "RFC3339", "RFC822", "ANSIC", "UnixDate", "RFC850", "RFC1123Z", "RFC3339Nano",
            "Mon Jan _2 15:04:05 2006", "02/01/06 03:04PM", "Jan 2, 2006 at 3:04pm (MST)", "2006-002", "15:04:05.000", "15:04:05.999999",
            "15:04:05,000", "January", "-0700", "Z0700", "-07:00:00", "MST", "__2", "06 1 2", "Stamp", "Kitchen", "", "é 2006",
            "StampMilli", "RFC822Z", "RFC1123", "DateTime", "DateOnly", "TimeOnly", "RubyDate")
_STAMPS = ("2006-01-02", "2024-02-29", "2023-02-29", "2024-02-29T12:30:45Z", "2024-02-29T12:30:45.123456789+01:00", "2024-13-01",
           "2024-02-29T24:00:00Z", "2024-02-29 12:30:45", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2024-02-29T12:30:45,5Z",
           "2024-02-29T12:30:45+24:00", "2024-02-29t12:30:45z", "Thu Feb 29 12:30:45 2024", "29 Feb 24 12:30 UTC", "12:30PM", "3:04AM",
           "Thursday, 29-Feb-24 12:30:45 CET", "Thu, 29 Feb 2024 12:30:45 +0100", "2024-060", "2262-04-11T23:47:16.854775807Z",
           "2262-04-11T23:47:16.854775808Z", "1677-09-21T00:12:43.145224192Z", "2024-02-29T1:30:45Z", "2024-06-30T23:59:60Z", "")
_DURATIONS = ("1h", "1h2m3.5s", "-5ms", "1d", "1w2d", "1y", "1.5d", "1d-", "", "1", "0", "+1s", "1us", "1µs", "1μs", "1ns", "100000y",
              "9223372036854775807ns", "9223372036854775808ns", ".5h", "1.h", "1 h", "h", "-", "1d1h1d", "1e3s", "-1.5w", "2562047h47m16s")
_JSONS = ('{"a": [1, 2.50, null]}', "[1.0, 1e3, -0]", "{", "[1,]", '"\\u0041\\ud83d\\ude42"', '"\\ud800"', "1e400", "01", "-", "1.", ".5",
          "nul", " [] ", "\ufeff{}", '{"a":1,"a":2}', '"\\x"', '"\t"', "1 2", "{}{}", "[[]]", '{"é": "\\u00e9"}', "12345678901234567890123",
          "true", '"a', "NaN", "Infinity", '{"a"}', "{1: 2}", "[1 2]", "", " ", "null", '"\x7f"', '"\u2028"', "-0.0", "1E5", "[1e-7]")
_YAMLS = ("a: 1\nb: [x, 'y']", "- 1.5\n- ~\n- yes\n- 0x10\n- 2020-01-01", "a: [", "a: b: c", "", "1: x\ntrue: y", "a: 1\na: 2",
          "x: &a 1\ny: *a", "<<: {a: 1}\nb: 2", "{a: 1", "a: 1e3", "a: 0o10", "a: 010", "a: .5", "a: 1_000", "a: +1", "a: |\n  x\n  y",
          "a: >\n  x\n  y\n", "---\na: 1\n---\nb: 2", "- - 1\n  - 2", "? a\n: b", "a: !!str 1", "a: !!int '1'", "!!binary aGk=", "a:\tb", "'a''b'",
          '"\\u0041\\n"', "a: null", "a: Null", "a: NO", "a: on", "[a, b, {c: d}]", "a: .inf", "a: .nan", "a: 1.0", "a: 12345678901234567890123",
          "a: -0", "a: 0b11", "# c", "a: 'x", "*a", "&a", "%YAML 1.2\n---\na", "a: 1e400", "a: 18446744073709551615", "@a", "`a", "a: 2020-01-01T00:00:00Z",
          "null: 1", "1.5: x", "~: x", "? [a]\n: b", "- a\n-b", "\ta: 1", "a: \"\\x41\"", "a: 0x", "a: 1__0", "a: 0o8", "a: 1.e3", "...", "a\u2028b", "é: ü")
_BASES = ("aGk=", "aGk", "a", "!", "", "aGkx", "Pz8-Pg==", "Pz8+Pg==", "a===", "aGk=\n", "a G k", "/+8=", "_-8=", "gICA", "4pyT", "aGl=", "aGj=")
_URIS = ("http://x/y?z#w", "%", "http://[::1", "a b", ":x", "http://a:b/", "", "https://u:p@h:8/a%20b?c=d#e", "mailto:x@y", "http://[::1]:80/",
         "/a/b", "http://a\x01", "http://h/%zz", "1:2", "a:b:c", "//h/p", "HTTP://X", "http://h?", "http://h#", "http://é/ü?ö", "http://h:/",
         "http://h:99999999/", "http://u@h", "http://:p@h", "http://h/a/../b", "urn:x:y?+r?=q#f", "?q", "#f", "http://[fe80::1%25eth0]/", "x://",
         "http://a b/", "http://h/a b", "http://h?a b", "*", "http://%41/", "http://h/%2f", "file:///a", "a%2fb", "http://u:p:q@h", "http://@h", "//")
_UUIDS = ("7d444840-9dc0-11d1-b245-5ffdce74fad2", "000003e8-9dc0-21ec-b245-5ffdce74fad2", "0c4c1ca4-8fe1-4db3-a6ab-7f4b6e4aa2c3", "xyz",
          "urn:uuid:0c4c1ca4-8fe1-4db3-a6ab-7f4b6e4aa2c3", "URN:UUID:0c4c1ca48fe14db3a6ab7f4b6e4aa2c3", "{0c4c1ca4-8fe1-4db3-a6ab-7f4b6e4aa2c3}",
          "0c4c1ca48fe14db3a6ab7f4b6e4aa2c3", "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
          "1ec9414c-232a-6b00-b3c8-9e6bdeced846", "017f22e2-79b0-7cc3-98c4-dc0c0c07398f", "320c3d4d-cc00-875b-8ec9-32d5f69181c0",
          "0c4c1ca4-8fe1-5db3-c6ab-7f4b6e4aa2c3", "0c4c1ca4-8fe1-3db3-e6ab-7f4b6e4aa2c3", "0C4C1CA4-8FE1-4DB3-06AB-7F4B6E4AA2C3", "",
          "0c4c1ca4-8fe1-4db3-a6ab-7f4b6e4aa2c", "(0c4c1ca4-8fe1-4db3-a6ab-7f4b6e4aa2c3)", "000003e8-9dc0-21ec-b202-5ffdce74fad2")
_UNITS = ("10K", "10KB", "1.5Gi", "200m", "10M", "x", "", "1 K", '"10"', "10e3", "-5Mi", "10mi", "1.2.3", "5E", "1e1000000", "+3k", "1eK", "1e3Ki",
          "0.001m", "333m", "1e-3", ".5Gi", "5.", "1KiB", "1kib", "10b", "1Eb", "1e", "1.5", "-0", "0.1", "1e+2k", "99999999999999999999", "10MB",
          "1é", "0.00000000005", "1e10Ei", "--1", "1-2", "e3", "K", "10 ", "1ki", "1KI", "1Pi", "0.3k", "123456789.987654321Gi", "1TB", "10Mib")
_TREES: tuple[Any, ...] = (
    {"a": {"b": [1, {"c": 2}], "d": None}, "e/f": 1, "g~h": "x", "list": [10, 20, 30]}, [1, [2, 3], {"a": 4}], {"a": Set.of([1, 2]), "b": 1},
    {}, [], {"": 1, " ": 2}, {"1": {"0": "x"}}, Set.of([1, "a", Set.of([2])]), {"a": Set.of(["x", "y"])}, {"a": [{"b": 1}, {"b": 2}]})
_PATHS = ("a", "/a", "a/b", "/a/b/1", "a/b/1/c", "list/0", "list/3", "list/-", "list/01", "list/-1", "", "/", "e~1f", "g~0h", "a/d", "a/x/y", " ", "1/0",
          "0", "1/1", "2/a", "a/1", "a/x", "-", "a/0/b", "//")
_OPERATIONS = tuple({"op": op, "path": path, **more} for op in ("add", "remove", "replace", "test", "move", "copy", "x")
                    for path in (*_PATHS[:14], ["a", "b"], ["list", 0], ["list", "1"], ["a", 1], ["a", "x"], [])
                    for more in ({"value": 1}, {"from": "/a"}, {"from": "/list/0"}, {"value": {"z": [1]}}, {}))
_SCHEMAS: tuple[Any, ...] = (
    {}, {"type": "object"}, {"type": ["string", "null"]}, {"type": "integer"}, {"type": "number", "minimum": 1, "exclusiveMinimum": True},
    {"exclusiveMinimum": 1}, {"exclusiveMaximum": 1.5}, {"multipleOf": 0.1}, {"multipleOf": 0}, {"enum": [1, "a", None, [1]]}, {"const": 1.0},
    {"pattern": "^a+$"}, {"pattern": "("}, {"format": "email"}, {"format": "ipv4"}, {"format": "ipv6"}, {"format": "date-time"}, {"format": "uri"},
    {"format": "hostname"}, {"format": "uuid"}, {"format": "date"}, {"format": "time"}, {"format": "regex"}, {"format": "json-pointer"}, {"format": "x"},
    {"minLength": 2}, {"maxLength": 1}, {"items": {"type": "number"}}, {"items": [{"type": "number"}], "additionalItems": False}, {"uniqueItems": True},
    {"minItems": 2}, {"contains": {"const": 1}}, {"required": ["a"]}, {"properties": {"a": {"type": "string"}}, "additionalProperties": False},
    {"patternProperties": {"^a": {"type": "number"}}}, {"dependencies": {"a": ["b"]}}, {"dependencies": {"a": {"required": ["c"]}}},
    {"propertyNames": {"pattern": "^a$"}}, {"minProperties": 1, "maxProperties": 1}, {"allOf": [{"type": "object"}, {"required": ["z"]}]},
    {"anyOf": [{"type": "string"}, {"type": "number"}]}, {"oneOf": [{"type": "number"}, {"minimum": 2}]}, {"not": {}}, {"if": {"type": "string"},
    "then": {"minLength": 5}, "else": {"type": "number"}}, {"$ref": "#/definitions/a", "definitions": {"a": {"type": "number"}}}, {"$ref": "#"}, True, False,
    {"$schema": "http://json-schema.org/draft-04/schema#"}, {"$id": "http://x/y"}, {"type": "foo"}, {"properties": 1}, {"required": "a"}, "{}", "{", "", 1, [])
_VALUES: tuple[Any, ...] = (1, 1.5, read("1.0"), read("0.3"), "a", "aa", "b@x.y", "1.2.3.4", "::1", "2024-02-29", "2024-02-29T12:30:45Z", "12:30:45Z", "http://x/", None,
           True, [], [1, 1], [1, "a"], ["a"], {}, {"a": 1}, {"a": "x"}, {"a": "x", "b": 2}, {"abc": 1}, '{"a": 1}', "{", "é", "x y", 0, -1, read("1e3"), 10**20)
_QUERIES = ("{a}", "query Q($x: Int = 1) { a(b: $x) @include(if: true) { c } }", "{ ...F } fragment F on Q { a }", "mutation { a }", "{", "{a(b: [1, {c: d}])}",
            "subscription S { a }", "{ a: b }", "{ ... on Q { a } }", "", "{a} {b}", "query Q {a} query Q {a}", "{x}", "{ ...G }", "{a(x: 1)}", "{ o { s } }", "{ o }", "{ a { b } }",
            '{ a(s: """x\n  y""") }', "# c\n{a}", "{ a(f: 1.5e3) }", "{ a(e: $v) }", "query($v: [Int!]!) { a }", "{ __typename }", "{a,b}", "{ é }", '{ a(s: "\\u0041") }')
_SDLS = ("type Query { a: Int }", "type Query { a(x: Int = 1): Int! o: O } type O { s: String }", "schema { query: Q } type Q { a: Int }", "type Query", "",
         "type Query { a: X }", "enum E { A B } type Query { e(x: E): E }", "interface I { a: Int } type T implements I { a: Int } type Query { i: I }",
         "union U = Query type Query { a: Int u: U }", "input P { a: Int = 1 } type Query { a(p: P): Int }", "scalar D type Query { d: D }",
         "directive @d(x: Int) on FIELD type Query { a: Int }", '"doc" type Query { """b""" a: Int @deprecated(reason: "x") }', "extend type Query { b: Int } type Query { a: Int }",
         "type Query { a: Int a: Int }", "type Query { a: [Int!]! }", "type __Q { a: Int }", "type Query { a: Int } type Query { b: Int }", "{a}", "type Query {}")
_GRAPHS: tuple[Any, ...] = ({"a": ["b"], "b": ["a", "c"]}, {"a": Set.of(["b"]), "b": [], "c": []}, {}, {"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}, {"a": ["a"]},
           {"a": None}, {"a": "b"}, {"a": ["x"]}, {"a": ["b", "b"], "b": ["c"], "c": ["a"]})
_ROOTS: tuple[Any, ...] = (["a"], Set.of(["a", "b"]), [], ["z"], ["a", "a"], ["c", "a"], [1])
_TOKENS = ("eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.x", "a.b.c", "", "a.b", "eyJhbGciOiJub25lIn0.e30.", "e30.e30.e30", "eyJhbGciOiJIUzI1NiIsImN0eSI6IkpXVCJ9.e30.x",
           "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4IiwiZXhwIjoxfQ.bm8", "eyJhbGciOiJIUzI1NiIsImVuYyI6ImEifQ.e30.e30", "a.b.c.d.e", "eyJhIjoxfQ.WzFd.e30", "bnVsbA.bnVsbA.e30")
_ENCODED = ("6869", "abc", "6g", "ff", "FF", "", "0", "c3a9", "80", "00")
_QUERY_STRINGS = ("a=1&a=2&b=&c", "a=%", "", "a;b=1", "a=%C3%A9", "=x", "&&", "a=b=c", "a+b=c%20d", "%zz=1", "a=1;b=2", "é=ü", "a=%ff")
_MODULES = ("package a", "package a\np := 1", "package a\nimport rego.v1\np if true", "", "p", "package a\np { 1 }", "# c\npackage a.b")
_TEMPLATES = ("{{.a}}", "x", "{{.b}}", "{{if .a}}y{{else}}n{{end}}", "{{range .l}}{{.}},{{end}}", "{{.a.b}}", "{{len .l}}", "{{printf \"%v\" .a}}", "{{- .a -}} x", "{{.a",
              "{{/* c */}}", "{{with .a}}{{.}}{{end}}", "{{range $i, $x := .l}}{{$i}}{{$x}}{{end}}", "{{$x := .a}}{{$x}}", "{{index .l 0}}", "{{eq .a 1}}", "{{not .a}}",
              "{{html .a}}", "{{.a | printf \"%s\"}}", "{{1}}{{1.5}}{{\"x\"}}{{true}}{{nil}}", "{{and .a .l}}{{or .a .l}}", "{{slice .s 1}}", "{{js .s}}{{urlquery .s}}", "{{.}}")
_MODELS: tuple[Any, ...] = ({"a": 1, "l": [1, "x", None, True, read("1.50")], "s": "<é>"}, {}, {"a": {"b": [1]}}, {"a": ""}, {"a": None, "l": []}, {"a": read("1.0"), "l": {"k": 1}},
           {"a": 10**20, "s": ""}, {"a": False, "l": "xyz"})

_OF: dict[str, dict[int, tuple[Any, ...]]] = {
    "regex.match re_match regex.find_n regex.find_all_string_submatch_n regex.is_valid": {0: _PATTERNS}, "regex.split": {0: _PATTERNS},
    "regex.replace": {1: _PATTERNS, 2: ("$1", "${n}", "$$", "x", "", "$1x", "${1}x", "$", "\\1", "$n", "$é", "${", "$0")},
    "regex.template_match": {0: ("urn:{.*}", "{a}{b}", "a{b", "}", "{", "x", "{[a-z]+}:{\\d}", "<a>"), 1: ("urn:x", "ab", "x", "a:1"), 2: ("{", "<", "", "{{", "é"), 3: ("}", ">", "", "é")},
    "regex.globs_match": {0: (*_PATTERNS[:14], "[a-z]+x", "a.b*"), 1: (*_PATTERNS[:14], "[0-9]*", "ab+")},
    "glob.match": {0: _GLOBS, 1: (None, [], ["."], ["/"], [".", "/"], [":"], ["é"], ["ab"], [""]), 2: _NAMES}, "glob.quote_meta": {0: _GLOBS},
    "sprintf": {0: _FORMATS}, "semver.compare": {0: _VERSIONS, 1: _VERSIONS}, "semver.is_valid": {0: _VERSIONS},
    "net.cidr_contains net.cidr_intersects net.cidr_overlap": {0: _CIDRS, 1: _CIDRS}, "net.cidr_is_valid": {0: _CIDRS},
    "net.cidr_expand": {0: tuple(each for each in _CIDRS if not each.endswith(("/8", "/0", "/16", "/32", "/64", "/104")))},
    "net.cidr_merge": {0: tuple([one, other] for one in _CIDRS for other in _CIDRS[::3])}, "net.cidr_contains_matches": {0: _CIDRS, 1: tuple([each] for each in _CIDRS)},
    "time.format": {0: (*_TIMES, *([_TIMES[5], zone, layout] for zone in _ZONES for layout in _LAYOUTS), *([at, zone] for at in _TIMES for zone in _ZONES))},
    "time.date time.clock time.weekday": {0: (*_TIMES, *([at, zone] for at in _TIMES for zone in _ZONES))},
    "time.diff": {0: (*_TIMES, *([at, zone] for at in _TIMES for zone in _ZONES)), 1: (*_TIMES, *([at, zone] for at in _TIMES for zone in _ZONES))},
    "time.add_date": {0: (*_TIMES, *([at, zone] for at in _TIMES[:9] for zone in _ZONES)), 1: (0, 1, -1, 4, 100, -300, 10**6), 2: (0, 1, -1, 12, 13, -25), 3: (0, 1, -1, 31, 366, -400)},
    "time.parse_ns": {0: _LAYOUTS, 1: _STAMPS}, "time.parse_rfc3339_ns": {0: _STAMPS}, "time.parse_duration_ns": {0: _DURATIONS},
    "json.unmarshal json.is_valid": {0: _JSONS}, "yaml.unmarshal yaml.is_valid": {0: _YAMLS}, "uri.parse uri.is_valid": {0: _URIS}, "uuid.parse": {0: _UUIDS},
    "base64.decode base64.is_valid base64url.decode": {0: _BASES}, "hex.decode": {0: _ENCODED}, "urlquery.decode": {0: _QUERY_STRINGS}, "urlquery.decode_object": {0: _QUERY_STRINGS},
    "units.parse units.parse_bytes": {0: _UNITS}, "json.filter json.remove": {0: _TREES, 1: (*([path] for path in _PATHS), *([one, other] for one in _PATHS[:12] for other in _PATHS[:12]),
                                                                                             [["a", "b"]], [["list", "0"]], Set.of(["a/b", "list/1"]), [["list", 0]])},
    "json.patch": {0: _TREES, 1: tuple([each] for each in _OPERATIONS)}, "object.get": {0: _TREES, 1: ("a", ["a", "b"], ["a", "b", 1], [], 1, read("1.0"), ["list", read("1.0")], Set.of([1]), None)},
    "json.match_schema": {0: _VALUES, 1: _SCHEMAS}, "json.verify_schema": {0: _SCHEMAS},
    "graphql.parse_query": {0: _QUERIES}, "graphql.parse_schema graphql.schema_is_valid": {0: _SDLS}, "graphql.parse graphql.is_valid graphql.parse_and_verify": {0: _QUERIES, 1: _SDLS},
    "graph.reachable graph.reachable_paths": {0: _GRAPHS, 1: _ROOTS}, "io.jwt.decode": {0: _TOKENS}, "rego.parse_module": {0: ("a.rego", ""), 1: _MODULES},
    "io.jwt.verify_hs256 io.jwt.verify_hs384 io.jwt.verify_hs512": {0: _TOKENS}, "strings.render_template": {0: _TEMPLATES, 1: _MODELS},
    "to_number": {0: ("1", "1.50", "1e3", "-0", "0x1p4", "1_0", "Inf", "nan", "+Infinity", "", " 1", "1e400", "1e-400", "007", "1e", "é", "--1", "0x10", "1E5", "9" * 30)},
    "format_int": {1: (2, 8, 10, 16, read("10.0"), 3)}, "numbers.range": {0: (1, 5, -3, read("1e1"), read("2.0"), 10**20), 1: (1, 5, -3, read("1e1"), 10**20 + 3, 600)},
    "numbers.range_step": {0: (1, 5, -3, 10**20), 1: (10, -10, 10**20 + 3, 600), 2: (1, 2, 3, 0, -1, read("2.0"), read("1.5"), 10**20)}, "bits.lsh bits.rsh": {1: (0, 1, 5, 64, 200, -1, read("1.0"), read("1e1"), read("1.5"))},
    "strings.split_n": {2: (0, 1, 2, 5, -1, -2, -9, 2**63 - 1, -2**63, 2**64, read("1.0"))}, "substring": {1: (0, 1, 2, -1, 2**63 - 1, read("1.0")), 2: (0, 1, -1, 2**63 - 1, 5, read("1.5"))},
    "array.slice": {1: (0, 1, -1, 5, 2**63 - 1, read("1.0")), 2: (0, 1, 2, -1, 5, 2**64, read("2.0"))},
}
POOLS = {name: {at: tuple({repr(each): each for each in (*pool, *(call[at] for call in CALLS.get(name, []) if len(call) > at))}.values()) for at, pool in pools.items()}
         for names, pools in _OF.items() for name in names.split()}

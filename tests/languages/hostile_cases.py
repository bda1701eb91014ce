"""The table of hostile programs: what they try, how they end, and what is said then."""

from __future__ import annotations

from typing import Any

from tests.languages.hostile import Case

_LONG = "a" * 50_000
_BACKTRACK = "(a+)+$"
_STEPS = "more steps than its budget"
_SIZE = "its budget allows"
_TEN = "[1,2,3,4,5,6,7,8,9,10]"
_ALIASES = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefg", "bcdefgh", strict=True))

_SCALARS = "a: [" + "x," * 128_000 + "]"  # 256 KB, as much as annotations may have


def _nested(outer: str, times: int, innermost: str) -> str:
    for _ in range(times):
        innermost = outer.replace("@", innermost)
    return innermost


_CEL: list[tuple[str, str, str, str, Any]] = [
    ("attribute of Python", "x.__class__", "failed", "no such key: __class__", {}),
    ("attribute of a text", "''.__class__.__mro__", "refused", "does not support field selection", None),
    ("import", "__import__('os')", "refused", "undeclared reference to '__import__'", None),
    ("file", "open('/etc/passwd')", "refused", "undeclared reference to 'open'", None),
    ("globals", "globals()", "refused", "undeclared reference to 'globals'", None),
    ("keyword", "lambda", "refused", "undeclared reference to 'lambda'", None),
    ("format string", "'{0.__class__}'.format([x])", "refused", "undeclared reference to 'format'", 1),
    ("loops in loops", _nested(f"{_TEN}.map(a, @)", 7, "1"), "stopped", _STEPS, None),
    ("text doubled", "x" + "+x" * 200, "stopped", _SIZE, _LONG),
    ("text doubled in loops", _nested("[@].map(v, v + v)[0]", 15, "x"), "stopped", _SIZE, _LONG),
    ("lists added", f"{_TEN}.all(a, {_TEN}.all(b, (x+x+x+x+x+x+x+x).size() > 0))", "stopped", _STEPS,
     list(range(100_000))),
    ("huge integer", "9223372036854775807 * 9223372036854775807", "failed", "integer overflow", None),
    ("huge literal", "9" * 100, "refused", "invalid int literal", None),
    ("regex of exponential time", f"x.matches('{_BACKTRACK}')", "harmless", "False", _LONG + "!"),
    ("regex of great size", "x.matches('((a{1000}){1000}){1000}')", "failed", "invalid repeat count", _LONG),
    ("deep brackets", "[" * 100_000, "refused", "recursion limit exceeded", None),
    ("deep parentheses", "(" * 40_000 + "1" + ")" * 40_000, "refused", "recursion limit exceeded", None),
    ("long negation", "!" * 50_000 + "true", "harmless", "True", None),
    ("deep fields", "x" + ".a" * 40_000, "refused", "recursion limit exceeded", {}),
    ("deep calls", "size(" * 5000 + "x" + ")" * 5000, "refused", "recursion limit exceeded", "a"),
    ("deep macros", "[1].map(a," * 200 + "true" + ")" * 200, "refused", "too complex", None),
    ("deeper macros", "[1].all(a," * 245 + "true" + ")" * 245, "refused", "expression", None),
    ("long macros", "[1].all(a," * 200 + "true" + ")" * 200, "harmless", "True", None),
    ("a long text looked through", _nested(f"{_TEN}.all(a, @)", 4, "x.matches('b$') || true"), "stopped", _STEPS,
     "a" * 1_000_000),
    ("a long text that is no duration", _nested(f"{_TEN}.all(a, @)", 4, "duration(x) == duration(x) || true"),
     "stopped", _STEPS, "a" * 1_000_000),
    ("a duration beyond range", "duration(x)", "failed", "uration", "9" * 20 + "h"),
]
_REGO: list[tuple[str, str, str, str, Any]] = [
    ("a long layout of times", "x := time.parse_ns(input, input)", "harmless", "undefined", "1" * 500_000),
    ("attribute of Python", "x := input.__class__", "harmless", "undefined", {}),
    ("import", "import os\nx := 1", "refused", "unexpected import path", None),
    ("file", 'x := open("/etc/passwd")', "refused", "undefined function open", None),
    ("network", 'x := http.send({"method": "get", "url": "http://127.0.0.1"})', "failed",
     "access to the network is not given", None),
    ("environment", "x := opa.runtime()", "harmless", "{}", None),
    ("randomness", 'x := rand.intn("a", 10)', "failed", "a source of randomness is not given", None),
    ("format string", 'x := sprintf("%{0.__class__}", [1])', "harmless", "%!{", None),
    ("wide format", 'x := sprintf("%1000000000d", [1])', "harmless", "NOVERB", None),
    ("wide format by argument", 'x := sprintf("%*d", [1000000000, 1])', "harmless", "BADWIDTH", None),
    ("keyword", "lambda := 1\nx := lambda", "harmless", "1", None),
    ("range", "x := count(numbers.range(1, 1000000000))", "stopped", _SIZE, None),
    ("loops in loops", "x := [a | some a in input; some b in input; some c in input; a + b + c == -1]", "stopped",
     _STEPS, list(range(1000))),
    ("text joined again", "x := concat(y, input)\ny := concat(input[0], input)", "stopped", _SIZE, ["a" * 1000] * 200),
    ("text replaced", 'x := replace(input, "a", input)', "stopped", _SIZE, _LONG),
    ("arrays doubled", "x := count(y9)\ny0 := input\n" + "".join(
        f"y{n} := array.concat(y{n - 1}, y{n - 1})\n" for n in range(1, 10)), "stopped", _SIZE, list(range(10_000))),
    ("regex of exponential time", f'x := regex.match("{_BACKTRACK}", input)', "harmless", "False", _LONG + "!"),
    ("regex of great size", 'x := regex.match("((a{1000}){1000}){1000}", input)', "harmless", "undefined", _LONG),
    ("glob of exponential size", f'x := glob.match("{"{a,b}" * 20}", [], input)', "harmless", "False", "a" * 19 + "c"),
    ("exponent", "x := 1e999999999 * 2", "refused", "number too big", None),
    ("huge literal", f"x := {'9' * 100_000}", "refused", "number too big", None),
    ("huge integer", "x := bits.lsh(1, 10000000000)", "stopped", _SIZE, None),
    ("recursion", "x if y\ny if x", "refused", "rule data.p.x is recursive", None),
    ("recursive function", "f(a) := f(a - 1)\nx := f(10)", "refused", "rule data.p.f is recursive", None),
    ("deep brackets", "x := " + "[" * 100_000, "refused", "nested too deeply", None),
    ("deep parentheses", "x := " + "(" * 10_000 + "1" + ")" * 10_000, "refused", "nested too deeply", None),
    ("long sums", "x := 1" + "+1" * 10_000, "refused", "nested too deeply", None),
    ("addresses", 'x := net.cidr_expand("::/0")', "stopped", _SIZE, None),
    ("deep JSON", "x := json.unmarshal(input)", "harmless", "undefined", "[" * 100_000),
    ("YAML of many scalars", "x := yaml.unmarshal(input)", "stopped", _STEPS, _SCALARS),
    ("a long text looked through", 'x := [1 | some n in numbers.range(1, 100000); contains(input, "b")]', "stopped",
     _STEPS, "a" * 1_000_000),
    ("a long text matched", 'x := [1 | some n in numbers.range(1, 1000); regex.match("b", input)]', "stopped", _STEPS,
     "a" * 1_000_000),
    ("long certificates", "x := [1 | some n in numbers.range(1, 1000); crypto.x509.parse_certificates(input)]",
     "stopped", _STEPS, "-----BEGIN CERTIFICATE-----\n" * 20_000),
    ("modules parsed", 'x := [1 | some n in numbers.range(1, 1000); rego.parse_module("a", input)]', "stopped", _STEPS,
     "package a\n" + "p := 1\n" * 1_000),
    ("queries parsed", "x := [1 | some n in numbers.range(1, 1000); graphql.parse_query(input)]", "stopped", _STEPS,
     "{ a(b: [" + "1 " * 5_000 + "]) }"),
    ("a number of many digits", "x := 1e30000 * 1e30000", "stopped", _SIZE, None),
    ("a quotient of many digits", "x := 1e20000 / 3", "stopped", _SIZE, None),
    ("a product of a list", "x := product(input)", "stopped", _SIZE, [10**300] * 100),
    ("paths of a graph", 'x := graph.reachable_paths(input, ["0"])', "stopped", _STEPS,
     {str(at): [str(to) for to in range(at + 1, min(at + 12, 40))] for at in range(40)}),
]
_JMESPATH: list[tuple[str, str, str, str, Any]] = [
    ("attribute of Python", "__class__", "failed", 'Unknown key "__class__"', {}),
    ("import", "__import__('os')", "failed", "unknown function: __import__", {}),
    ("eval", "eval('1')", "failed", "unknown function: eval", {}),
    ("randomness", "random('[a-z]{1000000}')", "failed", "no randomness", {}),
    ("deep parentheses", "(" * 50_000, "refused", "", None),
    ("deep brackets", "[" * 50_000, "refused", "", None),
    ("deep negation", "!" * 50_000 + "a", "refused", "", None),
    ("deep fields", "a" + ".a" * 30_000, "refused", "", {}),
    ("long or", "a" + "||a" * 20_000, "refused", "", {}),
    ("long pipe", "a" + "|a" * 30_000, "refused", "", {}),
    ("deep literal", "`" + "[" * 50_000 + "`", "refused", "", {}),
    ("loops in loops", "@[*][*][*][*][*][*]", "stopped", _STEPS, [[[[[[1] * 20] * 20] * 20] * 20] * 20]),
    ("text joined again", "join(join(join('x', @), @), @)", "stopped", _SIZE, ["a" * 1000] * 500),
    ("text replaced", "replace_all(@, 'a', @)", "stopped", _SIZE, _LONG),
    ("text replaced by regex", f"regex_replace_all('a', @, '{'b' * 60}')", "stopped", _SIZE, "a" * 900_000),
    ("regex of exponential time", f"regex_match('{_BACKTRACK}', @)", "harmless", "False", _LONG + "!"),
    ("regex of great size", "regex_match('((a{1000}){1000}){1000}', @)", "failed", "invalid repeat count", _LONG),
    ("a time beyond range", "time_add('0001-01-01T00:00:00Z', '999999999999h')", "failed", "invalid duration", {}),
    ("a long slice", "@[0:1000000000:1]", "harmless", "[0, 1, 2]", [0, 1, 2]),
    ("YAML of exponential size", "parse_yaml(@)", "failed", "excessive aliasing", _ALIASES),
    ("YAML of many scalars", "parse_yaml(@)", "stopped", _STEPS, _SCALARS),
    ("YAML of many lines", "parse_yaml(@)", "stopped", _STEPS, "- a\n" * 64_000),
    ("deep JSON", "parse_json(@)", "failed", "max depth", "[" * 100_000),
    ("a long text looked through", "[*].[contains(@, 'b')]", "stopped", _STEPS, ["a" * 1_000_000] * 1_000),
    ("a long text hashed", "[*].[sha256(@)]", "stopped", _STEPS, ["a" * 1_000_000] * 1_000),
    ("a long text encoded", "[*].[base64_encode(@)]", "stopped", _STEPS, ["a" * 700_000] * 1_000),
    ("a long text folded", "[*].[equal_fold(@, @)]", "stopped", _STEPS, ["É" * 100_000] * 1_000),
    ("a long layout of times", "time_parse(@, @)", "failed", "at most 4096 are read", "1" * 500_000),
]
_PATTERN: list[tuple[str, Any, str, str, Any]] = [
    ("attribute of Python", {"__class__": "x"}, "harmless", "resource value '<nil>'", {"a": 1}),
    ("many wildcards", "a*" * 500 + "b", "harmless", "Mismatch", _LONG),
    ("wildcards in keys", {"metadata": {"labels": {"*" * 2000 + "a": "?*"}}}, "harmless", "None",
     {"metadata": {"labels": {_LONG: "x"}}}),
    ("huge range", "1-" + "9" * 40, "harmless", "None", 5),
    ("exponent", ">99999999999E999999", "harmless", "does not match", "1Gi"),
    ("huge integer", 10**400, "harmless", "None", 10**400),
    ("lists by lists", [{"a": {"(b)": "x*"}}] * 200, "harmless", "does not match", [{"a": {"b": "y"}}] * 2000),
]
_FALCO: list[tuple[str, str, str, str, Any]] = [
    ("attribute of Python", "proc.__class__ = x", "refused", "unexpected token after 'proc'", None),
    ("import", "__import__", "refused", "expected a '(' token", None),
    ("call", "proc.name = __import__('os').system('x')", "refused", "unexpected token after '__import__'", None),
    ("deep parentheses", "(" * 100_000, "refused", "more than 100 levels", None),
    ("deep negation", "not(" * 50_000, "refused", "more than 100 levels", None),
    ("long or", "proc.name = a" + " or proc.name = b" * 25_000, "refused", "longer than 262144 characters", None),
    ("macros doubled", "- macro: m0\n  condition: evt.type = open\n" + "".join(
        f"- macro: m{n}\n  condition: (m{n - 1} and fd.num={n}) or (m{n - 1} and fd.num!={n})\n"
        for n in range(1, 60)), "refused", "more than 20000 checks", None),
    ("macros in a loop", "- macro: a\n  condition: a\n- macro: a\n  condition: or a\n  append: true\n", "refused",
     "reference loop in macro 'a'", None),
    ("lists doubled", "- list: l0\n  items: [v]\n" + "".join(
        f"- list: l{n}\n  items: [l{n - 1}, l{n - 1}]\n" for n in range(1, 60)), "refused", "more than 100000 items",
     None),
    ("lists doubled as text", "".join(f"- list: k{n}\n  items: ['k{n + 1},k{n + 1}']\n" for n in range(60))
     + "- macro: m\n  condition: proc.name in (k0)\n", "refused", "longer than 262144 characters", None),
    ("text doubled", f"len({_nested('concat(@, @)', 6, 'proc.args')}) > 0", "stopped", _SIZE, {"proc.args": _LONG}),
    ("regex of exponential time", f"proc.name regex '{_BACKTRACK}'", "harmless", "[]", {"proc.name": _LONG + "!"}),
    ("regex of great size", "proc.name regex '((a{1000}){1000}){1000}'", "refused", "invalid repetition size", None),
    ("many wildcards", f"proc.name glob '{'a*' * 500}b'", "harmless", "[]", {"proc.name": _LONG}),
    ("huge literal", "fd.num = " + "9" * 10_000, "refused", "is not a valid number", None),
    ("deep YAML", "- " + "[" * 100_000, "refused", "nesting deeper than 8 levels", None),
    ("long conditions", " and ".join(f"proc.aname[{n}] contains x" for n in range(1000)), "harmless", "[]", {}),
]
CASES = [
    *(Case("cel", *each) for each in _CEL),
    *(Case("rego", *each) for each in _REGO),
    *(Case("jmespath", *each) for each in _JMESPATH),
    *(Case("pattern", *each) for each in _PATTERN),
    *(Case("falco", *each) for each in _FALCO),
]

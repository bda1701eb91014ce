"""What expressions give: values of the language, error absorption, equality, overflow, names."""

from __future__ import annotations

import math
from typing import Any

import pytest

from policylang import cel
from policylang.cel.libraries import ext

OBJECT = {"spec": {"replicas": 3, "containers": [{"name": "a", "tags": ["x"]}, {"name": "b"}], "none": None},
          "flag": True, "ratio": 2.5}


def evaluate(text: str, variables: dict[str, Any] | None = None, *, check: bool = True, **env: Any) -> Any:
    given = {"object": OBJECT} if variables is None else variables
    names = env.pop("variables", dict.fromkeys(given, cel.DYN))
    return cel.Env(ext.everything(), names, **env).compile(text, check=check)(given)


@pytest.mark.parametrize(("text", "value"), [
    ("object.spec.replicas + 1", 4),
    ("object.spec.containers.map(c, c.name)", ["a", "b"]),
    ("object.spec.containers.filter(c, has(c.tags)).size()", 1),
    ("object.spec.containers.exists_one(c, c.name == 'a')", True),
    ("object.spec.containers.all(c, c.name != 'z') && object.flag", True),
    ("object.spec.containers[1].name + '!'", "b!"),
    ("object['spec']['replicas'] == 3u", True),
    ("object.ratio > 2", True),
    ("object.flag == 1", False),
    ("1 in [true]", "compile"),
    ("dyn(1) in [true]", False),
    ("object.spec.none == null", True),
    ("has(object.spec.none)", True),
    ("has(object.spec.nothing) ? 1 : 2", 2), ("has(object.flag.x)", False),
    ("{1: 'a'}[1]", "a"), ("{true: 'a', 1: 'b'}[true]", "a"), ("{true: 'a', 1: 'b'}[1]", "b"),
    ("{true: 'a', 1: 'b'}.map(k, k).size()", 2), ("{1: 2} == {1: 2}", True), ("dyn({1: 2}) == {1.0: 2}", "error"),
    ("dyn({1: 2}) == {1u: 2.0}", True), ("{1u: 'x'}[dyn(1.0)]", "x"),
    ("-7 / 2", -3), ("-7 % 2", -1), ("7.0 / 2.0", 3.5), ("0x10 + 1", 17),
    ("'a' + 'b' == 'ab' ? [1] + [2] : []", [1, 2]),
    ("type(1) == int && type('') == string && type(type(1)) == type", True),
    ("[1, 2, 3].map(x, x > 1, x * 10)", [20, 30]),
    ("{'a': 1, 'b': 2}.exists(k, k == 'b')", True),
    ("[[1, 2], [3]].map(l, l.map(x, x + 1))", [[2, 3], [4]]),
    ("{'a': 1}.transformMap(k, v, v + 1)", {"a": 2}), ("[1, 2].transformList(i, v, i * v)", [0, 2]),
    ("{'a': 'b'}.transformMapEntry(k, v, {v: k})", {"b": "a"}), ("[1, 2].all(i, v, i < v)", True),
    ("cel.bind(x, 1 + 1, x * x)", 4), ("cel.bind(x, 1 / 0, true)", True), ("cel.bind(x, 1 / 0, x == 1)", "error"),
    ("object.?spec.?nothing.orValue(7)", 7), ("object.?spec.?replicas.optMap(r, r + 1).value()", 4),
    ("[?object.?x, ?optional.of(1)]", [1]), ("{?'a': object.?x, 'b': 1}", {"b": 1}),
    ("optional.none().or(optional.of(2)).value()", 2), ("optional.of(1).orValue(1 / 0)", 1),
    ("object[?'flag'].value()", True), ("[1, 2].first().value() + [1, 2].last().value()", 3),
    ("math.greatest(1, 2.5, 2u) == 2.5", True), ("math.least([3, 1, 2])", 1),
    ("'a,b'.split(',')", ["a", "b"]), ("'%s-%d'.format(['x', 3])", "x-3"),
    ("timestamp('2009-02-13T23:31:30Z').getHours('America/New_York')", 18),
    ("timestamp('2009-02-13T23:31:30Z').getHours('+24:00')", 23), ("timestamp(0).getDate('-24:30')", 30),
    ("timestamp(0).getHours('1:60')", "error"),
    ("timestamp('2009-02-13T23:31:30+24:00') < timestamp(1234567890)", True),
    ("string(timestamp('2009-02-13T23:31:30.5+02:00'))", "2009-02-13T21:31:30.5Z"),
    ("string(timestamp(0) + duration('1h'))", "1970-01-01T01:00:00Z"),
    ("duration('1h') < duration('61m')", True), ("int(timestamp('1970-01-01T00:00:01Z'))", 1),
    ("b'\\xff' + b'a'", b"\xffa"), ("'\\u00e9\\U0001F600'.size()", 2), ("r'\\n'.size()", 2), ("'''a\n'b'''", "a\n'b"),
    ("regex.replace('abc', '(b)', '<\\\\1>')", "a<b>c"), ("regex.extract('k=v', 'k=(.)').value()", "v"),
    ("[3, 1, 2].sort()", [1, 2, 3]), ("[1, 2, 2].distinct()", [1, 2]), ("lists.range(3)", [0, 1, 2]),
    ("['b', 'a'].sortBy(x, x)", ["a", "b"]), ("sets.contains([1, 2], [2])", True),
    ("base64.decode('aGk=') == b'hi'", True), ("base64.encode(b'hi')", "aGk="),
    ("object.class", "error"), ("{'class': 1}.class", 1), ("{'a-b': 2}.`a-b`", 2),
])
def test_values(text: str, value: Any) -> None:
    if value == "error":
        with pytest.raises(cel.CelError):
            evaluate(text)
    elif value == "compile":
        with pytest.raises(cel.CompileError):
            evaluate(text)
    else:
        found = evaluate(text)
        assert found == value
        assert type(found) is type(value)


@pytest.mark.parametrize(("text", "value"), [
    ("true || 1 / 0 > 0", True), ("1 / 0 > 0 || true", True), ("false && 1 / 0 > 0", False),
    ("1 / 0 > 0 && false", False), ("object.x || true", True), ("object.x && false", False),
    ("true || dyn(1)", True), ("dyn('a') || true", True), ("object.x || object.y || true || object.z", True),
    ("[1, 0].exists(x, 2 / x == 2)", True), ("[0, 1].exists(x, 2 / x == 2)", True),
    ("[0, 1].all(x, 2 / x == 7)", False),
    ("(object.x ? true : false) || true", True), ("[0].map(x, 1 / x).size() == 1 || true", True),
    ("false && (object.a.b.c.d || object.e)", False), ("[1, 0].all(x, x > 0 || 1 / x > 0) || true", True),
])
def test_absorbed(text: str, value: bool) -> None:
    assert evaluate(text) is value
    assert evaluate(text, check=False) is value


@pytest.mark.parametrize(("text", "message"), [
    ("1 / 0", "division by zero"), ("1 % 0", "modulus by zero"),
    ("9223372036854775807 + 1", "integer overflow"), ("-9223372036854775808 / -1", "integer overflow"),
    ("0u - 1u", "unsigned integer overflow"), ("object.nope", "no such key: nope"),
    ("object.spec.nope.further", "no such key: nope"), ("{'a': 1}['b']", "no such key: b"),
    ("{1: 1}[2]", "no such key: 2"),
    ("object.spec.containers[7]", "index out of bounds: 7"), ("[1][-1]", "index out of bounds: -1"),
    ("object.flag.x", "no such key: x"), ("object.flag + 1", "no such overload: _+_"),
    ("object.spec < 1", "no such overload: _<_"), ("object.flag.startsWith('x')", "no such overload"),
    ("object.flag.x || false", "no such key: x"), ("[object.flag].map(f, f.x.y)", "no such key: x"),
    ("object.spec.containers.name", "unsupported index type 'string' in list"),
    ("has(object.spec.containers.name)", "unsupported index type 'string' in list"),
    ("object.flag.all(x, true)", "got 'types.Bool', expected iterable type"),
    ("size(object.flag)", "no such overload: size"), ("optional.of(object.flag).x", "no such key: x"),
    ("object.spec.none.x", "no such key: x"), ("object.flag[0]", "no such key: 0"),
    ("string(object.spec)", "no such overload: string(map)"),
    ("object.x || false", "no such key: x"), ("false || object.x || object.y", "no such key: x"),
    ("object.spec.replicas ? 1 : 2", "no such overload"), ("object.spec.replicas && true", "no such overload"),
    ("[1, 0].all(x, 1 / x > 0)", "division by zero"), ("optional.none().value()", "optional.none() dereference"),
    ("{'a': 1, 'a': 2}", "Failed with repeated key: a"),
    ("timestamp('x')", "type conversion error from 'string' to 'google.protobuf.Timestamp'"),
    ("duration('x')", "type conversion error from 'string' to 'google.protobuf.Duration'"),
    ("timestamp(9223372036854775807)", "timestamp overflow"),
    ("int('x')", "type conversion error from 'string' to 'int'"),
    ("object.spec.replicas.upper()", "compile"), ("'x'.matches('(')", "error parsing regexp: missing closing ): `(`"),
    ("'a'.substring(3)", "index out of range: 3"), ("object.ratio.matches('a')", "no such overload"),
])
def test_errors_in_cel_gos_words(text: str, message: str | None) -> None:
    if message == "compile":
        with pytest.raises(cel.CompileError):
            evaluate(text)
        return
    with pytest.raises(cel.CelError) as caught:
        evaluate(text)
    if message is not None:
        assert caught.value.message == message


def test_the_first_error_is_the_one_that_is_seen() -> None:
    with pytest.raises(cel.CelError, match="no such key: first"):
        evaluate("object.first == object.second + [1].map(x, x)[0]")
    with pytest.raises(cel.CelError, match="no such key: first"):
        evaluate("[object.first, [1].map(x, object.second)]")


def test_variables_that_are_missing_matter_only_where_they_are_used() -> None:
    env = cel.Env(variables={"a": cel.BOOL, "b": cel.BOOL})
    program = env.compile("a || b")
    assert program({"a": True}) is True
    assert program(a=False, b=True) is True
    with pytest.raises(cel.CelError, match=r"no such attribute\(s\): b"):
        program({"a": False})


def test_names_are_resolved_in_the_container_first() -> None:
    variables = {"a.b.x": cel.INT, "x": cel.STRING, "a.y": cel.INT}
    env = cel.Env(variables=variables, container="a.b")
    assert env.compile("x")({"a.b.x": 1, "x": "s", "a.y": 2}) == 1
    assert env.compile(".x")({"a.b.x": 1, "x": "s", "a.y": 2}) == "s"
    assert env.compile("y")({"a.b.x": 1, "x": "s", "a.y": 2}) == 2
    assert env.compile("[7].map(x, x)[0]")({"a.b.x": 1, "x": "s", "a.y": 2}) == 7


def test_without_checking_the_longest_name_given_wins() -> None:
    env = cel.Env()
    program = env.compile("a.b.c", check=False)
    assert program({"a.b": {"c": 1}, "a": {"b": {"c": 2}}}) == 1
    assert program({"a": {"b": {"c": 2}}}) == 2
    with pytest.raises(cel.CelError, match="no such attribute"):
        program({})
    with pytest.raises(cel.CelError, match="no such overload"):
        env.compile("nope(1)", check=False)({})


def test_nan_is_equal_to_nothing() -> None:
    assert evaluate("object == object", {"object": math.nan}) is False
    assert evaluate("[object] == [object]", {"object": math.nan}) is False
    assert evaluate("object in [object]", {"object": math.nan}) is False


def test_large_numbers_compare_with_doubles_as_in_go() -> None:
    assert evaluate("dyn(9223372036854775807) == 9223372036854775808.0") is True
    assert evaluate("dyn(9007199254740993) < 9007199254740992.0") is False


def test_long_chains_do_not_nest() -> None:
    for operator, last in (("||", "true"), ("&&", "false")):
        text = f" {operator} ".join(["object.flag" if operator == "&&" else "!object.flag"] * 3000 + [last])
        assert evaluate(text) is (last == "true")
        failing = f" {operator} ".join(["object.x"] * 500 + [last])
        assert evaluate(failing) is (last == "true")


def test_deep_loops_are_functions_of_their_own() -> None:
    text = "1"
    for depth in range(30):
        quantified = f"([1].exists(v{depth}, {text} == 1 || 1/0 == 1) ? 1 : 0)"
        text = f"[0].map(v{depth}, {text})[0]" if depth % 2 else quantified
    assert evaluate(text) == 1


@pytest.mark.parametrize(("text", "reason"), [
    ("[{'a': 1}, {}, {'b': 1}].filter(x, x.a == 1)", "no such key: a"),
    ("[{'b': 1}, {'a': 1, 'b': 2}].filter(x, x.a == 1 && x.c == 1)", "no such key: c"),
    ("[{}, {'a': true}].filter(x, x.a)", "no such key: a"),
    ("[{'a': 1}, {}].exists_one(x, x.a == x.b)", "no such key: a"),
    ("[{'a': true}, {'a': false}, {}].map(x, x.a, x.b)", "no such key: a"),
    ("[{'a': true}, {'a': false}].map(x, x.a, x.b)", "no such key: b")])
def test_the_error_of_a_loop_is_that_of_its_last_condition_that_fails(text: str, reason: str) -> None:
    """cel-go goes on with the loop; gator's answers show it."""
    with pytest.raises(cel.CelError, match=reason):
        evaluate(text)

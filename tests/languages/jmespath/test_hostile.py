"""Expressions that try to get out, to run for ever or to fill the memory; data that tries to write into a policy."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policylang import jmespath
from policylang.budget import BudgetExceeded
from policylang.errors import LanguageError
from policylang.go.printing import indented, marshal, sprint
from policylang.jmespath import Env, QueryError
from policylang.source import SourceError
from policylang.variables import Roots, compile_value
from tests.languages.jmespath.cases import DATA, expressions

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ANY = Roots(None, None)
SOME: dict[str, Any] = {"a": "x" * 1000, "l": list(range(1000)), "o": {"__class__": 1, "class": 2}}
_33 = "`[" + ",".join("1" * 33) + "]`"


@pytest.mark.parametrize(("text", "message", "place"), [
    ("[" * 100_000, "program of 100000 characters", (1, 1)), ("(" * 16_000, "nested too deeply", (1, 121)),
    ("!" * 16_000 + "a", "nested too deeply", (1, 121)), ("a" + ".b" * 8_000, "nested too deeply", (1, 1)),
    ("a" + "||a" * 5_000, "nested too deeply", (1, 1)), ("a" * 10_000_000, "program of 10000000", (1, 1)),
    ("a\0b", "illegal character NUL", (1, 2)), ("'\ud800'", "surrogate", (1, 2)), ("a ||\n 'b", "Unclosed", (2, 4)),
    ("`" + "[" * 16_000 + "`", "exceeded max depth", (1, 1)),
    ("`" + "9" * 5_000 + "`", "cannot unmarshal number", (1, 1)),
    ("`NaN`", "invalid character 'N'", (1, 1)), ("a\n.\n#", "Unknown char: '#'", (3, 1)),
])
def test_refused_with_its_place(text: str, message: str, place: tuple[int, int]) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        jmespath.compile(text)
    assert (caught.value.line, caught.value.column) == place


@pytest.mark.parametrize("text", [
    "[@,@][]|" * 40 + "@", "[@,@]|" * 60 + "to_string(@)", "[@,@]|" * 60 + "[@ == @, `1`]",
    "a" + "|replace_all(@,'x','xx')" * 40, "a" + "|base64_encode(@)" * 60, "a" + "|[@,@]|join('',@)" * 40,
    "l" + "|to_string([@,@])" * 40, f"map(&map(&map(&map(&@,{_33}),{_33}),{_33}),{_33})",
    "regex_replace_all('x', a, join('', [a, a]))", "[@,@]|" * 40 + "{a: @, b: [@]}|sum([to_string(a)])",
])
def test_stopped_by_the_budget(text: str) -> None:
    with pytest.raises(BudgetExceeded):
        jmespath.compile(text)(SOME, Env(NOW))


def test_equality_of_large_values_of_few_objects() -> None:
    double = "[@,@]|" * 60
    with pytest.raises(BudgetExceeded):
        jmespath.compile(f"[({double[:-1]}), ({double[:-1]})]|[0] == @[1]")(SOME, Env(NOW))


def test_texts_of_large_values_of_few_objects() -> None:
    value: Any = [1]
    for _ in range(60):
        value = [value, value]
    for write in (sprint, marshal, indented):
        with pytest.raises(BudgetExceeded):
            write(value, 100_000)


@pytest.mark.parametrize(("text", "value"), [
    ("o.__class__", 1), ("o.class", 2), ("'{0.__class__}'", "{0.__class__}"), ("__builtins__ || 'no'", "no"),
    ("a.__class__ || 'no'", "no"), ("regex_match('(x+)+$', a)", True), ("regex_match('(x+x+)+y', a)", False),
    ("None || True || lambda || 'no'", "no"), ("data || env || k1 || 'no'", "no"), ("[l[0],l[-1]]", [0, 999]),
])
def test_harmless(text: str, value: Any) -> None:
    assert jmespath.compile(text)(SOME, Env(NOW)) == value


def test_loops_in_loops_beyond_what_python_nests() -> None:
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    assert jmespath.compile("@" + "[*]" * 40)(deep, Env(NOW)) == deep
    assert jmespath.compile("[?" * 30 + "@" + "]" * 30)(deep, Env(NOW)) == deep


def test_a_program_reaches_only_what_was_hoisted() -> None:
    program = jmespath.compile("a.length(@)")
    assert program._run.__globals__["__builtins__"] == {}
    assert not {"open", "eval", "exec", "getattr", "__import__"} & set(program._run.__globals__)


def test_programs_pickle() -> None:
    for text in expressions()[:200]:
        try:
            program = jmespath.compile(text)
        except SourceError:
            continue
        assert pickle.loads(pickle.dumps(program)).text == program.text


def test_a_trace_has_every_part() -> None:
    value, trace = jmespath.traced("pods[?replicas > `1`].name | [0]", DATA)
    assert value == "web"
    lines = list(trace.lines())
    assert lines[-1] == "1:1  pods[?replicas > `1`].name | [0] = 'web'"
    assert "1:7  replicas = 3" in lines


@pytest.mark.parametrize(("text", "data", "value"), [
    ("{{ a.{{ b }} }}", {"a": {"x": 1}, "b": "x"}, 1), ("{{ a[{{ b }}] }}", {"a": [1, 2], "b": 1}, 2),
    ("{{ a.\"{{ b }}\" }}", {"a": {"x.y": 1}, "b": "x.y"}, 1), ("-{{ a }}-{{ b }}", {"a": [1], "b": "x"}, "-[1]-x"),
    ("{{ length(`{{ a }}`) }}", {"a": [1, 2]}, 2), ("{{ `[\"{{ a }}\", 1]` }}", {"a": "x\"y"}, ["x\"y", 1]),
    ("\\{{ a }}", {}, "{{ a }}"), ("{{ a }}", {"a": "{{ b }}"}, "{{ b }}"), ("x{{ a }}", {"a": "{{ b }}"}, "x{{ b }}"),
])
def test_variables(text: str, data: Any, value: Any) -> None:
    fill = compile_value(text, "x", ANY)
    assert fill is not None
    assert fill(data, NOW) == value


@pytest.mark.parametrize("name", ["x || secret", "x) || secret || (x", "x.y", "x\"", "", "`1`", "@", "x | secret"])
def test_data_cannot_write_into_an_expression(name: str) -> None:
    fill = compile_value("{{ a.{{ b }} }}", "x", ANY)
    assert fill is not None
    with pytest.raises(QueryError, match="outside quotes"):
        fill({"a": {"x": 1}, "secret": 2, "b": name}, NOW)


def test_keys_and_references() -> None:
    fill = compile_value({"{{ k }}": {"limit": "2Gi", "request": "<=$(./../limit)"}}, "x", ANY)
    assert fill is not None
    assert fill({"k": "memory"}, NOW) == {"memory": {"limit": "2Gi", "request": "<=2Gi"}}


@given(st.text("ab.[]*?@&|!=<>(){}:,'`\"\\ 01-", max_size=30))
def test_any_text_is_refused_or_evaluated(text: str) -> None:
    try:
        jmespath.Program(text)({"a": [{"b": 1}, "a"], "b": {"a": None}}, Env(NOW))
    except LanguageError:
        pass

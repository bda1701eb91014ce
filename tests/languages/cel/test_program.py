"""Programs as objects: pickling, traces, cost, variables computed on demand, libraries of others."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from policylang import cel
from policylang.cel.libraries import ext
from policylang.errors import InputError, NotEvaluatedError

OBJECT = {"object": {"spec": {"replicas": 3, "names": ["a", "bb"]}}}
ENV = cel.Env(ext.everything(), {"object": cel.DYN})


@pytest.mark.parametrize("text", ["object.spec.replicas > 2", "object.spec.names.map(n, n + '!').join()",
                                  "nope(1) || true"])
def test_pickle(text: str) -> None:
    program = ENV.compile(text, check=not text.startswith("nope"))
    again = pickle.loads(pickle.dumps(program))
    assert again(OBJECT) == program(OBJECT)
    assert again.source.text == text


def test_values_pickle() -> None:
    for value in (cel.Uint(3), cel.Timestamp(5), cel.Duration(-5), cel.Optional(1), cel.NONE, cel.TypeValue("int")):
        again = pickle.loads(pickle.dumps(value))
        assert type(again) is type(value)
        assert repr(again) == repr(value)


def test_trace() -> None:
    program = ENV.compile("object.spec.replicas > 2 && object.spec.names.all(n, n.size() == 1)", trace=True)
    assert program(OBJECT) is False
    value, trace = program.explain(OBJECT)
    assert value is False
    shown = list(trace.lines())
    assert "1:1  object.spec.replicas > 2 = True" in shown
    assert "1:54  n.size() == 1 = False" in shown
    error, trace = program.explain({"object": {}})
    assert isinstance(error, cel.CelError)
    with pytest.raises(NotEvaluatedError):
        ENV.compile("1").explain({})


@pytest.mark.parametrize(("text", "cost"), [
    ("1 == 1", 1), ("object.spec.replicas", 3), ("object.spec['replicas'] == 3", 4),
    ("object.spec.replicas > 2 && true", 4), ("object.spec.replicas > 5 ? 'a' : 'b'", 4), ("'abc'.startsWith('a')", 1),
])
def test_cost(text: str, cost: int) -> None:
    program = ENV.compile(text, cost=cel.CEL_COSTS)
    value, spent = program.measure(OBJECT)
    assert spent == cost
    assert value == program(OBJECT)


def test_what_is_compiled_with_trace_is_explained_and_not_measured() -> None:
    program = ENV.compile("object.n + 1", trace=True, cost=cel.CEL_COSTS)
    value, trace = program.explain({"object": {"n": 1}})
    assert (value, len(trace.steps)) == (2, 3)
    with pytest.raises(NotEvaluatedError, match="compiled without cost, or with trace"):
        program.measure({"object": {"n": 1}})


def test_cost_limit() -> None:
    program = ENV.compile("object.spec.names.all(n, n.size() > 0)", cost=cel.CEL_COSTS)
    _, spent = program.measure(OBJECT)
    assert program.measure(OBJECT, spent) == (True, spent)
    with pytest.raises(cel.CostExceeded, match="actual cost limit exceeded"):
        program.measure(OBJECT, spent - 1)


class _Lazy(Mapping[str, Any]):
    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getitem__(self, name: str) -> Any:
        self.asked.append(name)
        return {"cheap": True, "dear": 1}[name]

    def __iter__(self) -> Iterator[str]:
        return iter(("cheap", "dear"))

    def __len__(self) -> int:
        return 2


def test_a_mapping_is_asked_only_for_what_is_used() -> None:
    env = cel.Env(variables={"cheap": cel.BOOL, "dear": cel.INT})
    variables = _Lazy()
    assert env.compile("cheap || dear == 2")(variables) is True
    assert variables.asked == ["cheap"]


class _Point:
    cel_type = cel.opaque("test.Point")

    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Point) and other.x == self.x

    def __hash__(self) -> int:
        return self.x


_POINT = cel.opaque("test.Point")
_LIBRARY = cel.Library("test", functions=(
    cel.Function("point", (cel.Overload("int_to_point", (cel.INT,), _POINT, _Point, cel.CONSTANT, fold=True),)),
    cel.Function("x", (cel.Overload("point_x", (_POINT,), cel.INT, lambda point: point.x, cel.CONSTANT, member=True),)),
    cel.Function("_+_", (cel.Overload("add_points", (_POINT, _POINT), _POINT,
                                      lambda one, other: _Point(one.x + other.x), cel.CONSTANT),)),
    cel.Function("string", (cel.Overload("point_to_string", (_POINT,), cel.STRING, lambda point: f"@{point.x}",
                                                     cel.CONSTANT),)),
    cel.Function("startsWith", (cel.Overload("point_starts", (_POINT, cel.INT), cel.BOOL,
                                             lambda point, at: point.x == at, cel.CONSTANT, member=True),)),
), types=(_POINT,))


@pytest.mark.parametrize(("text", "value"), [
    ("point(3).x()", 3), ("point(object.n).x()", 4), ("dyn(point(3)).x()", 3), ("point(1) == point(1)", True),
    ("type(point(1)) == test.Point", True), ("string(point(2))", "@2"), ("string(dyn(2))", "2"),
    ("point(1).startsWith(1)", True), ("dyn('ab').startsWith('a')", True), ("dyn(point(1)).startsWith(1)", True),
    ("[point(1)].exists(p, p == point(1))", True), ("(point(1) + point(2)).x()", 3),
    ("(dyn(point(1)) + point(2)).x()", 3),
])
def test_a_library_of_ones_own(text: str, value: Any) -> None:
    env = cel.Env([_LIBRARY], {"object": cel.DYN})
    assert env.compile(text)({"object": {"n": 4}}) == value


def test_a_function_says_what_it_costs() -> None:
    with pytest.raises(TypeError, match="cost"):
        cel.Overload("point_y", (_POINT,), cel.INT, lambda point: 0, member=True)  # type: ignore[call-arg]
    dear = cel.Cost(lambda arguments, result: 5 * arguments[0].x + result, unresolved=lambda arguments, result: 100)
    env = cel.Env([_LIBRARY, cel.Library("dear", functions=(
        cel.Function("y", (cel.Overload("point_y", (_POINT,), cel.INT, lambda point: 2, dear, member=True),
                           cel.Overload("int_y", (cel.INT,), cel.INT, lambda number: number, dear, member=True))),))],
        {"object": cel.DYN})
    assert env.compile("point(3).y()", cost=cel.CEL_COSTS).measure({}) == (2, 1 + 17)
    assert env.compile("dyn(point(3)).y()", cost=cel.CEL_COSTS).measure({}) == (2, 1 + 1 + 100)
    assert env.cost("point(3).y()") == (2, 2)


def test_versions_of_libraries() -> None:
    with pytest.raises(cel.CompileError, match="undeclared reference to 'join'"):
        cel.Env([ext.strings(1)]).compile("['a'].join()")
    assert cel.Env([ext.strings(2)]).compile("['a'].join()")() == "a"
    with pytest.raises(NotEvaluatedError):
        ext.strings(99)
    with pytest.raises(cel.CompileError, match="unsupported syntax"):
        cel.Env(variables={"x": cel.DYN}).compile("x.?y")


def test_cross_type_comparison_is_switched_in_the_checker() -> None:
    with pytest.raises(cel.CompileError):
        cel.Env().compile("1 < 1.5")
    assert cel.Env(cross_type=True).compile("1 < 1.5")() is True


def test_elements_of_one_type() -> None:
    assert cel.Env().compile("[1, 'a']")() == [1, "a"]
    with pytest.raises(cel.CompileError, match="expected type 'int' but found 'string'"):
        cel.Env(homogeneous=True).compile("[1, 'a']")


def test_an_overload_with_the_parameters_of_another_is_refused() -> None:
    twice = cel.Function("double", (cel.Overload("twice", (cel.INT,), cel.INT, lambda number: 2 * number,
                                                 cel.CONSTANT),))
    with pytest.raises(InputError, match="function double: got overload twice with the parameters of int64_to_double"):
        cel.Env(libraries=[cel.Library("own", functions=(twice,))])

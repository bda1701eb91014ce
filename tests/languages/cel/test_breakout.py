"""Programs that try to get out, or to run or grow without end."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from policylang import cel
from policylang.budget import BudgetExceeded, Limits
from policylang.cel.libraries import ext

ENV = cel.Env(ext.everything(), {"object": cel.DYN, "s": cel.STRING, "xs": cel.list_of(cel.INT)})
INPUT: dict[str, Any] = {"object": {"a": [1, 2], "t": "x" * 100_000}, "s": "ab", "xs": list(range(1000))}


@pytest.mark.parametrize("text", [
    "object.__class__", "object.a.__len__", "s.__class__.__mro__", "''.__class__.__bases__[0].__subclasses__()",
    "object.keys()", "object.a.append(1)", "s.format_map({})", "'{0.__class__}'.format([s])", "__import__('os')",
    "open('/etc/passwd')", "eval('1')", "s.encode()", "object.items", "type(1).__name__", "cel.__globals__",
    "[].__class__", "optional.of(1).present", "optional.of(1).value", "timestamp(0).ns", "s.real", "v", "left", "meter",
    "duration('1s').ns", "__result__", "run()", "f1(1)", "s.join(s)", "object.a.sort.__self__",
])
def test_nothing_of_python_is_reached(text: str) -> None:
    try:
        program = ENV.compile(text)
    except cel.CompileError:
        program = None
    for each in (program, ENV.compile(text, check=False)):
        if text.startswith("'{0"):  # a format string of CEL is just a text
            assert each is not None
            assert each(INPUT) == "{0.__class__}"
        elif each is not None:
            with pytest.raises(cel.CelError):
                each(INPUT)


def test_a_generated_function_reaches_what_was_hoisted_and_no_builtins() -> None:
    program = ENV.compile("object.a.map(x, x + 1).exists(y, y > 2) && s.matches('a.*')")
    reach = program._run.__globals__
    assert reach["__builtins__"] == {}
    names = {getattr(each, "__name__", "") for each in reach.values()}
    assert not {"open", "eval", "exec", "getattr", "__import__"} & names


@pytest.mark.parametrize("text", [
    "xs.map(a, xs.map(b, xs.map(c, a + b + c)))",
    "lists.range(1000000000)", "lists.range(9223372036854775807)",
    "cel.bind(a, s+s+s+s+s+s+s+s, cel.bind(b, a+a+a+a+a+a+a+a, cel.bind(c, b+b+b+b+b+b+b+b, cel.bind(d, "
    "c+c+c+c+c+c+c+c, cel.bind(e, d+d+d+d+d+d+d+d, e+e+e+e+e+e+e+e).size() > 0 ? d+d+d+d+d+c : ''))))"
    " + object.t + object.t + object.t + object.t + object.t + object.t + object.t + object.t + object.t "
    "+ object.t + object.t",
    "lists.range(100000).map(x, object.t + object.t)", "lists.range(100000).map(x, object.t.lowerAscii())",
    "lists.range(200000).map(x, object.t.replace('x', 'xyz'))", "object.t.replace('x', object.t)",
    "'%s%s%s%s%s%s%s%s%s%s%s%s'.format([object.t, object.t, object.t, object.t, object.t, object.t, object.t, object.t,"
    " object.t, object.t, object.t, object.t])",
    "lists.range(100000).map(x, object.t).join(',')", "lists.range(20000).all(x, x in lists.range(20000))",
    "lists.range(100000).all(x, object.t.matches('(x+x+)+y') || true)",
    "lists.range(200000).all(x, !object.t.contains('xxxy'))",
    "lists.range(100000).map(x, [x, x]).map(y, y + y + y + y + y + y + y + y + y + y + y + y + y + y + y)"
    ".map(z, z + z + z + z + z + z + z + z + z)",
    "lists.range(5000).map(x, [x]).distinct()", "lists.range(100000).exists(x, s.matches('c' + string(x)))",
    "(object.t + object.t + object.t + object.t + object.t + object.t + object.t + object.t + object.t + object.t)"
    ".split('').size() > 0 && lists.range(3).all(x, (object.t + object.t + object.t).split('').size() > 0)",
    "lists.range(100000).all(x, object.t == object.t + '')",
])
def test_budget(text: str) -> None:
    program = ENV.compile(text)
    tracemalloc.start()
    try:
        with pytest.raises(BudgetExceeded):
            program(INPUT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20


def test_values_that_share_are_compared_within_the_budget() -> None:
    """Forty times a list of the list before it twice: 2^40 leaves in forty lists."""
    one = "".join(f"cel.bind(a{at}, [a{at - 1}, a{at - 1}], " for at in range(1, 41))
    other = "".join(f"cel.bind(b{at}, [b{at - 1}, b{at - 1}], " for at in range(1, 41))
    text = f"cel.bind(a0, [1], {one} cel.bind(b0, [1], {other} %s ){')' * 40}){')' * 40}"
    for question in ("a40 == b40", "a40 in [b40]", "sets.contains([a40], [b40])", "[a40, b40].distinct() == []",
                     "'%s'.format([a40]) == ''"):
        with pytest.raises(BudgetExceeded):
            ENV.compile(text % question)(INPUT)


def test_types_that_double_are_checked_in_time() -> None:
    around = "".join(f"cel.bind(m{at}, {{m{at - 1}: m{at - 1}}}, " for at in range(1, 60))
    assert ENV.compile(f"cel.bind(m0, 1, {around}1{')' * 60}")(INPUT) == 1


def test_errors_inside_errors_cost_once() -> None:
    """Were operands evaluated again where one fails, this would take 2^60 evaluations."""
    text = "object.nope"
    for _ in range(60):
        text = f"(({text}) || false)"
    with pytest.raises(cel.CelError, match="no such key: nope"):
        ENV.compile(text)(INPUT)


def test_limits_are_the_callers() -> None:
    program = ENV.compile("xs.all(x, x >= 0)", limits=Limits(steps=999))
    with pytest.raises(BudgetExceeded):
        program(INPUT)
    assert ENV.compile("xs.all(x, x >= 0)", limits=Limits(steps=1000))(INPUT) is True
    with pytest.raises(BudgetExceeded):
        ENV.compile("s + s + s", limits=Limits(size=5))(INPUT)


def test_a_budget_is_no_error_that_logic_absorbs() -> None:
    with pytest.raises(BudgetExceeded):
        ENV.compile("xs.all(x, xs.all(y, xs.all(z, true))) || true")(INPUT)


def test_inputs_of_the_wrong_type_are_errors() -> None:
    env = cel.Env(ext.everything(), {"n": cel.INT, "t": cel.STRING, "l": cel.list_of(cel.STRING),
                                     "m": cel.map_of(cel.STRING, cel.map_of(cel.STRING, cel.STRING))})
    good = {"n": 1, "t": "a", "l": ["a"], "m": {"a": {"b": "c"}}}
    for text, wrong in [("n + 1", {"n": "x"}), ("t.startsWith('a')", {"t": 1}), ("'a' in l", {"l": "abc"}),
                        ("l.all(x, x == 'a')", {"l": "aaa"}), ("m.a.b", {"m": {"a": "b"}}),
                        ("m.a.b", {"m": 1}), ("size(t) > 1", {"t": None}), ("t.matches('a')", {"t": b"a"}),
                        ("n < 2", {"n": None}), ("l[0].size() > 0", {"l": [1]})]:
        assert env.compile(text)(good) is not None
        with pytest.raises(cel.CelError):
            env.compile(text)({**good, **wrong})

"""Base data that is read as it is asked for gives what plain data gives: over OPA's own cases, and what it reads."""

from __future__ import annotations

from typing import Any

import pytest

from policylang import rego
from policylang.rego.run.program import Query
from policylang.rego.values import UNDEFINED, Lazy
from tests.conftest import oracle
from tests.oracles import opa_cases


class Lent(Lazy):
    """A dict of which it is known what was asked for."""

    def __init__(self, value: dict[str, Any], path: str, read: list[str]) -> None:
        self._value, self._path, self._read = value, path, read

    def get(self, name: str) -> Any:
        self._read.append(f"{self._path}.{name}")
        return lent(self._value.get(name, UNDEFINED), f"{self._path}.{name}", self._read)

    def names(self) -> list[str]:
        self._read.append(f"{self._path}.*")
        return [*self._value]

    def whole(self) -> dict[str, Any]:
        self._read.append(f"{self._path}.**")
        return self._value


def lent(value: Any, path: str, read: list[str]) -> Any:
    return Lent(value, path, read) if type(value) is dict else value


DATA = {"inventory": {"cluster": {"v1": {"Namespace": {"a": {"x": 1}, "b": {"x": 2}}}},
                      "namespace": {"a": {"v1": {"Pod": {"p": {"y": [1]}}}}, "b": {"v1": {"Pod": {"q": {"y": [2]}}}}}}}


@pytest.mark.parametrize(("body", "expected", "read"), [
    ('r := data.inventory.cluster.v1.Namespace.a.x', 1, ["cluster", "cluster.v1", "cluster.v1.Namespace",
                                                         "cluster.v1.Namespace.a", "cluster.v1.Namespace.a.x"]),
    ('r := {n | data.inventory.namespace[n].v1.Pod[_]}', ["a", "b"], ["namespace", "namespace.*"]),
    ('r := [p | p := data.inventory.namespace[_]["v1"]["Pod"][_].y[0]]', [1, 2], []),
    ('r := [p.x | some p in data.inventory.cluster.v1.Namespace]', [1, 2], ["cluster.v1.Namespace.*"]),
    ('r := [k | some k, p in data.inventory.cluster.v1.Namespace; p.x == 2]', ["b"], []),
    ('r := count(data.inventory.cluster.v1.Namespace)', 2, ["cluster.v1.Namespace.**"]),
    ('r := data.inventory.cluster.v1 == {"Namespace": {"a": {"x": 1}, "b": {"x": 2}}}', True, ["cluster.v1.**"]),
    ('default r = 0\nr = 1 { not data.inventory.namespace.c.v1.Pod.p }', 1, ["namespace.c"]),
    ('r := n { n := data.inventory.cluster.v1.Namespace with data.inventory.cluster.v1.Namespace as {} }', {}, []),
    ('o[n] = p { p := data.inventory.namespace.a.v1.Pod[n] }\nr := o.p.y', [1], []),
    ('r := object.get(data.inventory.cluster, ["v1", "Namespace", "a", "x"], 0)', 1, ["cluster.**"])])
def test_what_is_read(body: str, expected: Any, read: list[str]) -> None:
    policy = rego.Policy({"p.rego": f"package p\nimport future.keywords.in\n{body}"}, version=0)
    asked: list[str] = []
    entry = policy.entry("data.p.r")
    lazy = entry({}, {"inventory": lent(DATA["inventory"], "", asked)})
    assert rego.to_json(lazy) == rego.to_json(entry({}, DATA)) == expected
    assert {f".{path}" for path in read} <= {*asked}
    if read and not any(path.endswith("**") for path in read):
        assert not [path for path in asked if path.endswith(".**") and path.count(".") < 5]


def test_opas_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = oracle("opa-cases")
    plain = dict(opa_cases.run(folder))
    call = Query.__call__
    monkeypatch.setattr(Query, "__call__", lambda self, data, given, **more: call(
        self, {name: lent(value, name, []) for name, value in data.items()}, given, **more))
    lazy = dict(opa_cases.run(folder))
    assert len(plain) > 500
    assert {name: (miss, lazy[name]) for name, miss in plain.items() if miss != lazy[name]} == {}

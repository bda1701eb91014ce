"""No text of a policy becomes a name, an attribute or a parameter of the Python that is compiled from it.

What is handed to Python's compiler is looked into: a text of the policy, which is marked, is a constant there.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from custody.errors import CustodyError
from custody.policy.load import PolicySet
from policylang import cel, code, jmespath, kpattern, rego
from policylang.errors import LanguageError

_MARK = "zq"
TEXTS = [_MARK, "zq__class__", "__zq__", "zq\n", "zq'", 'zq"', "zq\\", "zq'''", "zq`", "zq{0.__class__}", "zq%(x)s",
         "zq{x}", "zq__import__('os').system('true')", "zq;import os", "zq\x00", "zq\ud800", "zq\u202e", "zq\u0130",
         "zq\ufeff", "\U0001d433\U0001d42a zq", "zq)", "zq]", "zq}}", "{{zq", "lambda zq: 0", "zq=1", "zq #",
         "zq" * 50_000, "zq,zq", "zq.__globals__", "zq\t\r\f", "*zq", "**zq", "@zq", "zq:=1", "zq if zq else zq"]


def _rule(**validate: Any) -> PolicySet:
    return PolicySet([{"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {
        "rules": [{"name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "validate": validate}]}}])


def _written(text: str) -> str:
    """As a string of CEL, JMESPath's raw strings and Rego have it."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")


WAYS: dict[str, Callable[[str], object]] = {
    "a path of JMESPath": lambda text: jmespath.compile(text),
    "a quoted name of JMESPath": lambda text: jmespath.compile(f'"{_written(text)}".a'),
    "a literal of JMESPath": lambda text: jmespath.compile(f"a == '{text}'"),
    "a key of JMESPath": lambda text: jmespath.compile(f'{{"{_written(text)}": a}}'),
    "a function of JMESPath": lambda text: jmespath.compile(f"{text}(a)"),
    "an expression of CEL": lambda text: cel.Env(variables={"a": cel.DYN}).compile(text),
    "a field of CEL": lambda text: cel.Env(variables={"a": cel.DYN}).compile(f"a.{text}"),
    "a text of CEL": lambda text: cel.Env(variables={"a": cel.DYN}).compile(f'a["{_written(text)}"]'),
    "a variable of CEL": lambda text: cel.Env(variables={"a": cel.DYN}).compile(f"a.map({text}, {text})"),
    "a field of a message of CEL": lambda text: cel.Env(variables={"a": cel.DYN}).compile(f"Object{{{text}: 1}}"),
    "a rule of Rego": lambda text: rego.Policy({text: f"package t\n{text} := 1\nq := input.{text}"}).entry("data.t.q"),
    "a text of Rego": lambda text: rego.Policy({"m": f'package t\nq := input["{_written(text)}"]'}).entry("data.t.q"),
    "a key of a pattern": lambda text: kpattern.matcher({text: text, f"({text})": text, f"^({text})": [text]}),
    "a pattern in a policy": lambda text: _rule(message=text, pattern={text: f"{text} | >{text}", f"=({text})": "*"}),
    "conditions": lambda text: _rule(message=text, deny={"conditions": {"all": [
        {"key": text, "operator": "Equals", "value": text, "message": text}]}}),
    "variables": lambda text: _rule(message=f"{{{{ {text} }}}}", pattern={text: f"{{{{ request.object.{text} }}}}"}),
    "a list of a foreach": lambda text: _rule(message="m", foreach=[{"list": text, "pattern": {"a": text}}])}


_UNCOMPILED = {"an expression of CEL", "a field of a message of CEL", "variables", "a list of a foreach",
               "a key of a pattern"}
"""Where all of the texts are refused, or are looked up without anything that is compiled."""


def _names(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg", "name", "module", "rest", "names"):
            value = getattr(node, field, None)
            names |= {value} if isinstance(value, str) else set()
    return names


@pytest.mark.parametrize("way", WAYS)
def test_texts_of_policies_are_constants(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trees: list[ast.AST] = []

    def looked_into(tree: Any, *arguments: Any, **options: Any) -> Any:
        assert isinstance(tree, ast.Module), "source text was handed to Python's compiler"
        trees.append(tree)
        return compile(tree, *arguments, **options)

    monkeypatch.setattr(code, "compile", looked_into, raising=False)
    for text in TEXTS:
        with suppress(LanguageError, CustodyError):
            WAYS[way](text)
    odd = {name for tree in trees for name in _names(tree)
           if _MARK in name or not name.isidentifier() or name[:1] == "_"}
    assert odd == set()
    assert trees or way in _UNCOMPILED

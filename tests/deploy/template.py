"""Renders Helm charts whose templates keep to a part of Go's template language, for tests where Helm is not installed.

Actions: if, else if, else, with, range, define, end, `$name := …`, comments, `{{-` and `-}}`; functions: those of
_FUNCTIONS. What is beyond is an error, by name. Where the program `helm` is there, tests compare both renderings.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

_ACTION = re.compile(r"\{\{(?P<left>-(?=\s))?\s*(?P<text>(?:/\*.*?\*/|\"(?:[^\"\\]|\\.)*\"|.)*?)\s*"
                     r"(?P<right>(?<=\s)-)?\}\}", re.DOTALL)
_TOKEN = re.compile(r"\s*(?:(?P<string>\"(?:[^\"\\]|\\.)*\")|(?P<number>-?\d+)|(?P<path>(?:\$\w*|)(?:\.\w+)+|\$\w*|\.)"
                    r"|(?P<word>\w+)|(?P<mark>:=|[()|,]))")


class TemplateError(Exception):
    """A template that is not of this language, or that fails."""


class _Text(NamedTuple):
    text: str


class _Action(NamedTuple):
    text: str


class _Block(NamedTuple):
    word: str
    """if, with, range or define."""
    branches: list[tuple[str, list[Any]]]
    """(condition, what stands below it); an else has an empty condition."""


Node = _Text | _Action | _Block


class Chart:
    """A folder with Chart.yaml, values.yaml and templates/."""

    def __init__(self, folder: Path) -> None:
        self.about: dict[str, Any] = yaml.safe_load((folder / "Chart.yaml").read_text())
        self.values: dict[str, Any] = yaml.safe_load((folder / "values.yaml").read_text())
        self.crds = [document for file in sorted((folder / "crds").glob("*.yaml"))
                     for document in yaml.safe_load_all(file.read_text())]
        self._named: dict[str, list[Node]] = {}
        self._files: dict[str, list[Node]] = {}
        for file in sorted((folder / "templates").iterdir()):
            nodes = _parsed(file.read_text(), file.name)
            self._named |= {json.loads(node.branches[0][0]): node.branches[0][1] for node in nodes
                            if isinstance(node, _Block) and node.word == "define"}
            if file.suffix == ".yaml":
                self._files[file.name] = nodes

    def text(self, values: Mapping[str, Any] | None = None, *, release: str = "custody",
             namespace: str = "custody", manager: str = "Helm") -> dict[str, str]:
        """What each template gives, by its file's name."""
        given = {"Values": merged(self.values, values or {}), "Release": {
            "Name": release, "Namespace": namespace, "Service": manager, "IsInstall": True}, "Chart": {
            "Name": self.about["name"], "Version": self.about["version"], "AppVersion": self.about["appVersion"]}}
        return {name: "".join(_Scope(self._named, given, {"$": given}).render(nodes))
                for name, nodes in self._files.items()}

    def documents(self, values: Mapping[str, Any] | None = None, **release: str) -> list[dict[str, Any]]:
        return [document for text in self.text(values, **release).values() for document in yaml.safe_load_all(text)
                if document is not None]


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """As Helm puts values over a chart's: maps are merged, null takes away, all else replaces."""
    result = dict(below)
    for key, value in above.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(below.get(key), Mapping):
            result[key] = merged(below[key], value)
        else:
            result[key] = value
    return result


def _parsed(text: str, where: str) -> list[Node]:
    top: list[Node] = []
    stack: list[tuple[_Block, list[Node]]] = []
    nodes, at, trim = top, 0, False
    for match in _ACTION.finditer(text):
        between = text[at:match.start()]
        between = between.lstrip() if trim else between
        nodes.append(_Text(between.rstrip() if match["left"] else between))
        at, trim = match.end(), bool(match["right"])
        action = match["text"].strip()
        word, _, rest = action.partition(" ")
        if action.startswith("/*"):
            continue
        if word in ("if", "with", "range", "define"):
            block = _Block(word, [(rest.strip(), [])])
            nodes.append(block)
            stack.append((block, nodes))
            nodes = block.branches[0][1]
        elif word == "else":
            if not stack:
                raise TemplateError(f"{where}: an else without an if")
            stack[-1][0].branches.append((rest.strip().removeprefix("if ").strip(), []))
            nodes = stack[-1][0].branches[-1][1]
        elif word == "end":
            if not stack:
                raise TemplateError(f"{where}: an end without a beginning")
            nodes = stack.pop()[1]
        else:
            nodes.append(_Action(action))
    rest = text[at:]
    nodes.append(_Text(rest.lstrip() if trim else rest))
    if stack:
        raise TemplateError(f"{where}: {stack[-1][0].word} has no end")
    return top


class _Scope:
    """Where an action is evaluated: what the dot is, and the variables."""

    def __init__(self, named: Mapping[str, list[Node]], dot: Any, variables: dict[str, Any]) -> None:
        self._named, self._dot, self._variables = named, dot, variables

    def _of(self, dot: Any, **variables: Any) -> _Scope:
        return _Scope(self._named, dot, {**self._variables, **variables})

    def render(self, nodes: Sequence[Node]) -> Iterator[str]:
        for node in nodes:
            if isinstance(node, _Text):
                yield node.text
            elif isinstance(node, _Action):
                yield self._action(node.text)
            elif node.word != "define":
                yield from self._block(node)

    def _action(self, text: str) -> str:
        name, assigned, expression = text.partition(":=")
        if assigned and re.fullmatch(r"\$\w+ *", name):
            self._variables[name.strip()] = self.value(expression)
            return ""
        return _shown(self.value(text))

    def _block(self, block: _Block) -> Iterator[str]:
        if block.word == "range":
            yield from self._range(block)
            return
        for condition, nodes in block.branches:
            value = self.value(condition) if condition else True
            if not condition or _true(value):
                dot = value if block.word == "with" and condition else self._dot
                yield from self._of(dot).render(nodes)
                return

    def _range(self, block: _Block) -> Iterator[str]:
        condition, nodes = block.branches[0]
        names, assigned, expression = condition.partition(":=")
        values = self.value(expression if assigned else condition)
        pairs = sorted(values.items()) if isinstance(values, Mapping) else list(enumerate(values or ()))
        keys = [name.strip() for name in names.split(",")] if assigned else []
        for key, value in pairs:
            bound = dict(zip(keys, (key, value) if len(keys) == 2 else (value,), strict=True)) if keys else {}
            yield from self._of(value, **bound).render(nodes)
        if not pairs and len(block.branches) > 1:
            yield from self._of(self._dot).render(block.branches[1][1])

    # Expressions

    def value(self, text: str) -> Any:
        tokens = list(_tokens(text))
        value = self._pipeline(tokens)
        if tokens:
            raise TemplateError(f"{text}: got {tokens[0]!r} behind it")
        return value

    def _pipeline(self, tokens: list[tuple[str, str]]) -> Any:
        value = self._command(tokens, [])
        while tokens and tokens[0] == ("mark", "|"):
            del tokens[0]
            value = self._command(tokens, [value])
        return value

    def _command(self, tokens: list[tuple[str, str]], piped: list[Any]) -> Any:
        if not tokens:
            raise TemplateError("got nothing, expected an expression")
        kind, text = tokens[0]
        if kind != "word" or text in ("true", "false", "nil"):
            value = self._term(tokens)
            if piped:
                raise TemplateError(f"{text}: is no function")
            return value
        del tokens[0]
        arguments: list[Any] = []
        while tokens and tokens[0] not in (("mark", "|"), ("mark", ")")):
            arguments.append(self._term(tokens))
        return self._call(text, [*arguments, *piped])

    def _call(self, name: str, arguments: list[Any]) -> Any:
        if name == "include":
            if arguments[0] not in self._named:
                raise TemplateError(f"include: got {arguments[0]}, which nothing defines")
            scope = _Scope(self._named, arguments[1], {"$": arguments[1]})
            return "".join(scope.render(self._named[arguments[0]]))
        if name not in _FUNCTIONS:
            raise TemplateError(f"{name}: is no function of this renderer")
        return _FUNCTIONS[name](*arguments)

    def _term(self, tokens: list[tuple[str, str]]) -> Any:
        kind, text = tokens.pop(0)
        if kind == "string":
            return json.loads(text)
        if kind == "number":
            return int(text)
        if kind == "word" and text in ("true", "false", "nil"):
            return {"true": True, "false": False, "nil": None}[text]
        if kind == "path":
            return self._path(text)
        if (kind, text) == ("mark", "("):
            value = self._pipeline(tokens)
            if not tokens or tokens.pop(0) != ("mark", ")"):
                raise TemplateError("a parenthesis is not closed")
            return value
        raise TemplateError(f"got {text!r}, expected a value")

    def _path(self, text: str) -> Any:
        start, *names = text.split(".")
        value = self._dot
        if start:
            if start not in self._variables:
                raise TemplateError(f"{start}: is no variable")
            value = self._variables[start]
        for name in filter(None, names):
            if value is None:
                raise TemplateError(f"{text}: nil has no {name}")
            if not isinstance(value, Mapping):
                raise TemplateError(f"{text}: {type(value).__name__} has no {name}")
            value = value.get(name)
        return value


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            raise TemplateError(f"{text}: got {text[at:at + 20]!r}")
        yield str(match.lastgroup), match[str(match.lastgroup)]
        at = match.end()


def _true(value: Any) -> bool:
    return bool(value)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping | list):
        raise TemplateError("a map or list is shown as it is, which is no YAML; expected toYaml or toJson")
    return str(value)


def _yaml(value: Any) -> str:
    return str(yaml.safe_dump(value, default_flow_style=False, width=10_000, allow_unicode=True)).removesuffix(
        "\n").removesuffix("\n...")


def _json(value: Any) -> str:
    text = json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _indent(width: int, text: str) -> str:
    return "\n".join(" " * width + line for line in text.split("\n"))


def _fail(message: str) -> Any:
    raise TemplateError(message)


_KINDS = {"map": Mapping, "slice": list, "string": str, "bool": bool}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "and": lambda *values: next((value for value in values if not _true(value)), values[-1]),
    "or": lambda *values: next((value for value in values if _true(value)), values[-1]),
    "not": lambda value: not _true(value),
    "eq": lambda first, *others: any(first == value for value in others),
    "ne": lambda first, second: first != second,
    "default": lambda fallback, value=None: value if _true(value) else fallback,
    "fail": _fail,
    "has": lambda item, values: item in (values or ()),
    "indent": _indent,
    "kindIs": lambda kind, value: isinstance(value, _KINDS[kind]),
    "len": len,
    "nindent": lambda width, text: "\n" + _indent(width, text),
    "printf": lambda form, *values: form.replace("%d", "%s") % values,
    "quote": lambda value: json.dumps(_shown(value), ensure_ascii=False),
    "replace": lambda old, new, text: text.replace(old, new),
    "required": lambda message, value: value if _true(value) else _fail(message),
    "sha256sum": lambda text: hashlib.sha256(text.encode()).hexdigest(),
    "toJson": _json,
    "toYaml": _yaml,
    "trim": lambda text: text.strip(),
    "trunc": lambda length, text: text[:length],
}

"""`generate` of GeneratingPolicies: expressions that call `generator.Apply`, and YAML templates with `(( … ))` in them.

    - expression: generator.Apply("ns", [variables.configmap])
    - template: {interpolate: cel, value: 'kind: ConfigMap …  name: (( object.metadata.name ))'}

A placeholder that is a whole value may be anything, one within a text a scalar. `\\((` is a literal `((`.
Kyverno 1.19 pkg/cel/policies/gpol/template.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, NamedTuple

from custody.errors import MalformedError
from custody.formats import yaml
from custody.policy.cel.environment import Expressions
from custody.policy.cel.mutations import whole
from custody.policy.fields import Fields
from custody.policy.worlds import WORLD
from policylang.cel.compile.program import Program
from policylang.cel.libraries.kyverno.ports import AnswerError
from policylang.cel.protobuf.wellknown import to_json
from policylang.cel.values.errors import CelError
from policylang.errors import Shape

MAX_GENERATED = 1000
"""Objects that one request may generate by one policy."""

Document = dict[str, Any]
Take = Callable[[str, list[Document]], None]
"""What is done with objects for a namespace. Raises CelError."""
_TAKE: ContextVar[Take] = ContextVar("take")


class _Generator:
    def apply(self, namespace: str, resources: list[Document]) -> None:
        try:
            _TAKE.get()(namespace, [whole(to_json(resource)) for resource in resources])
        except CelError as error:
            raise AnswerError(error.message) from None


GENERATING = replace(WORLD, generator=_Generator())
"""What programs are compiled with that generate."""


class Generation(NamedTuple):
    """One entry of `generate`: a program that is evaluated, or the documents of a template."""

    program: Program | None
    documents: tuple[Rendered, ...] = ()

    def __call__(self, values: Mapping[str, Any], take: Take, namespace: str) -> None:
        """Hand over what it generates. `namespace`: of a policy that has one. Raises CelError."""
        token = _TAKE.set(take)
        try:
            if self.program is not None:
                self.program(values)
                return
        finally:
            _TAKE.reset(token)
        grouped: dict[str, list[Document]] = {}
        for at, document in enumerate(self.documents, 1):
            try:
                rendered = document(values)
            except CelError as error:
                raise CelError(f"failed to render generation template: document {at}: {error.message}") from None
            if not isinstance(rendered, dict):
                raise CelError(f"failed to render generation template: document {at}: expected a mapping describing a "
                               "resource")
            metadata = rendered.get("metadata")
            chosen = str((metadata if isinstance(metadata, dict) else {}).get("namespace") or namespace)
            if namespace and chosen != namespace:
                raise CelError(f'cross-namespace generation denied: a policy in namespace "{namespace}" cannot '
                               f'generate resources into namespace "{chosen}"')
            grouped.setdefault(chosen, []).append(rendered)
        for chosen, documents in grouped.items():
            try:
                take(chosen, documents)
            except CelError as error:
                raise CelError(f"failed to generate resources: {error.message}") from None


Rendered = Callable[[Mapping[str, Any]], Any]


def compile_generation(entry: Fields, expressions: Expressions) -> Generation:
    """Raises MalformedError."""
    text, template = entry.take("expression", str) or "", entry.inner("template")
    entry.done()
    if bool(text) == (template is not None):
        raise MalformedError(entry.where, got="both or neither", expected="one of expression and template")
    if template is None:
        return Generation(expressions.program(text, entry.path("expression")))
    value, interpolate = template.need("value", str), template.take("interpolate", str) or "none"
    template.done()
    where = template.path("value")
    if interpolate not in ("cel", "none"):
        raise MalformedError(template.path("interpolate"), got=interpolate, expected="cel or none")
    documents = [document for document in yaml.documents(value.encode(), where) if document is not None]
    if not documents:
        raise MalformedError(where, got="nothing", expected="at least one YAML document")
    compiled = []
    for document in documents:
        compiled.append(_compile(document, where, expressions) if interpolate == "cel" else _literal(document))
        if not isinstance(document, dict) and not (isinstance(document, str) and interpolate == "cel"):
            raise MalformedError(where, got=Shape(document), expected="a mapping describing a resource")
    return Generation(None, tuple(compiled))


def _literal(value: Any) -> Rendered:
    return lambda _: value


def _compile(value: Any, where: str, expressions: Expressions) -> Rendered:
    if isinstance(value, dict):
        if marked := [key for key in value if isinstance(key, str) and "((" in key.replace("\\((", "")]:
            raise MalformedError(where, got=marked[0], expected="no placeholders in keys; the field above may be one")
        fields = {key: _compile(inner, where, expressions) for key, inner in value.items()}
        return lambda values: {key: _below(f'field "{key}"', field, values) for key, field in fields.items()}
    if isinstance(value, list):
        items = [_compile(inner, where, expressions) for inner in value]
        return lambda values: [_below(f"item {at}", item, values) for at, item in enumerate(items)]
    if not isinstance(value, str) or "((" not in value:
        return _literal(value)
    parts = [part if isinstance(part, str) else (part.text, expressions.program(part.text, where))
             for part in scan(value, where)]
    if len(parts) == 1 and not isinstance(parts[0], str):
        text, program = parts[0]
        return lambda values: _evaluated(text, program, values)
    return lambda values: "".join(part if isinstance(part, str) else _scalar(*part, values) for part in parts)


def _below(step: str, field: Rendered, values: Mapping[str, Any]) -> Any:
    try:
        return field(values)
    except CelError as error:
        raise CelError(f"{step}: {error.message}") from None


def _evaluated(text: str, program: Program, values: Mapping[str, Any]) -> Any:
    try:
        return whole(to_json(program(values)))
    except CelError as error:
        raise CelError(f'failed to evaluate placeholder "{text}": {error.message}') from None


def _scalar(text: str, program: Program, values: Mapping[str, Any]) -> str:
    value = _evaluated(text, program, values)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise CelError(f'placeholder "{text}" embedded in a string must evaluate to a scalar; use a whole-value '
                   "placeholder for structured results")


class Placeholder(NamedTuple):
    text: str


def scan(value: str, where: str) -> Iterator[str | Placeholder]:
    """Texts and placeholders. Raises MalformedError for one that does not end."""
    literal, at = "", 0
    while at < len(value):
        if value.startswith("\\((", at):
            literal, at = literal + "((", at + 3
        elif value.startswith("((", at):
            if literal:
                yield literal
            end = _end(value, at, where)
            text = value[at + 2:end].strip()
            if not text:
                raise MalformedError(where, got="an empty placeholder", expected="an expression of CEL in (( ))")
            yield Placeholder(text)
            literal, at = "", end + 2
        else:
            literal, at = literal + value[at], at + 1
    if literal:
        yield literal


def _end(value: str, start: int, where: str) -> int:
    """Where the `))` of a placeholder stands, with regard to brackets and texts within it."""
    depth, quote, at = 0, "", start + 2
    while at < len(value):
        character = value[at]
        if quote:
            at += character == "\\"
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character == "(":
            depth += 1
        elif character == ")":
            if depth == 0 and value.startswith("))", at):
                return at
            depth -= 1
            if depth < 0:
                break
        at += 1
    raise MalformedError(where, got=value[start:start + 60], expected="a placeholder that ends: (( … ))")

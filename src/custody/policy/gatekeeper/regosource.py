"""The Rego of a template: its modules, what they may name, and the violations that they find.

frameworks/constraint pkg/regorewriter and pkg/client/drivers/rego. A module may name `data.lib` (the libraries beside
it) and `data.inventory`; its own package is called what it likes, for nobody may name that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from custody.errors import CustodyError, MalformedError
from custody.policy.areas import Areas, areas_of
from custody.policy.fields import Fields
from custody.policy.gatekeeper.provider import NOBODY, Providers, UnknownProviderError
from custody.policy.gatekeeper.regoevidence import FUNCTIONS, ROOT, Asked, Consulted
from custody.policy.gatekeeper.reviewed import Reviewed
from custody.policy.given import Given
from custody.policy.lookup import LookupFailedError
from custody.policy.model import Request
from custody.policy.regoworld import RegoWorld
from custody.ports.lookup import ApiCall, Inventory
from policylang import rego
from policylang.budget import Limits, Meter
from policylang.errors import LanguageError, Shape
from policylang.rego.compile.inputs import input_paths
from policylang.rego.declare import Builtin, BuiltinError, Context, Halt
from policylang.rego.syntax.tree import Array, Expr, Module, Object, Ref, Rule, Scalar, Term, Var, walk_rule
from policylang.rego.values import Lazy, to_json

PACKAGE = "template"
PRINTED = "printed"
"""What `print` said of a request, among what is kept for it."""
LIMITS = Limits(steps=5_000_000, size=1 << 24)
"""Of one constraint's evaluation: that of a policy which walks through an inventory."""
_PACKAGE = re.compile(r"package\s+(?:[\w.]+|\[\s*\"[^\"]*\"\s*\])+")
_EXTERNAL = "external_data"
_INVENTORY, _LIBRARY = "inventory", "lib"
_EXPECTED = 'violation[{"msg": …}]'


class Violation(NamedTuple):
    message: str
    details: Any = None
    error: bool = False
    """Whether nobody could say: what was to be evaluated could not be."""


class RegoSource:
    """A template's `rego` and `libs`."""

    whole = False

    def __init__(self, fields: Fields) -> None:
        """Raises MalformedError."""
        text = fields.need("rego", str)
        libraries = fields.texts("libs")
        version = 1 if (fields.take("version", str) or "v0") == "v1" else 0
        fields.done()
        where = fields.path("rego")
        modules = {f"{PACKAGE}.rego": _renamed(text, version, where)}
        for at, library in enumerate(libraries):
            modules[f"libs[{at}].rego"] = _checked(library, version, f"{fields.path('libs')}[{at}]", library=True)
        try:
            self._policy = rego.Policy(modules, version=version, functions={_EXTERNAL: _BUILTIN, **FUNCTIONS})
        except LanguageError as error:
            raise MalformedError(where, got=error.message, expected="Rego that compiles") from None
        try:
            self._violation = self._policy.entry(f"data.{PACKAGE}.violation")
        except KeyError:
            raise MalformedError(where, got="no rule violation", expected=_EXPECTED) from None
        for rule in self._policy.modules[0].rules:
            for clause in rule.chain():
                head = clause.path[0]
                if isinstance(head, Var) and head.name == "violation" and (shape := _no_set(clause)):
                    raise MalformedError(where, got=f"violation as {shape}", expected=_EXPECTED)
        self._asked = Asked()
        for module in self._policy.modules:
            self._asked.note(module)
        self.kinds = self._asked.kinds()
        """Of evidence, that it may ask for by name."""
        self.inventory = any(name == _INVENTORY for module in self._policy.modules for name in _data(module))
        """Whether it may read what lies in the cluster."""
        self._namespace = any("namespaceObject" in _words(module) for module in self._policy.modules)
        self.texts: Sequence[str] = [text, *libraries]
        self.areas = None if self.kinds or self.inventory or self._namespace else _areas(self._policy.modules)

    def kinds_with(self, parameters: Any) -> Sequence[str]:
        """Those and what parameters name: nothing is demanded that was not gathered."""
        return self._asked.kinds(parameters)

    def violations(self, given: Given, constraint: Mapping[str, Any],
                   providers: Providers = NOBODY) -> Iterator[Violation]:
        """Raises UnansweredError, LookupFailedError.

        What a provider could not say counts: where the template finds nothing without it, that is an error.
        """
        parameters = (constraint.get("spec") or {}).get("parameters")
        review = given.memo.get(RegoSource)
        if review is None:
            review = given.memo[RegoSource] = review_of(given.request)
        if self._namespace:
            review = {**review, "namespaceObject": _namespace(given)}
        data: dict[str, Any] = {}
        if self.inventory:
            data[_INVENTORY] = _inventory(given)
        world = _World(given, providers)
        if self._asked.data:
            data[ROOT] = world.evidence.document()
        context = Context(Meter(LIMITS), world)
        try:
            value = self._violation({"review": review, "parameters": {} if parameters is None else parameters}, data,
                                    world=world, context=context)
        except LanguageError as error:
            yield Violation(error.message, error=True)
            return
        finally:
            given.memo.setdefault(PRINTED, []).extend(context.printed)
        members: Sequence[Any] = value.ordered() if isinstance(value, rego.Set) else (
            [*value] if isinstance(value, (dict, list)) else [] if value is rego.UNDEFINED else [value])
        if not members and world.failed:
            yield Violation(f"{world.failed[0]}; without its answer nothing is known against the object", error=True)
        elif not members and (missing := world.evidence.missing(self._asked.demanded(parameters))):
            yield Violation(f"{missing}; without it nothing is known against the object", error=True)
        for member in members:
            message = member.get("msg") if isinstance(member, dict) else None
            if isinstance(message, str):
                yield Violation(message, to_json(member.get("details", {})))
            else:  # Gatekeeper passes over one without a msg, and refuses the whole review for one that is no text
                yield Violation(f"its violation has no msg: got {Shape(member if message is None else message)}, "
                                "expected a text", error=True)


def _no_set(clause: Rule) -> str:
    """What a rule has in place of a set, as far as can be seen: nobody could find a violation in it. Gatekeeper's own
    check of types refuses it, too. "" for what is one, or may be."""
    if clause.kind != "value" or len(clause.path) > 1:
        return ""
    value = clause.value
    if isinstance(value, Scalar):
        return "true or false" if isinstance(value.value, bool) else "one value"
    return "a list" if isinstance(value, Array) else "an object" if isinstance(value, Object) else ""


def review_of(request: Request) -> dict[str, Any]:
    """`input.review`: an AdmissionRequest as Go's JSON has it, with the object on DELETE too (Gatekeeper pkg/target).

    What lies in a cluster, or in a file, is asked for by nobody: it has no operation.
    """
    if isinstance(request, Reviewed) and request.review is not None:
        return request.review
    kind = {"group": request.kind.group, "version": request.kind.version, "kind": request.kind.kind}
    resource = request.resource
    user = request.user
    review: dict[str, Any] = {
        "uid": "", "kind": kind, "resource": {
            "group": resource.group if resource else "", "version": resource.version if resource else "",
            "resource": resource.resource if resource else ""},
        "operation": "" if request.existing else request.operation,
        "userInfo": {name: value for name, value in (("username", user.username), ("uid", user.uid),
                                                     ("groups", [*user.groups]), ("extra", user.extra)) if value},
        "object": request.old_object if request.operation == "DELETE" else request.object,
        "oldObject": request.old_object, "options": None, "namespaceObject": None}
    review |= {name: value for name, value in (
        ("name", request.name), ("namespace", request.namespace), ("subResource", request.subresource)) if value}
    if request.dry_run:
        review["dryRun"] = True
    return review


def _namespace(given: Given) -> Any:
    if not given.request.namespace or given.request.kind.kind == "Namespace":
        return None
    return given.answers.value(ApiCall(f"/api/v1/namespaces/{given.request.namespace}"))


def _inventory(given: Given) -> Any:
    held = given.answers.value(Inventory())
    if not isinstance(held, dict | Lazy):
        raise LookupFailedError(Inventory(), "nobody keeps it")
    return held


# ── modules ─────────────────────────────────────────────────────────────────────────────────────────────────────────

def _renamed(text: str, version: int, where: str) -> str:
    """The template's own module, in the package that it is asked for in."""
    _checked(text, version, where)
    at = rego.parse_module(rego.Source(text, where), version).package_at
    written = _PACKAGE.match(text, at)
    assert written is not None  # it was parsed
    return f"{text[:at]}package {PACKAGE}{text[written.end():]}"


def _checked(text: str, version: int, where: str, *, library: bool = False) -> str:
    """The text itself. Raises MalformedError for what does not parse, or names what it may not."""
    try:
        module = rego.parse_module(rego.Source(text, where), version)
    except LanguageError as error:
        raise MalformedError(where, got=error.message, expected="Rego that parses") from None
    package = ["data", *module.package] if module.package[:1] != ["data"] else module.package
    if library and (package[1:2] != [_LIBRARY] or len(package) < 3):
        raise MalformedError(where, got=f"package {'.'.join(package[1:])}", expected="a package below lib")
    for imported in module.imports:
        if imported.path[:2] != ["data", _LIBRARY] and imported.path[:1] != ["future"]:
            raise MalformedError(where, got=f"import {'.'.join(imported.path)}",
                                 expected="imports of data.lib and future.keywords alone")
    for reference in _data(module):
        if reference not in (_INVENTORY, _LIBRARY, ROOT):
            raise MalformedError(where, got=f"data.{reference}" if reference else "data",
                                 expected="data.inventory, data.lib and data.custody.evidence alone")
    return text


def _data(module: Module) -> Iterator[str]:
    """The names behind `data` wherever a module writes it; empty where none is written."""
    for rule in module.rules:
        for clause in rule.chain():
            heads: set[int] = set()
            for node in walk_rule(clause):
                if isinstance(node, Expr) or not isinstance(node, (Ref, Var)):
                    continue
                if isinstance(node, Ref) and _is_data(node.head):
                    heads.add(id(node.head))
                    first = node.path[0] if node.path else None
                    yield first.value if isinstance(first, Scalar) and isinstance(first.value, str) else ""
                elif _is_data(node) and id(node) not in heads:
                    yield ""


def _words(module: Module) -> set[str]:
    """The texts that a module has, as they are once escapes are read: names of fields are among them."""
    return {node.value for rule in module.rules for clause in rule.chain() for node in walk_rule(clause)
            if isinstance(node, Scalar) and isinstance(node.value, str)}


def _is_data(term: Term) -> bool:
    return isinstance(term, Var) and term.name == "data"


def _areas(modules: Sequence[Module]) -> Areas | None:
    paths = input_paths(modules)
    if paths is None or any(len(path) < 2 and path != ("parameters",) for path in paths):
        return None
    return areas_of(path[1:] for path in paths if path[0] == "review")


# ── external data ───────────────────────────────────────────────────────────────────────────────────────────────────

class _World(RegoWorld):
    """With Gatekeeper's providers, and evidence."""

    def __init__(self, given: Given, providers: Providers) -> None:
        super().__init__(given)
        self._providers = providers
        self.evidence = Consulted(given)
        self.failed: list[str] = []
        """Of providers that did not answer, or said that they cannot."""

    def external_data(self, provider: str, keys: tuple[str, ...]) -> dict[str, Any]:
        """As Gatekeeper gives it: 400 where there is no such provider, 500 where it did not answer."""
        try:
            response = self._providers.answer(provider, keys, self._given.answers)
        except UnknownProviderError as error:
            return self._failed(400, error.message)
        except LookupFailedError as error:
            return self._failed(500, error.message)
        except CustodyError as error:
            raise Halt(BuiltinError(f"{_EXTERNAL}: {error.message}")) from None
        items, fault = response.get("items") or [], str(response.get("systemError") or "")
        if fault:
            self.failed.append(f"provider {provider}: {fault}")
        return {"responses": [[item["key"], item.get("value")] for item in items if not item.get("error")],
                "errors": [[item["key"], item["error"]] for item in items if item.get("error")],
                "status_code": 200, "system_error": fault}

    def _failed(self, status: int, reason: str) -> dict[str, Any]:
        self.failed.append(reason)
        return {"responses": [], "errors": [], "status_code": status, "system_error": reason}


def _external(context: Context, asked: Any) -> Any:
    """`external_data({"provider": …, "keys": […]})`."""
    provider, keys = (asked.get("provider"), asked.get("keys")) if isinstance(asked, dict) else (None, None)
    if not isinstance(provider, str) or not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise Halt(BuiltinError(f"{_EXTERNAL}: got {Shape(asked)}, expected a provider and a list of keys"))
    world = context.ask(_EXTERNAL, "a provider")
    if not isinstance(world, _World):
        raise Halt(BuiltinError(f"{_EXTERNAL}: a provider is not given"))
    return world.external_data(provider, tuple(keys))


_BUILTIN = Builtin(_EXTERNAL, _external, ("any",), "any", context=True, nondeterministic=True)

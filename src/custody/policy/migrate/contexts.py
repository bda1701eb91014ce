"""The entries of a `context` as names in CEL: what is looked up is asked for by Kyverno's libraries of CEL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

from custody.errors import UnsupportedError
from custody.policy.migrate.expressions import literal, quoted
from custody.policy.migrate.queries import query, spans, text_of, whole
from custody.policy.migrate.said import Names, Said, bounded, element_names
from policylang.variables import has_variables

_CORE = re.compile(r"/(?:api/(?P<core>[^/]+)|apis/(?P<group>[^/]+/[^/]+))/(?P<rest>[^?]*)(?:\?(?P<query>.*))?\Z",
                   re.DOTALL)
_LONG = 30  # letters of an expression that is worth a variable


def context(entries: Sequence[dict[str, Any]], where: str, names: Names) -> Names:
    """The names that stand beside those that there are already. Raises UnsupportedError."""
    for at, entry in enumerate(entries):
        form = next((form for form in entry if form != "name"), "name")
        path = f"{where}[{at}].{form}"
        if form not in _FORMS:
            raise UnsupportedError(path, "no such entry of a context is known")
        said = _FORMS[form](entry[form], path, names).single
        bounded(said.text, path)
        names = element_names(names, **{entry["name"]: said.unit})
        names = names._replace(whole={**names.whole, entry["name"]: said._replace(text=said.unit)},
                               forms={**names.forms, said.unit: form})
    return names


def shared(texts: Sequence[str], names: Names) -> tuple[list[str], list[dict[str, str]]]:
    """Expressions that speak of entries of a context by variables, and those variables, in order."""
    made: list[dict[str, str]] = []
    replaced = [*texts]
    for name, text in names.beside.items():
        if name not in names.whole or len(text) < _LONG or not any(text in written for written in replaced):
            continue
        variable = re.sub(r"\W", "_", name)
        expression = text
        for earlier in made:
            expression = expression.replace(earlier["whole"], f"variables.{earlier['name']}")
        made.append({"name": variable, "expression": expression, "whole": text})
        replaced = [written.replace(text, f"variables.{variable}") for written in replaced]
    return replaced, [{"name": entry["name"], "expression": entry["expression"]} for entry in made]


def _variable(entry: dict[str, Any], where: str, names: Names) -> Said:
    if unknown := set(entry) - {"jmesPath", "value", "default"}:
        raise UnsupportedError(f"{where}.{min(unknown)}", "it has no words in CEL")
    default = None if entry.get("default") is None else _value(entry["default"], f"{where}.default", names)
    if "value" in entry:
        said = _value(entry["value"], f"{where}.value", names)
        if entry.get("jmesPath"):
            said = query(entry["jmesPath"], f"{where}.jmesPath", names, lenient=default is not None, current=said)
    else:
        text = entry["jmesPath"]
        said = query(whole(text) or text, f"{where}.jmesPath", names, lenient=default is not None)
    if default is None:
        return said
    if said.text.endswith(".orValue(null)"):
        return Said(f"{said.text.removesuffix('null)')}{default.text})", said.type if said.type == default.type else "")
    if said.type:
        return said
    return Said(f"cel.bind(given, dyn({said.text}), given == null ? {default.text} : given)")


def _value(value: Any, where: str, names: Names) -> Said:
    if isinstance(value, list):
        return Said(f"[{', '.join(f'dyn({_value(part, where, names).text})' for part in value)}]", "list")
    if isinstance(value, dict):
        members = (f"{quoted(str(key))}: dyn({_value(part, where, names).text})" for key, part in value.items())
        return Said(f"{{{', '.join(members)}}}", "map")
    if not has_variables(value):
        kinds = {bool: "bool", int: "int", float: "number", str: "text"}
        return Said(literal(value), kinds.get(type(value), ""))
    expression = whole(value)
    return Said(text_of(value, where, names), "text") if expression is None else query(expression, where, names)


def _config_map(entry: dict[str, Any], where: str, names: Names) -> Said:
    name, namespace = _text(entry["name"], f"{where}.name", names), entry.get("namespace") or names.home or "default"
    return Said(_got("v1", "configmaps", _text(namespace, f"{where}.namespace", names), name, where, names), "map")


def _call(entry: dict[str, Any], where: str, names: Names) -> Said:
    if entry.get("service"):
        raise UnsupportedError(f"{where}.service", "http.Get() adds the status to what it says of the body, and takes "
                               "no answer for an error")
    if entry.get("method", "GET") != "GET":
        raise UnsupportedError(f"{where}.method", "resource.Post() makes objects; what is only asked is not said so")
    if entry.get("default") is not None:
        raise UnsupportedError(f"{where}.default", "CEL has no word for what to take where a call fails")
    answer = Said(_asked(entry["urlPath"], f"{where}.urlPath", names), "map")
    return _searched(answer, entry, where, names)


def _searched(answer: Said, entry: dict[str, Any], where: str, names: Names) -> Said:
    if not entry.get("jmesPath"):
        return answer
    return query(entry["jmesPath"], f"{where}.jmesPath", names, current=answer)


def _asked(path: str, where: str, names: Names) -> str:
    """A call of the API server."""
    parts = [path[start:end] for start, end in spans(path)]  # whose braces may have slashes
    marked = path
    for at, part in enumerate(parts):
        marked = marked.replace(part, f"\x01{at}\x01", 1)
    match = _CORE.match(marked)
    if match is None:
        raise UnsupportedError(where, f"{path}: resource.Get() and resource.List() ask for objects alone")

    def written(text: str) -> str:
        return re.sub("\x01([0-9]+)\x01", lambda number: parts[int(number[1])], text)

    version = match["core"] or match["group"]
    steps = match["rest"].split("/")
    namespace = "''"
    if steps[0] == "namespaces" and len(steps) > 2:
        namespace = _text(written(steps[1]), where, names)
        steps = steps[2:]
    if not 1 <= len(steps) <= 2 or not steps[0].isalnum() or "\x01" in version:
        raise UnsupportedError(where, f"{path}: resource.Get() and resource.List() ask for objects alone")
    if len(steps) == 2:
        if match["query"]:
            raise UnsupportedError(where, f"{path}: resource.Get() knows no parameters")
        return _got(version, steps[0], namespace, _text(written(steps[1]), where, names), where, names)
    labels = ""
    for key, value in parse_qsl(written(match["query"] or ""), keep_blank_values=True):
        if key != "labelSelector" or any(sign in value.replace("==", "=") for sign in "!(),") or "=" not in value:
            raise UnsupportedError(where, f"{path}: resource.List() selects by labels and their values alone")
        label, _, text = value.replace("==", "=").partition("=")
        labels = f", {{{quoted(label)}: {_text(text, where, names)}}}"
    place = _placed(namespace, where, names)
    return f"resource.List({quoted(version)}, {quoted(steps[0])}{place}{labels})"


def _got(version: str, resource: str, namespace: str, name: str, where: str, names: Names) -> str:
    return f"resource.Get({quoted(version)}, {quoted(resource)}{_placed(namespace, where, names)}, {name})"


def _placed(namespace: str, where: str, names: Names) -> str:
    if not names.home:
        return f", {namespace}"
    if namespace not in (quoted(names.home), "request.namespace"):
        raise UnsupportedError(where, "a NamespacedValidatingPolicy asks for objects of its own namespace alone")
    return ""


def _text(text: str, where: str, names: Names) -> str:
    return text_of(text, where, names) if has_variables(text) else quoted(text)


def _image(entry: dict[str, Any], where: str, names: Names) -> Said:
    if entry.get("imageRegistryCredentials"):
        raise UnsupportedError(f"{where}.imageRegistryCredentials", "image.GetMetadata() has no credentials of its own")
    reference = _text(entry["reference"], f"{where}.reference", names)
    return _searched(Said(f"image.GetMetadata({reference})", "map"), entry, where, names)


def _global(entry: dict[str, Any], where: str, names: Names) -> Said:
    name, _, projection = _text(entry["name"], f"{where}.name", names).partition(".")
    if has_variables(entry["name"]):
        raise UnsupportedError(f"{where}.name", "the name of a global entry that is computed")
    name, projection = name.strip("'"), projection.strip("'")
    return _searched(Said(f"globalContext.Get({quoted(name)}, {quoted(projection)})"), entry, where, names)


_FORMS = {"variable": _variable, "configMap": _config_map, "apiCall": _call, "imageRegistry": _image,
          "globalReference": _global}

"""Metadata annotations: YAML in comments that start with `# METADATA` (OPA documentation, "Annotations")."""

from __future__ import annotations

from typing import Any

from policylang.rego.syntax.lexer import error
from policylang.rego.syntax.tree import Comment, Module, Rule, Scalar, Var

_SCOPES = ("rule", "document", "package", "subpackages")
_FIELDS = frozenset({"scope", "title", "description", "entrypoint", "organizations", "related_resources", "authors",
                     "schemas", "custom", "compile"})


def attach(module: Module) -> None:
    """Give each METADATA block to the package or rule that follows it."""
    if not any(comment.text.strip() == "METADATA" for comment in module.comments):
        return
    text = module.source.text
    rules = sorted((clause for rule in module.rules for clause in rule.chain()), key=lambda rule: rule.at)
    for block in _blocks(module.comments, text):
        annotation = _read(module, block)
        end = block[-1].end
        if end < module.package_at:
            target: Rule | None = None
        else:
            target = next((rule for rule in rules if rule.at >= end), None)
            imported = any(clause.at >= end and (target is None or clause.at < target.at) for clause in module.imports)
            if target is None or imported:
                raise error("annotation scope must be applied to rule, document, package or subpackages",
                            module.source, block[0].at)
        scope = annotation.setdefault("scope", "package" if target is None else "rule")
        if scope in ("package", "subpackages") and target is not None:
            raise error(f"annotation scope '{scope}' must be applied to package", module.source, block[0].at)
        if scope in ("rule", "document") and target is None:
            raise error(f"annotation scope '{scope}' must be applied to rule", module.source, block[0].at)
        (module.annotations if target is None else target.annotations).append(annotation)


def _blocks(comments: list[Comment], text: str) -> list[list[Comment]]:
    """The comments of each METADATA block: those on the lines right below, in the same column."""
    blocks: list[list[Comment]] = []
    for comment in comments:
        before = blocks[-1][-1] if blocks else None
        if comment.text.strip() == "METADATA":
            blocks.append([comment])
        elif before is not None and not text[before.end:comment.at].replace("\n", "", 1).strip(" \t\r"):
            if "\n\n" in text[before.end:comment.at].replace("\r", ""):
                continue
            blocks[-1].append(comment)
    return blocks


def _read(module: Module, block: list[Comment]) -> dict[str, Any]:
    import yaml  # few modules have annotations
    lines = [comment.text for comment in block[1:]]
    try:
        written = yaml.load("\n".join(lines), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise error("yaml: cannot read the annotation", module.source, block[0].at) from None
    if not isinstance(written, dict):
        raise error("expected METADATA block, found whitespace", module.source, block[0].at)
    unknown = [name for name in written if name not in _FIELDS]
    if unknown:
        raise error(f"invalid annotation: unknown field {unknown[0]!r}", module.source, block[0].at)
    if written.get("scope", "rule") not in _SCOPES:
        raise error(f"invalid scope {written['scope']!r}, must be one of: {', '.join(_SCOPES)}", module.source,
                    block[0].at)
    annotation: dict[str, Any] = {}
    for name in ("scope", "title", "description", "entrypoint", "organizations", "custom", "schemas", "compile"):
        if name in written and written[name] not in (None, "", [], {}):
            annotation[name] = written[name]
    if written.get("related_resources"):
        annotation["related_resources"] = [_resource(module, block, part) for part in written["related_resources"]]
    if written.get("authors"):
        annotation["authors"] = [_author(module, block, part) for part in written["authors"]]
    if annotation.get("schemas"):
        annotation["schemas"] = [_schema(part) for part in annotation["schemas"]]
    return annotation


def _resource(module: Module, block: list[Comment], written: Any) -> dict[str, Any]:
    if isinstance(written, str):
        return {"ref": written}
    if isinstance(written, dict) and written.get("ref"):
        return {name: written[name] for name in ("ref", "description") if written.get(name)}
    raise error("invalid related resource value: 'ref' value required in object", module.source, block[0].at)


def _author(module: Module, block: list[Comment], written: Any) -> dict[str, Any]:
    if isinstance(written, dict):
        author = {name: written[name] for name in ("name", "email") if written.get(name)}
    else:
        name, _, mail = str(written).rpartition(" ") if "<" in str(written) else (str(written), "", "")
        author = {"name": name.strip()} if name.strip() else {}
        if mail.startswith("<") and mail.endswith(">"):
            author["email"] = mail[1:-1]
        elif mail:
            author["name"] = str(written).strip()
    if not author:
        raise error("invalid author value: 'name' and/or 'email' values required in object", module.source, block[0].at)
    return author


def _schema(written: Any) -> Any:
    if isinstance(written, dict) and len(written) == 1:
        [(path, where)] = written.items()
        entry: dict[str, Any] = {"path": str(path).split(".")}
        if isinstance(where, str):
            entry["schema"] = where.split(".")
        else:
            entry["definition"] = where
        return entry
    return written


def chain(rule: Rule, everything: list[Module]) -> list[dict[str, Any]]:
    """What `rego.metadata.chain()` gives in `rule`: from the rule itself out to the packages that enclose it."""
    path = [*rule.module.package, *map(_part, rule.path)]
    notes: list[dict[str, Any]] = []
    own = [note for note in rule.annotations if note["scope"] == "rule"]
    notes.append({"path": path, **({"annotations": own[0]} if own else {})})
    for module in everything:
        for documented in module.rules:
            if [*module.package, *map(_part, documented.path)] == path:
                notes += [{"path": path, "annotations": note} for clause in documented.chain()
                          for note in clause.annotations if note["scope"] == "document"]
    for module in everything:
        if module.package == rule.module.package:
            notes += [{"path": module.package, "annotations": note} for note in module.annotations
                      if note["scope"] == "package"]
    for length in range(len(rule.module.package), 0, -1):
        for module in everything:
            if module.package == rule.module.package[:length]:
                notes += [{"path": module.package, "annotations": note} for note in module.annotations
                          if note["scope"] == "subpackages"]
    return notes


def _part(term: Any) -> Any:
    return term.name if isinstance(term, Var) else term.value if isinstance(term, Scalar) else None

"""Modules in the style of `opa fmt`: tabs, one expression a line, the author's blank lines and line breaks in lists.

What is printed is read again; a module that would lose a comment or change its meaning is refused.
"""

from __future__ import annotations

from policylang.rego.syntax.parser import parse_module
from policylang.rego.syntax.printer import Printer
from policylang.rego.syntax.tree import Body, Import, Module, Rule, Scalar, Term, Var
from policylang.rego.syntax.treejson import module_json
from policylang.source import Source, SourceError

_PLACES = frozenset({"location", "annotations", "assign", "generated"})  # `=` in a head becomes `:=`, `if true` goes


def formatted(source: Source, version: int = 1) -> str:
    """The module's text in one style. SourceError where it is no module, or cannot be kept as it is."""
    module = parse_module(source, version)
    text = _Printer(module).module()
    again = parse_module(Source(text, source.name), version)
    if [comment.text.rstrip() for comment in again.comments] != [comment.text.rstrip() for comment in module.comments]:
        raise SourceError("formatting would move or lose a comment", source, _first_difference(module, again))
    if _meaning(again) != _meaning(module):
        raise SourceError("formatting would change what it means", source, 0)
    return text


def _first_difference(module: Module, again: Module) -> int:
    pairs = zip(module.comments, [*again.comments, None], strict=False)
    return next((comment.at for comment, reread in pairs
                 if reread is None or comment.text.rstrip() != reread.text.rstrip()), 0)


def _meaning(module: Module) -> object:
    members = {name: value for name, value in module_json(module).items() if name != "comments"}
    shown = _without_places(members)
    assert isinstance(shown, dict)
    return shown | {"imports": sorted(map(repr, shown.get("imports", [])))}


def _without_places(value: object) -> object:
    if isinstance(value, dict):
        return {name: _without_places(member) for name, member in value.items() if name not in _PLACES}
    return [_without_places(member) for member in value] if isinstance(value, list) else value


class _Printer(Printer):
    def __init__(self, module: Module) -> None:
        super().__init__(module.source, module.comments)
        self.tree = module
        self.ifs = module.version > 0 or "if" in module.features
        self.dotted = any(len(rule.path) > 2 or (len(rule.path) == 2 and _fixed(rule.path[1]) and rule.kind == "set")
                          for rule in module.rules)

    # --- modules and rules

    def module(self) -> str:
        tree = self.tree
        self.comment_lines(tree.package_at)
        end = self._package_end()
        self.write("package " + _path(tree.package) + self.trailing(end))
        self.blank()
        groups = self._clauses()
        starts = [*(rule.at for rule in tree.rules), len(self.source.text)]
        self._imports([imported for imported in tree.imports if imported.at < starts[0]])
        for at, rule in enumerate(tree.rules):
            self.comment_lines(rule.at)
            self._rule(rule)
            late = [imported for imported in tree.imports if rule.at < imported.at < starts[at + 1]]
            if late:
                self.blank()
                self._imports(late)
                continue
            if at + 1 < len(groups):
                following = tree.rules[at + 1]
                if (self._groups(rule) and self._groups(following)
                        and self.row(following.at) == self.row(rule.at) + 1):
                    continue
                self.blank()
        if self.next < len(self.comments):
            if tree.rules or tree.imports:
                last = max([rule.end for rule in tree.rules[-1:]] + [imported.end for imported in tree.imports[-1:]])
                self.blank() if self.row(self.comments[self.next].at) > self.row(last) else None
            self.comment_lines(len(self.source.text))
        while self.lines and self.lines[-1] == "":
            self.lines.pop()
        return "\n".join(self.lines) + "\n"

    def _clauses(self) -> list[Rule]:
        return self.tree.rules

    def _package_end(self) -> int:
        end = self.source.text.find("\n", self.tree.package_at)
        hash_sign = self.source.text.find("#", self.tree.package_at, end if end >= 0 else None)
        return hash_sign if hash_sign >= 0 else end if end >= 0 else len(self.source.text)

    def _imports(self, imports: list[Import]) -> None:
        groups: list[list[Import]] = []
        for imported in imports:
            if groups and self.row(imported.at) <= self.row(groups[-1][-1].end) + 1:
                groups[-1].append(imported)
            else:
                groups.append([imported])
        for group in groups:
            commented = any(group[0].at < comment.at < group[-1].end for comment in self.comments)
            for imported in group if commented else sorted(group, key=_by_path):
                self.comment_lines(imported.at)
                alias = f" as {imported.alias}" if imported.alias else ""
                self.write(f"import {_path(imported.path)}{alias}{self.trailing(imported.end)}")
            self.blank()

    def _groups(self, rule: Rule) -> bool:
        return (self.ifs and len(rule.body) <= 1 and not rule.default
                and self.row(rule.at) == self.row(rule.end))

    def _rule(self, rule: Rule) -> None:
        self.write(("default " if rule.default else "") + self._head(rule))
        self._body_of(rule)

    def _head(self, rule: Rule) -> str:
        first, *rest = rule.path
        assert isinstance(first, Var)
        text = first.name + "".join(self._head_step(rule, part) for part in rest)
        if rule.kind == "function":
            text += "(" + self.sequence(rule.args, self.opening(rule.args, "("), self.closing_of(rule.args, ")")) + ")"
        if rule.kind == "set":
            if self.ifs or "contains" in self.tree.features:
                return f"{text} contains {self.term(rule.value)}"
            return f"{text}[{self.term(rule.value)}]"
        return text + self._value(rule)

    def _head_step(self, rule: Rule, part: Term) -> str:
        """A part of a rule's name. A name of two parts has the second in brackets, unless longer ones are about."""
        if not self.dotted and isinstance(part, Scalar) and isinstance(part.value, str):
            first = rule.path[0]
            assert isinstance(first, Var)
            readable = first.name not in ("import", "else")  # which begin something else with a bracket after them
            return f'["{part.value}"]' if rule.kind in ("value", "function") and readable else self.step(part)
        return self.step(part)

    def _value(self, rule: Rule) -> str:
        is_true = isinstance(rule.value, Scalar) and rule.value.value is True
        body = _written(rule)
        if is_true and body and not rule.default:
            return ""
        if rule.module.source.text.startswith("else", rule.at) and not body:
            return f" {':=' if rule.assigned or self.tree.version else '='} {self._known(rule)}"
        if rule.generated_value and (body or rule.kind == "function" or rule.body[0].at == rule.body[0].end):
            return ""
        sign = ":=" if rule.assigned or self.tree.version else "="
        return f" {sign} {self.term(rule.value)}"

    def _known(self, rule: Rule) -> str:
        return "true" if rule.generated_value else self.term(rule.value)

    def _body_of(self, rule: Rule) -> None:
        """What follows the head that was just written: `if`, the body, `else`."""
        written = _written(rule)
        if not written:
            self.lines[-1] += self.trailing(rule.end if rule.otherwise is None else self._line_end(rule))
        elif self.ifs and len(written) == 1 and self.row(written[0].at) == self.row(rule.at):
            text = self.expr(written[0])
            self.lines[-1] += f" if {text}"
            self.lines[-1] += self.trailing(rule.end)
        else:
            self.lines[-1] += " if {" if self.ifs else " {"
            self._block(written, rule)
        if rule.otherwise is not None:
            self._else(rule.otherwise)

    def _line_end(self, rule: Rule) -> int:
        return rule.value.end

    def _block(self, body: Body, rule: Rule) -> None:
        self.lines[-1] += self.trailing_in(body[0].at)
        self.depth += 1
        self.body(body)
        end = self._close(body, rule)
        for comment in self.before(end):
            self.write(comment)
        self.depth -= 1
        self.write("}")
        if rule.otherwise is None:
            self.lines[-1] += self.trailing(end)

    def _close(self, body: Body, rule: Rule) -> int:
        """The offset of the brace that ends a body."""
        at = body[-1].end
        text = self.source.text
        while at < len(text):
            if text[at] == "#":
                at = text.find("\n", at)
                if at < 0:
                    break
            elif text[at] == "}":
                return at
            at += 1
        return rule.end

    def _else(self, branch: Rule) -> None:
        text = "else" + self._value(branch)
        if self.source.line(self.row(branch.at)).lstrip().startswith("else"):
            self.blank()
            self.comment_lines(branch.at)
            self.write(text)
        else:
            self.lines[-1] += " " + text
        self._body_of(branch)

def _written(rule: Rule) -> Body:
    """The body that the author wrote; one that is only `true` says nothing."""
    if len(rule.body) == 1 and not rule.body[0].negated and not rule.body[0].withs:
        statement = rule.body[0].statement
        if isinstance(statement, Scalar) and statement.value is True and (
                rule.otherwise is None or statement.at == statement.end):
            return []
    return rule.body


def _fixed(part: Term) -> bool:
    return isinstance(part, Scalar) and isinstance(part.value, str)


def _by_path(imported: Import) -> tuple[str, str]:
    return _path(imported.path), imported.alias or ""


def _path(names: list[str]) -> str:
    first, *rest = names
    return first + "".join(f".{name}" if name.isascii() and name.isidentifier() else f'["{name}"]' for name in rest)

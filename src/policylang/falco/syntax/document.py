"""Rule files as YAML nodes that know where they stand. Scalars stay texts; what they are is for the key to say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from policylang.go.yamltext import FALSE, NULL, TRUE, PlainLoader
from policylang.source import Source, SourceError, checked

LONGEST = 4 << 20  # characters of one rule file
DEEPEST = 8


class Node:
    """`value` is a str, a list of nodes, or a dict of nodes by key. Offsets are in characters."""

    __slots__ = ("end", "exact", "keys", "plain", "source", "start", "value")

    def __init__(self, source: Source, value: Any, start: int, end: int, *, plain: bool = False,
                 exact: bool = False) -> None:
        self.source, self.value, self.start, self.end = source, value, start, end
        self.plain = plain  # neither quoted nor a block
        self.exact = exact  # the text follows `start` character by character
        self.keys: dict[str, int] = {}  # where each key of a mapping stands

    @property
    def null(self) -> bool:
        return self.plain and self.value in NULL

    @property
    def scalar(self) -> bool:
        return isinstance(self.value, str)

    def error(self, message: str, kind: str = "LOAD_ERR_YAML_VALIDATE") -> SourceError:
        return SourceError(message, self.source, self.start, kind=kind)

    def boolean(self) -> bool | None:
        return True if self.value in TRUE else False if self.value in FALSE else None

    def place(self, offset: int) -> int:
        """Where the character at `offset` of a scalar's text stands in the file.

        Blocks are folded and indented, so only characters that are no blanks are counted.
        """
        if self.exact:
            return self.start + offset
        raw, text = self.source.text, self.value
        at = self.start
        if raw[at:at + 1] in (">", "|"):
            at = raw.find("\n", at) + 1
        elif raw[at:at + 1] in ("'", '"'):
            at += 1
        for letter in text[:offset]:
            if not letter.isspace():
                at = raw.find(letter, at, self.end) + 1
                if at == 0:
                    return self.start
        while at < self.end and raw[at].isspace():
            at += 1
        return min(at, self.end)


def documents(source: Source) -> Iterator[Node]:
    """The documents of a rule file. SourceError of kind LOAD_ERR_YAML_PARSE."""
    checked(source, limit=LONGEST)
    builder = _Builder(source)
    try:
        for event in yaml.parse(source.text, PlainLoader):
            if (document := builder.take(event)) is not None:
                yield document
    except yaml.YAMLError as wrong:
        mark = getattr(wrong, "problem_mark", None)
        at = builder.offset(mark) if mark else 0
        raise SourceError(str(getattr(wrong, "problem", None) or wrong), source, at,
                          kind="LOAD_ERR_YAML_PARSE") from None
    except ValueError as wrong:
        raise SourceError(str(wrong)[:100], source, 0, kind="LOAD_ERR_YAML_PARSE") from None


class _Builder:
    """Nodes from events, without recursion: a file of brackets only costs nothing."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.stack: list[tuple[Node, str | None]] = []  # a collection, and the anchor it has
        self.key: list[Node | None] = []
        self.anchors: dict[str, Node] = {}
        self.starts = [0, *(ending.end() for ending in re.finditer("\r\n|[\n\r\x85\u2028\u2029]", source.text))]

    def offset(self, mark: Any) -> int:
        line, column = mark.line, mark.column
        size = len(self.source.text)
        return min(self.starts[line] + int(column), size) if line < len(self.starts) else size

    def refuse(self, message: str, event: Any) -> SourceError:
        return SourceError(message, self.source, self.offset(event.start_mark), kind="LOAD_ERR_YAML_PARSE")

    def take(self, event: Any) -> Node | None:
        if getattr(event, "tag", None) is not None and event.tag != "!":
            raise self.refuse(f"tag {event.tag} is not supported", event)
        if isinstance(event, yaml.ScalarEvent):
            start, end = self.offset(event.start_mark), self.offset(event.end_mark)
            raw = self.source.text[start:start + len(event.value)]
            return self.done(Node(self.source, event.value, start, end, plain=not event.style and event.implicit[0],
                                  exact=raw == event.value), event.anchor, event)
        if isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            if len(self.stack) >= DEEPEST:
                raise self.refuse(f"nesting deeper than {DEEPEST} levels", event)
            start = self.offset(event.start_mark)
            value: Any = [] if isinstance(event, yaml.SequenceStartEvent) else {}
            self.stack.append((Node(self.source, value, start, start), event.anchor))
            self.key.append(None)
            return None
        if isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            node, anchor = self.stack.pop()
            self.key.pop()
            node.end = self.offset(event.end_mark)
            return self.done(node, anchor, event)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise self.refuse(f"undefined alias {event.anchor}", event)
            return self.done(self.anchors[event.anchor], None, event)
        return None

    def done(self, node: Node, anchor: str | None, event: Any) -> Node | None:
        if anchor is not None:
            self.anchors[anchor] = node
        if not self.stack:
            return node
        parent = self.stack[-1][0]
        if isinstance(parent.value, list):
            parent.value.append(node)
        elif self.key[-1] is None:
            if not node.scalar:
                raise self.refuse("a key must be a text", event)
            if node.value in parent.value:
                raise self.refuse(f"key '{node.value}' stands twice", event)
            self.key[-1] = node
        else:
            key = self.key[-1]
            parent.value[key.value] = node
            parent.keys[key.value] = key.start
            self.key[-1] = None
        return None

"""GitHub workflows and composite actions: which code of others they run, and whether its name can be moved.

(docs.github.com, "Workflow syntax for GitHub Actions", `uses`; CVE-2026-33634: tags of actions moved to other commits.)
A commit id names one content for good; a tag or a branch names what its owner, or a thief, last said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

_PATH = re.compile(r"(?:\.github/workflows/[^/]+\.ya?ml|(?:.*/)?action\.ya?ml)\Z")
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_DIGEST = re.compile(r"docker://[^@\s]+@sha256:[0-9a-f]{64}\Z")
_MAX_SIZE = 1 << 20
_MAX_STEPS = 10_000


@dataclass(frozen=True, slots=True)
class WorkflowProblem:
    """Why what a line runs may be something else tomorrow."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Workflow:
    path: str
    uses: tuple[str, ...]
    """All that it runs of others, as it is written; what is in the repository itself is left out."""
    problems: tuple[WorkflowProblem, ...]


def is_workflow(path: str) -> bool:
    """A file of `.github/workflows`, or an action's `action.yml` anywhere."""
    return _PATH.match(path) is not None


def parse_workflow(data: bytes, path: str) -> Workflow:
    """What cannot be read is a problem: it may run anything."""
    uses, problems = [], []
    try:
        if len(data) > _MAX_SIZE:
            raise ValueError(f"got {len(data)} bytes, expected at most {_MAX_SIZE}")
        root = yaml.compose(data.decode("utf-8"), Loader=yaml.SafeLoader)
        for line, value in _uses(root):
            if value.startswith("./"):
                continue
            uses.append(value)
            if reason := _movable(value):
                problems.append(WorkflowProblem(line, reason))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problems.append(WorkflowProblem(1, f"is not readable: {str(error).partition(chr(10))[0]}"))
    return Workflow(path, tuple(uses), tuple(problems))


def _movable(value: str) -> str | None:
    if value.startswith("docker://"):
        return None if _DIGEST.match(value) else f"{value}: got an image by its tag, expected one by @sha256:…"
    name, at, ref = value.partition("@")
    if at and "/" in name and _COMMIT.match(ref):
        return None
    return f"{value}: got {ref!r}, which can be moved, expected a commit id of 40 hexadecimal digits"


def _uses(root: yaml.Node | None) -> Iterator[tuple[int, str]]:
    """Line and value of every `uses`: of jobs, of their steps, and of an action's steps."""
    document = _mapping(root)
    owners = [_mapping(document.get("runs")), *map(_mapping, _mapping(document.get("jobs")).values())]
    count = 0
    for owner in owners:
        steps = owner.get("steps")
        listed = steps.value if isinstance(steps, yaml.SequenceNode) else []
        count += 1 + len(listed)  # through aliases a small file has many
        if count > _MAX_STEPS:
            raise ValueError(f"got more than {_MAX_STEPS} jobs and steps, expected fewer")
        for runner in (owner, *map(_mapping, listed)):
            node = runner.get("uses")
            if node is not None:
                yield node.start_mark.line + 1, node.value if isinstance(node, yaml.ScalarNode) else "(no text)"


def _mapping(node: yaml.Node | None) -> dict[str, yaml.Node]:
    """A map's entries; {} for anything else. Raises ValueError for merge keys, which GitHub does not know."""
    entries = {key.value: value for key, value in node.value if isinstance(key, yaml.ScalarNode)} if isinstance(
        node, yaml.MappingNode) else {}
    if "<<" in entries:
        raise ValueError("got a merge key (<<), expected a plain map")
    return entries

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


_STRANGERS = re.compile(
    r"\$\{\{[^}]*\bgithub\.(?:head_ref|event\.(?:issue|pull_request|comment|review|discussion|pages|commits|"
    r"head_commit|workflow_run)\b[\w.*\[\]]*\.(?:title|body|ref|label|name|email|message|head_branch|page_name|"
    r"default_branch))\b[^}]*\}\}")
"""Text that anybody may write (docs.github.com, "Understanding the risk of script injections")."""
_HEAD = re.compile(r"\$\{\{[^}]*\bgithub\.(?:head_ref|event\.pull_request\.head\.(?:sha|ref))\b[^}]*\}\}")


def runs(data: bytes) -> list[tuple[int, str]]:
    """Line and text of the programs in a workflow's or action's steps; none of what cannot be read."""
    return [(line, step["run"].value) for line, step, _ in _steps(data)
            if isinstance(step.get("run"), yaml.ScalarNode)]


def injections(data: bytes) -> list[tuple[int, str]]:
    """Where text of strangers becomes program (Ultralytics, 2024), and where their code runs with secrets:
    `pull_request_target` with a checkout of the pull request."""
    told: list[tuple[int, str]] = []
    for line, step, privileged in _steps(data):
        program, uses = step.get("run"), step.get("uses")
        texts = [program] if program is not None else []
        if isinstance(uses, yaml.ScalarNode) and uses.value.startswith("actions/github-script@"):
            texts += [node for node in [_mapping(step.get("with")).get("script")] if node is not None]
        told += [(line, f"{match[0]}: anybody can write it, and it becomes a part of a program; give it to the program "
                        "in env") for node in texts
                 if isinstance(node, yaml.ScalarNode) and (match := _STRANGERS.search(node.value))]
        ref = _mapping(step.get("with")).get("ref")
        if privileged and isinstance(uses, yaml.ScalarNode) and uses.value.startswith("actions/checkout@") and (
                isinstance(ref, yaml.ScalarNode) and _HEAD.search(ref.value)):
            told.append((line, "pull_request_target with a checkout of the pull request: a stranger's code runs with "
                               "the repository's secrets"))
    return told


def _steps(data: bytes) -> list[tuple[int, dict[str, yaml.Node], bool]]:
    """Line, entries, and whether a stranger's pull request starts it with secrets."""
    try:
        if len(data) > _MAX_SIZE:
            return []
        document = _mapping(yaml.compose(data.decode("utf-8"), Loader=yaml.SafeLoader))
        trigger = document.get("on") or document.get("true")
        words = ([trigger.value] if isinstance(trigger, yaml.ScalarNode) else
                 [node.value for node in trigger.value if isinstance(node, yaml.ScalarNode)] if isinstance(
                     trigger, yaml.SequenceNode) else list(_mapping(trigger)))
        privileged = not {"pull_request_target", "workflow_run"}.isdisjoint(words)
        steps: list[tuple[int, dict[str, yaml.Node], bool]] = []
        for owner in (document.get("runs"), *_mapping(document.get("jobs")).values()):
            listed = _mapping(owner).get("steps")
            for node in listed.value if isinstance(listed, yaml.SequenceNode) else ():
                if len(steps) == _MAX_STEPS:
                    return steps
                steps.append((node.start_mark.line + 1, _mapping(node), privileged))
        return steps
    except (yaml.YAMLError, ValueError, RecursionError):
        return []  # `parse_workflow` says that it is not readable

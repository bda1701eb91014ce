"""Fields of GitHub's webhook deliveries (plugins/github/pkg/github/extract.go).

A delivery does not say what it is of: `webhook_type` is the header X-GitHub-Event, which whoever receives it puts in.
`files` (secrets in the diffs of a push) and `workflow_miner_detections` are put in by Falco's plugin, which asks GitHub
for them; without them these fields say that nobody looked. What is missing is an empty text, not null, as there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from policylang.falco.values.jsonevent import Extract, JsonEvent, Object, at, common

_SITE = "https://github.com/"


def _name(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _text(*keys: str) -> Extract:
    return lambda event, _: _name(at(event, keys))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: Any) -> str:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64 else "0"


def _repository(event: Object, _: str | None) -> str:
    return _name(at(event, ("repository", "html_url"))).removeprefix(_SITE)


def _public(event: Object, _: str | None) -> str:
    return "false" if at(event, ("repository", "private")) is True else "true"


def _hook(event: Object, _: str | None) -> str:
    return _number(at(event, ("hook", "id")))


def _joined(groups: list[list[str]]) -> str:
    """As the plugin joins them: commas within a commit's files, none between two commits."""
    return "".join(",".join(group) for group in groups)


def _committed(key: str) -> Extract:
    def extract(event: Object, _: str | None) -> str:
        return _joined([list(map(_name, _listed(at(commit, (key,))))) for commit in _listed(event.get("commits"))])

    return extract


def _description(_event: Object, _file: Any, match: Any) -> str:
    return _name(at(match, ("desc",)))


def _file(_event: Object, file: Any, _match: Any) -> str:
    return _name(at(file, ("name",)))


def _line(_event: Object, _file: Any, match: Any) -> str:
    return _number(at(match, ("line",)))


def _secrets(say: Callable[[Object, Any, Any], str], *, nothing: str | None) -> Extract:
    def extract(event: Object, _: str | None) -> str | None:
        files = event.get("files")
        if not isinstance(files, list):
            return nothing
        return _joined([[say(event, file, match) for match in _listed(at(file, ("matches",)))] for file in files])

    return extract


def _has_secrets(event: Object, _: str | None) -> str:
    files = event.get("files")
    if not isinstance(files, list):
        return ""
    return "true" if any(_listed(at(file, ("matches",))) for file in files) else "false"


def _link(event: Object, file: Any, match: Any) -> str:
    repository, commit = _name(at(event, ("repository", "html_url"))), _name(at(event, ("head_commit", "id")))
    return f"{repository}/blob/{commit}/{_name(at(file, ('name',)))}/#L{_number(at(match, ('line',)))}"


def _has_miners(event: Object, _: str | None) -> str | None:
    detected = at(event, ("workflow_miner_detections", "matches"))
    return None if not isinstance(detected, list) else "true" if detected else "false"


def _miners(event: Object, _: str | None) -> str | None:
    detected = at(event, ("workflow_miner_detections", "matches"))
    if not isinstance(detected, list):
        return None
    return ",".join(dict.fromkeys(_name(at(match, ("type",))) for match in detected))


def _time(_event: Object) -> None:
    return None


class GithubEvent(JsonEvent):
    """Answers `get(field)` from one delivery; it does not say when it was."""

    __slots__ = ()
    fields: ClassVar[dict[str, Extract]] = {
        **common("github", "github", _time),
        "github.type": _text("webhook_type"), "github.action": _text("action"), "github.user": _text("sender", "login"),
        "github.repo": _text("repository", "html_url"), "github.repo.url": _text("repository", "html_url"),
        "github.repo.name": _repository, "github.repo.description": _text("repository", "description"),
        "github.org": _text("organization", "login"), "github.owner": _text("repository", "owner", "login"),
        "github.repo.public": _public, "github.collaborator.name": _text("member", "login"),
        "github.collaborator.role": _text("changes", "permission", "to"), "github.webhook.id": _hook,
        "github.webhook.type": _text("hook", "type"), "github.commit.added": _committed("added"),
        "github.commit.modified": _committed("modified"), "github.commit.removed": _committed("removed"),
        "github.diff.has_secrets": _has_secrets,
        "github.diff.committed_secrets.desc": _secrets(_description, nothing=None),
        "github.diff.committed_secrets.files": _secrets(_file, nothing=None),
        "github.diff.committed_secrets.lines": _secrets(_line, nothing=None),
        "github.diff.committed_secrets.links": _secrets(_link, nothing=""),
        "github.workflow.has_miners": _has_miners, "github.workflow.miners.type": _miners,
        "github.workflow.filename": _text("workflow", "path"),
    }

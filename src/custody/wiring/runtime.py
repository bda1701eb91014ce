"""What watches what runs: rules, inputs, outputs and what is noted, put together."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from custody.errors import UsageError, language_errors
from custody.kit.clock import system_clock
from custody.runtime.counted import Counted
from custody.runtime.detecting import Detector, Enricher, Responder, Suppressor
from custody.runtime.engine import Engine, Rules
from custody.runtime.folding import Folding
from custody.runtime.losses import Losses
from custody.services.alertdelivery import Delivery
from custody.services.eventwatch import EventWatch
from custody.services.watchspec import SOURCES, Input, Output, Watched
from custody.settings import Settings
from policylang import falco

if TYPE_CHECKING:
    from custody.ports.alerting import AlertOutput
    from custody.ports.following import Followed
    from custody.ports.http import Http
    from custody.ports.queue import Queue
    from custody.services.alertposts import AlertPosts

_LARGEST = 4 << 20  # bytes of one rule file, as the language has it


class Runtime:
    """One process's watch and what belongs to it. `begin` first; whoever runs it closes it."""

    def __init__(self, settings: Settings, watched: Watched, *, http: Http | None = None, queue: Queue | None = None,
                 stream: TextIO | None = None, detectors: Sequence[Detector] = (),
                 enrichers: Sequence[Enricher] = (), suppressors: Sequence[Suppressor] = (),
                 responders: Sequence[Responder] = (), show_suppressed: bool = False) -> None:
        """`http` and `queue` for outputs by HTTP; `stream` for standard output. Raises UsageError, StorageError."""
        from custody.adapters.sqlite.notes import SqliteNotes

        stated = watched.stated
        self.watched, self.settings = watched, settings
        self.hostname = socket.gethostname()
        self.counted = Counted()
        self.posts: list[AlertPosts] = []
        rules = self.load()
        self.engine = Engine(rules, self.counted, priority=watched.priority, detectors=detectors, enrichers=enrichers,
                             suppressors=suppressors, hostname=self.hostname, show_suppressed=show_suppressed)
        self.losses = Losses(self.counted, self.hostname)
        folder = settings.state()
        self._http, self._queue, self._stream = http, queue, stream
        outputs = [self._output(output) for output in watched.outputs]
        self.delivery = Delivery(outputs, SqliteNotes(folder / "runtime.db"))
        self.folding = Folding(self.counted, alike=stated.fold_after, each_rule=stated.fold_rule,
                               seconds=stated.fold_window)
        self.watch = EventWatch(self.engine, self.folding, self.losses, self.delivery, responders=responders,
                                stalled_after=stated.stalled_after)

    def load(self) -> Rules:
        """The rules as the files are now. Raises UsageError, MalformedError."""
        texts: dict[str, str | bytes] = {}
        for path in rule_files(self.watched.rules):
            texts[str(path)] = _content(path)
        with language_errors():
            loaded = falco.load(texts)
        if texts and not loaded.rules:  # a file that is being written, too: the rules before it stay
            raise UsageError(f"{', '.join(texts)}: got no rule, expected items with `rule:`")
        return Rules(loaded, self.watched.stated.match, self.watched.stated.sources or SOURCES)

    def begin(self, now: Callable[[], float], *, again: bool = False) -> tuple[dict[str, str], list[str]]:
        """How far inputs were read, and what is to be said to people. Raises StorageError."""
        noted, said = self.delivery.begin(again=again)
        self.folding.restore(noted.folds, now())
        return noted.marks, said

    def follow(self, entry: Input, *, once: bool = False) -> Followed:
        from custody.adapters.filesystem.following import DocumentFolder, FollowedFile

        if entry.format.whole:
            return DocumentFolder(entry.path, once=once)
        return FollowedFile(entry.path, once=once)

    def _output(self, output: Output) -> AlertOutput:
        text = self.watched.stated.output_format == "text"
        if output.kind == "stdout":
            from custody.adapters.filesystem.alertstream import AlertStream

            return AlertStream(self._stream or sys.stdout, text=text)
        if output.kind == "file":
            from custody.adapters.filesystem.alertfile import AlertFile

            alerts = AlertFile(Path(output.place), text=text)
            alerts.probe()
            return alerts
        if output.kind == "syslog":
            from custody.adapters.syslog import Syslog

            if self.settings.offline and not output.place.startswith("/"):
                raise UsageError(f"--output syslog:{output.place}: --offline opens no socket")
            return Syslog(output.place, text=text)
        from custody.services.alertposts import AlertPosts

        if text:
            raise UsageError(f"--output {output.place}: alerts are posted as JSON", hint="-o json")
        if self._http is None or self._queue is None:
            raise UsageError(f"--output {output.place}: nobody sends here")
        posts = AlertPosts(output.place, self._queue, self._http, system_clock)
        self.posts.append(posts)
        return posts


def rule_files(paths: Iterable[Path]) -> list[Path]:
    """Rule files in the order in which they are loaded; those of a folder by name. Raises UsageError."""
    listed: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(file for suffix in ("*.yaml", "*.yml") for file in path.glob(suffix))
            if not inside:
                raise UsageError(f"{path}: no rule files", hint="a folder's are named *.yaml or *.yml")
            listed += inside
        else:
            listed.append(path)
    return listed


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if len(data) > _LARGEST:
        raise UsageError(f"{path}: more than {_LARGEST} bytes")
    return data

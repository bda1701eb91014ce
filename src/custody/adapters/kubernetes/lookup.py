"""What policies ask of a cluster, answered by its API server.

An object is absent where the API server says so itself, in a Status with reason NotFound: a 404 of whoever stands
before it, or of a path that nobody serves, says nothing about the object, and is a failure like 403, 500 and silence.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import msgspec

from custody.adapters.kubernetes.cluster import Cluster, Reply
from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.kit import strictjson
from custody.policy.podsecurity.existing import Entry, Roll, entry
from custody.ports.lookup import (
    Absent,
    Answer,
    Answered,
    ApiCall,
    ConfigMap,
    Failed,
    NamespaceLabels,
    NamespacePods,
    Question,
)

KEEP = 1.0
"""Seconds from when a question was asked for which its answer counts.

Labels of a namespace decide about security: a label that was just tightened may be missed for this long. The API
server's own plugin and Kyverno read a watch, whose delay has no bound; a second has, and the reviews of one rollout ask
once in it. Only answers are kept: what is absent may be made in the same breath as what is judged, and what failed may
work again.
"""
MAX_ANSWER = 2 * 1024 * 1024
LONGEST = 10.0
"""Seconds for one answer, whoever waits for it."""
_MAX_WEIGHT = 64 * 1024 * 1024
_LARGE = 64 * 1024  # bytes that are parsed beside the event loop
_AT_ONCE = 16
"""Requests of one type of question: where a policy's call to a slow extension takes its turns, labels have theirs."""
_LISTS_AT_ONCE = 2
PODS_WITHIN = 1.0
"""Seconds for the pods of a namespace, as the API server's own plug-in takes: who labels a namespace waits for it."""
_PAGE = 500
_MAX_PAGE = 32 * 1024 * 1024
_MAX_PAGE_WEIGHT = 256 * 1024 * 1024
_MOST_PODS = 20_000
_MOST_BYTES = 128 * 1024 * 1024
_MAX_KEPT = 1024
_MAX_KEPT_BYTES = 16 * 1024 * 1024
_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)+/?")


@dataclass(slots=True)
class _Asked:
    task: asyncio.Task[tuple[Answer, int]]
    begun: float
    waiting: int = 0


class ClusterLookup:
    """Implements ports.lookup.Lookup for labels of namespaces, their pods, ConfigMaps and calls of the API
    server.

    For one event loop. Questions that are alike share an answer while it counts; a request for which nobody waits any
    more is cancelled. What changes something (POST) is sent for each question, and not kept.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._asked: OrderedDict[Question, _Asked] = OrderedDict()
        self._bytes: dict[Question, int] = {}
        self._turns: dict[type, asyncio.Semaphore] = {
            kind: asyncio.Semaphore(_AT_ONCE) for kind in (NamespaceLabels, ConfigMap, ApiCall)}
        self._turns[NamespacePods] = asyncio.Semaphore(_LISTS_AT_ONCE)

    async def close(self) -> None:
        for asked in self._asked.values():
            asked.task.cancel()
        self._asked.clear()
        await self.cluster.close()

    async def answer(self, question: Question) -> Answer:
        try:
            path = _path(question)
        except CustodyError as error:
            return Failed(error.message)
        if isinstance(question, ApiCall) and question.method != "GET":
            return (await self._ask(question, path))[0]
        now = asyncio.get_running_loop().time()
        self._sweep(now)
        asked = self._asked.get(question)
        if asked is None or asked.begun + KEEP <= now:
            asked = _Asked(asyncio.create_task(self._ask(question, path)), now)
            self._forget(question)
            self._asked[question] = asked
        asked.waiting += 1
        try:
            answer, size = await asyncio.shield(asked.task)
        finally:
            asked.waiting -= 1
            if self._asked.get(question) is asked and not (asked.waiting or _kept(asked)):
                self._forget(question)
            if not asked.waiting:
                asked.task.cancel()  # nothing, where it is done
        if self._asked.get(question) is asked and _kept(asked):
            self._bytes[question] = size
        return answer

    def known(self, question: Question) -> Answer | None:
        """What was asked for less than KEEP seconds ago, and answered."""
        asked = self._asked.get(question)
        if asked is None or asked.begun + KEEP <= asyncio.get_running_loop().time() or not _kept(asked):
            return None
        return asked.task.result()[0]

    def _sweep(self, now: float) -> None:
        """Forget what counts no more, the oldest first, and what is too much. Who waits goes on waiting."""
        while self._asked:
            question, asked = next(iter(self._asked.items()))
            if (asked.begun + KEEP > now and len(self._asked) < _MAX_KEPT
                    and sum(self._bytes.values()) < _MAX_KEPT_BYTES):
                return
            self._forget(question)

    def _forget(self, question: Question) -> None:
        self._asked.pop(question, None)
        self._bytes.pop(question, None)

    async def _ask(self, question: Question, path: str) -> tuple[Answer, int]:
        """The answer, and of how many bytes it was read."""
        method, sent = "GET", None
        if isinstance(question, NamespacePods):
            async with self._turns[NamespacePods]:
                return await self._pods(path)
        if isinstance(question, ApiCall):
            method, sent = question.method, question.body.encode() if question.method == "POST" else None
        try:
            async with self._turns[type(question)], asyncio.timeout(LONGEST):
                reply = await self.cluster.ask(method, path, limit=MAX_ANSWER, body=sent)
        except TimeoutError:
            return Failed(f"{self.cluster.url} did not answer within {LONGEST:g} s"), 0
        except CustodyError as error:
            return Failed(error.message), 0
        where = f"{method} {self.cluster.url}{path.partition('?')[0]}"
        if len(reply.body) <= _LARGE:
            return _read(question, reply, where), len(reply.body)
        return await asyncio.to_thread(_read, question, reply, where), len(reply.body)

    async def _pods(self, path: str) -> tuple[Answer, int]:
        """As many as come in PODS_WITHIN seconds, page by page; all of them failed where the first page did."""
        roll, size, total, more = Roll(), 0, None, ""
        where = f"GET {self.cluster.url}{path}"
        try:
            async with asyncio.timeout(PODS_WITHIN):
                while True:
                    query = f"?limit={_PAGE}" + (f"&continue={quote(more, safe='')}" if more else "")
                    reply = await self.cluster.ask("GET", path + query, limit=_MAX_PAGE)
                    size += len(reply.body)
                    page = await asyncio.to_thread(_page, reply, where)
                    if isinstance(page, Failed):
                        return page, 0
                    pods, more, rest = page
                    roll.add(pods)
                    total = len(roll) + rest
                    if not more or len(roll) >= _MOST_PODS or size > _MOST_BYTES:
                        break
        except TimeoutError:
            if total is None:
                return Failed(f"{where}: no answer within {PODS_WITHIN:g} s"), 0
        except CustodyError as error:
            return Failed(error.message), 0
        # A list that goes on is longer than what came, whatever it says of the rest.
        answer = roll.answer(max(total or 0, len(roll) + bool(more)))
        return Answered(answer), len(json.dumps(answer))


def _page(reply: Reply, where: str) -> tuple[list[Entry], str, int] | Failed:
    """(pods, where the list goes on, how many there are still)."""
    if (weight := strictjson.weight(reply.body)) > _MAX_PAGE_WEIGHT:
        return Failed(f"{where}: answered what would take {weight >> 20} MiB, {_MAX_PAGE_WEIGHT >> 20} at most")
    if reply.status != 200:
        refused = _refusal(reply, where)
        return refused if isinstance(refused, Failed) else Failed(f"{where}: answered {reply.status}")
    try:  # the strict loader takes five times as long, and a key that stands twice is the API server's own doing
        document = msgspec.json.decode(reply.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise MalformedError(where, got="something else", expected="one JSON document") from None
    items = document.get("items") if isinstance(document, dict) else None
    metadata = document.get("metadata") if isinstance(document, dict) else None
    if not isinstance(metadata, dict) or document.get("kind") != "PodList" or not isinstance(items, list | None) or any(
            not isinstance(item, dict) for item in items or ()):
        raise MalformedError(where, got="something else", expected="a PodList")
    rest = metadata.get("remainingItemCount")
    return ([entry(item) for item in items or ()], str(metadata.get("continue") or ""),
            rest if type(rest) is int and rest > 0 else 0)


def _kept(asked: _Asked) -> bool:
    task = asked.task
    return (task.done() and not task.cancelled() and task.exception() is None
            and isinstance(task.result()[0], Answered))


def _path(question: Question) -> str:
    """Raises MalformedError for what names no such thing, UnsupportedError for what an API server is not asked."""
    if isinstance(question, NamespaceLabels):
        return f"/api/v1/namespaces/{_name(question.namespace, _LABEL, 'namespace')}"
    if isinstance(question, NamespacePods):
        return f"/api/v1/namespaces/{_name(question.namespace, _LABEL, 'namespace')}/pods"
    if isinstance(question, ConfigMap):
        namespace = _name(question.namespace, _LABEL, "namespace")
        return f"/api/v1/namespaces/{namespace}/configmaps/{_name(question.name, _SUBDOMAIN, 'ConfigMap')}"
    if not isinstance(question, ApiCall):
        raise UnsupportedError(str(question), "the API server of a cluster is all that is asked")
    if question.method not in ("GET", "POST"):
        raise UnsupportedError(f"method {question.method} of an API call", "GET and POST are")
    if len(question.body) > MAX_ANSWER:
        raise MalformedError(str(question), got=f"a body of {len(question.body)} characters",
                             expected=f"at most {MAX_ANSWER}")
    # What a policy puts into a path comes from who is judged: a name must not lead elsewhere.
    path, mark, query = question.path.partition("?")
    parts = [unquote(part) for part in path.split("/")]
    if not _PATH.fullmatch(path) or any(part in (".", "..") or "/" in part or "%" in part for part in parts):
        raise MalformedError("path of an API call", got=path, expected="/api/… or /apis/…, each part a name")
    return path + mark + quote(query, safe="%=&+,;:@/?!$'()*")


def _name(text: str, pattern: re.Pattern[str], kind: str) -> str:
    if not pattern.fullmatch(text):
        raise MalformedError(f"name of a {kind}", got=text, expected="lower-case letters, digits and '-'")
    return text


def _read(question: Question, reply: Reply, where: str) -> Answer:
    try:
        if (weight := strictjson.weight(reply.body)) > _MAX_WEIGHT:
            return Failed(f"{where}: answered what would take {weight >> 20} MiB, {_MAX_WEIGHT >> 20} at most")
        if reply.status not in (200, 201, 202):
            return _refusal(reply, where)
        document = strictjson.loads(reply.body, where)
        if isinstance(question, ApiCall):
            return Answered(document)
        if isinstance(question, NamespaceLabels):
            metadata = _object(document, "Namespace", question.namespace, where)
            labels = metadata.get("labels") or {}
            if not isinstance(labels, dict) or not all(isinstance(label, str) for label in labels.values()):
                raise MalformedError(f"{where}: metadata.labels", got="other values", expected="a map of texts")
            return Answered(labels)
        assert isinstance(question, ConfigMap)
        _object(document, "ConfigMap", question.name, where)
        return Answered(document)
    except CustodyError as error:
        return Failed(error.message)


def _object(document: Any, kind: str, name: str, where: str) -> dict[str, Any]:
    """The metadata of the object that was asked for. Raises MalformedError for any other."""
    metadata = document.get("metadata") if isinstance(document, dict) else None
    if not isinstance(metadata, dict) or document.get("kind") != kind or metadata.get("name") != name:
        raise MalformedError(where, got="something else", expected=f"{kind} {name}")
    return metadata


def _refusal(reply: Reply, where: str) -> Answer:
    """Absent where the API server's Status says so; else Failed, with its words."""
    try:
        status = strictjson.loads(reply.body, where)
    except MalformedError:
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        return Failed(f"{where}: answered {reply.status}")
    if reply.status == 404 and status.get("reason") == "NotFound":
        return Absent()
    return Failed(f"{where}: answered {reply.status}: {str(status.get('message'))[:300]}")

"""The languages' own ports over a decision's answers: what CEL and JMESPath ask becomes a recorded question.

A question without an answer ends the evaluation, whatever the language makes of errors; `decide` sees that it was
asked (`Answers.asked`) and fails the rule. Time is the decision's. Random texts are drawn from the decision's inputs
(`draws`), so that they give the same decision again. Rego's port is in `regoworld`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from custody.errors import CustodyError
from custody.policy.draws import Draws
from custody.policy.evidenceview import accepted, evidence_view
from custody.policy.given import Given
from custody.policy.kinds import Selector, builtin
from custody.policy.rule import Rule
from custody.ports.lookup import Addresses, ApiCall, GlobalEntry, HttpCall, ImageData, Question
from policylang.cel.libraries.kyverno.ports import AnswerError, Object, World
from policylang.errors import LanguageError, Shape
from policylang.jmespath.builtins.generator import generate
from policylang.jmespath.values import QueryError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ASKING: ContextVar[asking] = ContextVar("asking")


class asking:  # noqa: N801 - a context manager; a class, because each rule enters one for each request
    """What was compiled with WORLD (CEL) or JMESPATH asks about this request while it lasts.

    `rule` is for whom random texts are drawn, from the beginning of its stream.
    """

    __slots__ = ("_draws", "_rule", "_token", "given")

    def __init__(self, given: Given, rule: Rule | None = None) -> None:
        self.given = given
        self._rule = rule
        self._draws: Draws | None = None

    def __enter__(self) -> None:
        self._token = _ASKING.set(self)

    def __exit__(self, *_: object) -> None:
        _ASKING.reset(self._token)

    def random(self, below: int) -> int:
        """From 0 to `below` - 1. Raises QueryError where no rule asks."""
        if self._draws is None:
            if self._rule is None:
                raise QueryError("random() is for rules alone")
            self._draws = Draws(self.given, self._rule)
        return self._draws.below(below)


def nanoseconds(moment: datetime) -> int:
    """Since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def path_of(api_version: str, resource: str, namespace: str, name: str = "",
            labels: Mapping[str, str] | None = None) -> str:
    """Of a resource at the API server: `/apis/apps/v1/namespaces/default/deployments/web`."""
    steps = ["apis" if "/" in api_version else "api", *api_version.split("/")]
    steps += ["namespaces", namespace] if namespace else []
    steps += [resource, *([name] if name else [])]
    query = urlencode({"labelSelector": ",".join(f"{key}={value}" for key, value in labels.items())}) if labels else ""
    return "/" + "/".join(quote(step, safe="") for step in steps) + (f"?{query}" if query else "")


# ── CEL, as Kyverno's libraries ask ─────────────────────────────────────────────────────────────────────────────────

def _answer(question: Question) -> Any:
    """Raises AnswerError, also where there is no such thing."""
    try:
        value = _ASKING.get().given.answers.value(question)
    except CustodyError as error:
        raise AnswerError(error.message) from None
    if value is None:
        raise AnswerError(f"{question}: not found")
    return value


class _Resources:
    def get(self, api_version: str, resource: str, namespace: str, name: str) -> Object:
        return _map(_answer(ApiCall(path_of(api_version, resource, namespace, name))))

    def list(self, api_version: str, resource: str, namespace: str, labels: Mapping[str, str] | None) -> Object:
        return _map(_answer(ApiCall(path_of(api_version, resource, namespace, labels=labels))))

    def post(self, api_version: str, resource: str, namespace: str, data: Object) -> Object:
        body = json.dumps(data, sort_keys=True)
        return _map(_answer(ApiCall(path_of(api_version, resource, namespace), "POST", body)))

    def to_gvr(self, api_version: str, kind: str) -> tuple[str, str, str]:
        group, _, version = api_version.rpartition("/")
        for target in builtin().find(Selector(group, version, kind, "")):
            if target.resource.group == group:
                return group, version, target.resource.plural
        raise AnswerError(f"which resource is {api_version} {kind} is not known")


class _Http:
    def request(self, method: str, url: str, body: Any, headers: Mapping[str, str], ca_bundle: str) -> Any:
        sent = "" if body is None else json.dumps(body, sort_keys=True)
        answer = _map(_answer(HttpCall(method, url, tuple(sorted(headers.items())), sent, ca_bundle)))
        try:
            decoded = json.loads(answer.get("body") or "null")
        except ValueError:  # as Kyverno 1.19 has it: the policy sees that there is no body, and the status
            decoded = None
        status = {"statusCode": int(answer.get("status", 0))}
        return decoded | status if isinstance(decoded, dict) else {"body": decoded} | status


class _GlobalContext:
    def get(self, name: str, projection: str) -> Any:
        return _answer(GlobalEntry(name, projection))


class _Images:
    def metadata(self, image: str) -> Object:
        return _map(_answer(ImageData(image)))


class _Evidence:
    def of(self, image: str, who: Object | None) -> Object:
        try:
            return evidence_view(_ASKING.get().given, image, None if who is None else accepted(who))
        except CustodyError as error:
            raise AnswerError(error.message) from None


class _Clock:
    def now(self) -> int:
        return nanoseconds(_ASKING.get().given.context.now)


class _Random:
    def text(self, pattern: str) -> str:
        try:
            return generate(pattern, _ASKING.get().random)
        except QueryError as error:
            raise AnswerError(error.message) from None


WORLD = World(resources=_Resources(), http=_Http(), global_context=_GlobalContext(), images=_Images(), clock=_Clock(),
              random=_Random(), evidence=_Evidence())
"""What a program is compiled with; it is asked within `asking`. What is not here is refused by name."""


def _map(value: Any) -> Object:
    if not isinstance(value, dict):
        raise AnswerError(f"got {Shape(value)}, expected an object")
    return value


# ── JMESPath ────────────────────────────────────────────────────────────────────────────────────────────────────────

class _Jmespath:
    """Its clock is `Env(now)`."""

    def addresses(self, host: str) -> list[str]:
        try:
            addresses = _ASKING.get().given.answers.value(Addresses(host))
        except CustodyError as error:
            raise LanguageError(error.message) from None
        if not addresses:
            raise LanguageError(f"lookup {host}: no such host")
        return list(map(str, addresses))

    def random(self, below: int) -> int:
        asked = _ASKING.get(None)
        if asked is None:
            raise QueryError("random() is for rules alone")
        return asked.random(below)


JMESPATH = _Jmespath()
"""What expressions that may ask are compiled with (`Roots.world`); it is asked within `asking`."""

"""The languages' own ports over a decision's answers: what CEL, Rego and JMESPath ask becomes a recorded question.

A question without an answer ends the evaluation, whatever the language makes of errors; `decide` sees that it was
asked (`Answers.asked`) and fails the rule. Time is the decision's. Random texts are drawn from the decision's inputs
(`draws`), so that they give the same decision again; Rego's are refused.
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
from custody.policy.given import Given
from custody.policy.kinds import Selector, builtin
from custody.policy.lookup import LookupFailedError
from custody.policy.rule import Rule
from custody.ports.lookup import Addresses, ApiCall, GlobalEntry, HttpCall, ImageData, Question
from policylang.cel.libraries.kyverno.ports import AnswerError, Object, World
from policylang.errors import LanguageError, Shape
from policylang.jmespath.builtins.generator import generate
from policylang.jmespath.values import QueryError
from policylang.rego.declare import BuiltinError, Halt
from policylang.rego.values import Value

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ASKING: ContextVar[asking] = ContextVar("asking")
_SENT = frozenset({"method", "url", "headers", "body", "raw_body", "force_json_decode", "tls_ca_cert", "raise_error"})


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
              random=_Random())
"""What a program is compiled with; it is asked within `asking`. What is not here is refused by name."""


def _map(value: Any) -> Object:
    if not isinstance(value, dict):
        raise AnswerError(f"got {Shape(value)}, expected an object")
    return value


# ── Rego ────────────────────────────────────────────────────────────────────────────────────────────────────────────

class RegoWorld:
    """policylang.rego's World, for one request. A missing answer is never undefined: it ends the evaluation."""

    def __init__(self, given: Given) -> None:
        self._given = given

    def now_ns(self) -> int:
        return nanoseconds(self._given.context.now)

    def random(self, count: int) -> bytes:
        raise Halt(BuiltinError(f"{count} random bytes are not given: a decision must be the same again"))

    def runtime(self) -> Value:
        return {}

    def lookup_ip_addr(self, host: str) -> list[str]:
        addresses = self._value("net.lookup_ip_addr", Addresses(host))
        if addresses is None:
            raise BuiltinError(f"lookup {host}: no such host")
        return sorted(map(str, addresses))

    def http_send(self, request: dict[str, Value]) -> Value:
        """Raises Halt for parameters that change what is asked and are not obeyed here."""
        if unknown := sorted(name for name in request if name not in _SENT):
            raise Halt(BuiltinError(f"http.send: {unknown[0]} is not evaluated by custody yet"))
        headers = request.get("headers") or {}
        body = str(request["raw_body"]) if "raw_body" in request else (
            json.dumps(request["body"], sort_keys=True) if "body" in request else "")
        question = HttpCall(str(request["method"]).upper(), str(request["url"]),
                            tuple(sorted((str(name), str(value)) for name, value in headers.items())), body,
                            str(request.get("tls_ca_cert") or ""))
        try:
            answer = self._value("http.send", question)
        except _FailedError as error:
            if request.get("raise_error") is not False:
                raise Halt(BuiltinError(f"http.send: {error}")) from None
            return {"status_code": 0, "error": {"code": "eval_http_send_network_error", "message": str(error)}}
        return _response(answer, forced=request.get("force_json_decode") is True)

    def _value(self, builtin_name: str, question: Question) -> Any:
        try:
            return self._given.answers.value(question)
        except LookupFailedError as error:
            raise _FailedError(error.message) from None
        except CustodyError as error:
            raise Halt(BuiltinError(f"{builtin_name}: {error.message}")) from None


class _FailedError(BuiltinError):
    """The question was asked, and nobody could say."""


def _response(answer: Any, *, forced: bool) -> Value:
    """The object of OPA's http.send: bodies that say that they are JSON are decoded."""
    if not isinstance(answer, dict):
        raise Halt(BuiltinError("http.send: the answer is no response"))
    headers = {str(name).lower(): values if isinstance(values, list) else [str(values)]
               for name, values in (answer.get("headers") or {}).items()}
    raw, body = str(answer.get("body") or ""), None
    if forced or any("application/json" in str(value) for value in headers.get("content-type", ())):
        try:
            body = json.loads(raw)
        except ValueError:
            if forced:
                raise Halt(BuiltinError("http.send: the body is no JSON")) from None
    return {"status": str(answer.get("status")), "status_code": answer.get("status"), "body": body, "raw_body": raw,
            "headers": headers}


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

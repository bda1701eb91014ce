"""AdmissionReview as the API server sends it and wants it answered (admission.k8s.io v1 and v1beta1)."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from custody.errors import MalformedError
from custody.kit import strictjson
from custody.policy.model import Kind, Request, Resource, User

MAX_SIZE = 8 * 1024 * 1024
"""An object is at most about 1.5 MB in etcd; a review carries it twice, beside its managed fields."""
_MAX_WEIGHT = 128 * 1024 * 1024
_LIGHT = 64 * 1024  # bytes that are never so heavy, whatever stands in them
_HEAD = 4096
_UID = re.compile(rb'"request"\s*:\s*\{\s*"uid"\s*:\s*"([A-Za-z0-9._-]{1,128})"')
_VERSION = re.compile(rb'"apiVersion"\s*:\s*"(admission\.k8s\.io/v1(?:beta1)?)"')
_VERSIONS = ("admission.k8s.io/v1", "admission.k8s.io/v1beta1")


class _User(msgspec.Struct):
    """authentication.k8s.io/v1 UserInfo; Go writes a list without entries as null."""

    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] | None = None
    extra: dict[str, list[str] | None] | None = None


class _Request(msgspec.Struct, rename="camel"):
    uid: str
    kind: Kind
    operation: str
    resource: Resource | None = None
    name: str = ""
    namespace: str = ""
    sub_resource: str = ""
    user_info: _User | None = None
    object: dict[str, Any] | None = None
    old_object: dict[str, Any] | None = None
    dry_run: bool | None = None


class _Review(msgspec.Struct, rename="camel"):
    api_version: str
    kind: str
    request: _Request | None = None


class Review(msgspec.Struct, frozen=True):
    api_version: str
    uid: str
    request: Request


class OversizedError(MalformedError):
    """An AdmissionReview that is larger, heavier or deeper than custody reads. It can be answered: `review` says to
    whom, and nothing of what was asked."""

    http_status = 413

    def __init__(self, review: Review, *, got: str, expected: str) -> None:
        super().__init__("AdmissionReview", got=got, expected=expected)
        self.review = review


_DECODER = msgspec.json.Decoder(_Review)


def oversized(head: bytes, *, got: str, expected: str) -> MalformedError:
    """The error for a review of which only the beginning was read, where the API server puts whom to answer."""
    uid, version = _UID.search(head[:_HEAD]), _VERSION.search(head[:_HEAD])
    if not head.lstrip().startswith(b"{") or b'"AdmissionReview"' not in head[:_HEAD] or not uid or not version:
        return MalformedError("AdmissionReview", got=got, expected=expected)
    unread = Request(operation="", kind=Kind(""))
    return OversizedError(Review(version[1].decode(), uid[1].decode(), unread), got=got, expected=expected)


def read(body: bytes) -> Review:
    """Raises MalformedError; OversizedError for what is a review, and more than custody reads."""
    if len(body) > _LIGHT and (weight := strictjson.weight(body)) > _MAX_WEIGHT:
        raise oversized(body, got=f"{len(body)} bytes that would take about {weight >> 20} MiB of memory",
                        expected=f"at most {_MAX_WEIGHT >> 20} MiB")
    try:
        review = _DECODER.decode(body)
    except RecursionError:
        raise oversized(body, got="an object that is nested too deep", expected="about 1,000 levels") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedError("AdmissionReview", got=str(error), expected="a review of admission.k8s.io/v1") from None
    asked = review.request
    if review.kind != "AdmissionReview" or review.api_version not in _VERSIONS or asked is None:
        raise MalformedError("AdmissionReview", got=f"{review.api_version} {review.kind}",
                             expected="admission.k8s.io/v1 AdmissionReview with a request")
    if asked.operation not in ("CREATE", "UPDATE", "DELETE", "CONNECT"):
        raise MalformedError("request.operation", got=asked.operation, expected="CREATE, UPDATE, DELETE or CONNECT")
    given = asked.user_info or _User()
    user = User(username=given.username, uid=given.uid, groups=given.groups or (),
                extra={key: values or [] for key, values in (given.extra or {}).items()})
    return Review(review.api_version, asked.uid, Request(
        operation=asked.operation, kind=asked.kind, namespace=asked.namespace, name=asked.name, object=asked.object,
        old_object=asked.old_object, user=user, dry_run=bool(asked.dry_run), subresource=asked.sub_resource,
        resource=asked.resource))


def answer(review: Review, *, allowed: bool, message: str = "", patch: Sequence[Mapping[str, Any]] = (),
           warnings: Sequence[str] = (), audit: Mapping[str, str] | None = None, reason: str = "Forbidden") -> bytes:
    """The reply, which never repeats anything of the request but its uid. A patch goes only with a permission.

    `reason` of a denial goes with code 403; without one it has neither, as Kyverno's denials.
    """
    response: dict[str, Any] = {"uid": review.uid, "allowed": allowed}
    if not allowed:
        response["status"] = {"status": "Failure", "message": message,
                              **({"reason": reason, "code": 403} if reason else {})}
    elif patch:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(msgspec.json.encode(patch)).decode()
    if warnings:
        response["warnings"] = warnings
    if audit:
        response["auditAnnotations"] = audit
    return msgspec.json.encode({"apiVersion": review.api_version, "kind": "AdmissionReview", "response": response})

"""What is asked and what is answered: a request, its context, and a decision with one result a rule."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any

import msgspec

from custody.ports.lookup import Question


class Outcome(enum.StrEnum):
    PASS = "pass"  # noqa: S105 - an outcome
    FAIL = "fail"
    WARN = "warn"
    SKIP = "skip"
    ERROR = "error"


class Verdict(enum.StrEnum):
    """What is said of a resource. Nothing is allowed that no rule has judged."""

    ALLOWED = "allowed"
    DENIED = "denied"
    NOT_JUDGED = "not judged"


class Kind(msgspec.Struct, frozen=True):
    """metav1.GroupVersionKind; a Pod has the group ""."""

    kind: str
    version: str = "v1"
    group: str = ""


class Resource(msgspec.Struct, frozen=True):
    """metav1.GroupVersionResource: `pods`, `v1`, ""."""

    resource: str
    version: str = "v1"
    group: str = ""


class User(msgspec.Struct, frozen=True, kw_only=True):
    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, list[str]] = {}


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One admission request: the parts of an AdmissionRequest that decide."""

    operation: str
    """CREATE, UPDATE, DELETE or CONNECT."""
    kind: Kind
    namespace: str = ""
    name: str = ""
    object: dict[str, Any] | None = None
    old_object: dict[str, Any] | None = None
    user: User = User()
    dry_run: bool = False
    subresource: str = ""
    resource: Resource | None = None
    """What it is about as the API server names it; None where only an object is given."""
    parent: Kind | None = None
    """The kind of `resource` where it is about a subresource, whose own kind is `kind`: Pod for PodExecOptions."""
    bare: bool = False
    """Only the image is meant: the pod around it was made up to ask about it, and rules about pods do not speak."""
    existing: bool = False
    """The object lies in a cluster: nobody asks for it. It is matched as one that is created."""

    @classmethod
    def create(cls, document: dict[str, Any], namespace: str = "") -> Request:
        """What the API server asks when this object is created; `namespace` where the object names none."""
        group, _, version = str(document.get("apiVersion") or "v1").rpartition("/")
        metadata = document["metadata"] if isinstance(document.get("metadata"), dict) else {}
        return cls(operation="CREATE", kind=Kind(str(document.get("kind") or ""), version, group), object=document,
                   namespace=str(metadata.get("namespace") or namespace), name=str(metadata.get("name") or ""))


class Simulated(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Variables that are said instead of found out, where policies are tried out: names with dots and their values.

    They are there before a policy's own context entries. A value that is a map is merged into what is there.
    """

    policies: dict[str, dict[str, Any]] = {}
    """By the name of the policy, without a namespace."""
    rules: dict[str, dict[str, Any]] = {}
    """By `policy/rule`."""
    elements: dict[str, dict[str, list[Any]]] = {}
    """By `policy/rule`: for the elements of a foreach, in their order."""


class SummaryTerms(msgspec.Struct, frozen=True, kw_only=True):
    """Whose verification summaries count where the evidence itself cannot be had."""

    keys: str
    """PEM public keys."""
    verifier: str
    """The `verifier.id` that they must name."""
    max_age: float
    """Seconds since they were made."""
    policies: str = ""
    """`PolicySet.meaning` of what is judged by: they must be of the same."""


class Context(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a decision depends on beside the request, the evidence and the policies."""

    now: datetime
    simulated: Simulated | None = None
    summaries: SummaryTerms | None = None
    """None: none count."""
    point: str = ""
    """Gatekeeper's enforcement point, where it is another than the request tells: admission, or the audit."""


class RuleResult(msgspec.Struct, frozen=True, kw_only=True):
    policy: str
    kind: str = ""
    """Of the policy: ClusterPolicy."""
    rule: str
    outcome: Outcome
    message: str
    resource: str
    """`Pod/default/web`."""
    image: str | None = None
    """As the resource writes it, for rules about images."""
    evidence: tuple[str, ...] = ()
    """Digests of the Evidence that was relied on."""
    remedy: str | None = None
    """What to do about a failure; of a skip, what was passed over and is warned of."""
    enforce: bool = True
    """Whether a failure or an error denies; False for Audit, and for errors where failurePolicy is Ignore."""
    properties: dict[str, str] = {}
    """What a report says beside the message, by name."""
    warns: bool = True
    """Whether who asks is told of a failure or an error that does not deny."""
    told: str = ""
    """The whole sentence that who asks is told, where the engine has one of its own."""
    audit: dict[str, str] = {}
    """What the audit log of the API server gets, by the name of the annotation."""

    @property
    def title(self) -> str:
        """As people are told of it: `policy/rule`, or the policy where its rule has no name."""
        return f"{self.policy}/{self.rule}" if self.rule else self.policy

    @property
    def denies(self) -> bool:
        return self.enforce and self.outcome in (Outcome.FAIL, Outcome.ERROR)


class Vouched(msgspec.Struct, frozen=True, kw_only=True):
    """What a summary may say of an image: that this was shown by its evidence alone."""

    image: str
    """As the resource writes it."""
    digest: str
    level: str
    evidence: tuple[str, ...]
    """Digests of the Evidence that showed it."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule wants done to another object than the one that was asked about, once that is admitted.

    Who carries it out (`custody admission run`, `custody policy apply`) reads the object again first: it may have
    changed.
    """

    policy: str
    rule: str
    verb: str
    """create: where it is not there; apply: as it is here; patch: one that is there; delete."""
    object: dict[str, Any]
    """Whole; as it is to be. For delete, what names it."""
    before: dict[str, Any] | None = None
    """For patch: as the rule read it."""
    source: dict[str, Any] | None = None
    """For generated objects: what they were cloned from, by apiVersion, kind, namespace and name."""
    synchronize: bool = False
    """Whether it follows its policy, its trigger and its source from then on."""
    orphan: bool = False
    """Whether it stays when its policy goes."""
    server_side: bool = False
    """Whether it is sent as an apply patch (server-side apply)."""
    propagation: str = ""
    """For delete: Foreground, Background or Orphan; empty for the cluster's default."""


class Silent(msgspec.Struct, frozen=True):
    """A rule that did not speak of a request."""

    policy: str
    rule: str
    reason: str

    @property
    def title(self) -> str:
        return f"{self.policy}/{self.rule}" if self.rule else self.policy


class Asks(msgspec.Struct, frozen=True):
    """What a decision met and was not given."""

    images: tuple[str, ...] = ()
    """Canonical names of images of which no evidence was gathered."""
    questions: tuple[Question, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.images or self.questions)


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    verdict: Verdict
    results: tuple[RuleResult, ...]
    """Of rules that were asked; those whose outcome is skip did not judge."""
    silent: tuple[Silent, ...] = ()
    """Rules that were not asked, and why not."""
    unjudged: tuple[str, ...] = ()
    """JSON pointers of pod templates that no rule has looked into: their pods are judged when they are created."""
    patch: list[dict[str, Any]] = []
    """JSON Patch (RFC 6902) of the object: what rules change, and tags pinned to the digests that were judged."""
    changes: tuple[Change, ...] = ()
    """Of other objects; only where rules that generate were asked (`Course.GENERATING`)."""
    warnings: tuple[str, ...] = ()
    inputs_digest: str
    """Of everything that was decided on; the same inputs always give the same decision."""
    asks: Asks = Asks()
    """What would have to be known to decide better. Rules that asked for it failed, so nothing is allowed by it."""

    @property
    def allowed(self) -> bool:
        """What the API server is told: nothing was said against it. That is not `Verdict.ALLOWED`."""
        return self.verdict is not Verdict.DENIED

"""The port to a cluster's objects: read, watched and written, by their kinds as its discovery tells them.

Contract: objects are decoded JSON with `apiVersion` and `kind`, whole, and the caller's own to change. What the API
server refuses is an ApiError with its Status; NetworkError and AuthenticationError are for what is no answer of it.
Answers are bounded: what is longer raises NetworkError and is never cut off. Any number of calls may be made at once;
one that is cancelled ends its request, of which the server may have done its part.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal, NamedTuple, Protocol

from custody.errors import CustodyError

Object = dict[str, Any]
Patch = Literal["json", "merge", "strategic"]
Propagation = Literal["Background", "Foreground", "Orphan"]


class ApiError(CustodyError):
    """The API server, or a webhook that it asked, refused. `status` is its metav1.Status, whole."""

    code = "refused-by-cluster"
    http_status = 502

    def __init__(self, where: str, status: Mapping[str, Any], answered: int) -> None:
        words = str(status.get("message") or f"answered {answered}")
        super().__init__(f"{where}: {words[:2000]}")
        self.status = dict(status)
        self.answered = answered
        """The HTTP status."""
        self.words = words
        """The API server's own, as kubectl shows them behind "Error from server (REASON)"."""
        self.reason = str(status.get("reason") or "")
        """NotFound, AlreadyExists, Conflict, Expired, Forbidden, Invalid …; empty where it gives none."""

    @property
    def missing(self) -> bool:
        """Whether it says that there is no such object. A path that nobody serves has no such Status."""
        return self.answered == 404 and self.reason == "NotFound"

    @property
    def expired(self) -> bool:
        """Whether the version that was to be gone on from is too old, so that all is to be listed again."""
        return self.answered == 410 or self.reason in ("Expired", "Gone")


class Listing(NamedTuple):
    items: list[Object]
    version: str
    """resourceVersion of the whole list: a watch goes on from it."""


class Event(NamedTuple):
    """What a watch tells."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: Object
    """Of a BOOKMARK only its version means something."""
    version: str


class Served(Protocol):
    """A resource in one version, as policy.resources.ApiResource is one."""

    @property
    def group(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def plural(self) -> str: ...

    @property
    def namespaced(self) -> bool: ...


class ClusterObjects(Protocol):
    @property
    def url(self) -> str:
        """The API server's, for messages."""

    async def resource(self, api_version: str, kind: str, *, refresh: bool = False) -> Served | None:
        """None where no such kind is served, also not by a definition that was added since discovery was last asked.

        What it knows is told without asking; with `refresh` it asks. Raises NetworkError, also where an aggregated API
        gives no answer, so that nobody knows, and AuthenticationError.
        """

    async def get(self, resource: Served, name: str, namespace: str = "", *,
                  subresource: str = "") -> Object | None:
        """None where the API server says that there is none. Raises ApiError for all else that it refuses."""

    async def list(self, resource: Served, namespace: str = "", *, labels: str = "", fields: str = "",
                   most: int | None = None, first: int | None = None) -> Listing:
        """All pages, of one version. Raises NetworkError for more than `most` objects; `first` ends with so many."""

    def pages(self, resource: Served, namespace: str = "", *, labels: str = "", fields: str = "",
              mixed: bool = False) -> AsyncIterator[Listing]:
        """The pages of a list as they come, all of one version; where they may be `mixed`, late ones of a later one.
        Raises ApiError, `expired` where all is to be listed again, and NetworkError."""

    def watch(self, resource: Served, namespace: str = "", *, version: str, labels: str = "",
              fields: str = "", seconds: int = 45) -> AsyncIterator[Event]:
        """What happens after `version`, until the API server ends it after `seconds` or so; go on from the last
        event's version. Raises ApiError, `expired` where all is to be listed again, and NetworkError."""

    async def create(self, resource: Served, document: Object, *, dry_run: bool = False,
                     subresource: str = "") -> Object:
        """In the namespace that it names. With `generateName` the answer has the name."""

    async def replace(self, resource: Served, document: Object, *, dry_run: bool = False,
                      subresource: str = "") -> Object:
        """PUT; with a resourceVersion only over that version: ApiError with reason Conflict otherwise."""

    async def apply(self, resource: Served, document: Object, *, manager: str, force: bool = True,
                    dry_run: bool = False, subresource: str = "") -> Object:
        """Server-side apply as the field manager `manager`."""

    async def patch(self, resource: Served, name: str, namespace: str, patch: Any, kind: Patch = "merge", *,
                    dry_run: bool = False, subresource: str = "") -> Object: ...

    async def delete(self, resource: Served, name: str, namespace: str = "", *, uid: str = "", version: str = "",
                     propagation: Propagation = "Background", grace: int | None = None, dry_run: bool = False) -> bool:
        """Whether it was there. With `uid` or `version` only that object or that version of it: reason Conflict
        otherwise. `grace`: seconds that a pod's processes have to end, instead of those that it says."""

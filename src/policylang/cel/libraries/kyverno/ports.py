"""What Kyverno's libraries ask of the world. Off unless given: a call through a port that is not there is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from policylang.cel.values.errors import CelError

Object = dict[str, Any]


class AnswerError(Exception):
    """Raised by a port where the world said no; its text is shown after the library's own words."""


class Resources(Protocol):
    """A cluster. `namespace` is "" for cluster-wide ones. Raises AnswerError."""

    def get(self, api_version: str, resource: str, namespace: str, name: str) -> Object: ...

    def list(self, api_version: str, resource: str, namespace: str, labels: Mapping[str, str] | None) -> Object: ...

    def post(self, api_version: str, resource: str, namespace: str, data: Object) -> Object: ...

    def to_gvr(self, api_version: str, kind: str) -> tuple[str, str, str]:
        """Group, version and plural resource."""
        ...


class Http(Protocol):
    """Answers are decoded JSON. `ca_bundle`: PEM, "" for the machine's own. Raises AnswerError."""

    def request(self, method: str, url: str, body: Any, headers: Mapping[str, str], ca_bundle: str) -> Any: ...


class GlobalContext(Protocol):
    """Entries of Kyverno's GlobalContextEntry by name, and by projection where that is not "". Raises AnswerError."""

    def get(self, name: str, projection: str) -> Any: ...


class Images(Protocol):
    """Registry data of an image: manifest, config, digest … as Kyverno names them. Raises AnswerError."""

    def metadata(self, image: str) -> Object: ...


class Generator(Protocol):
    """Takes the resources that a policy generates. Raises AnswerError."""

    def apply(self, namespace: str, resources: list[Object]) -> None: ...


class ImageVerifier(Protocol):
    """What an ImageValidatingPolicy knows of images. Counts are how many of the attestors were satisfied."""

    def signatures(self, image: str, attestors: list[Any]) -> int: ...

    def attestations(self, image: str, attestation: str, attestors: list[Any]) -> int: ...

    def payload(self, image: str, attestation: str) -> Any: ...

    def data(self, image: str) -> Object: ...


class Clock(Protocol):
    def now(self) -> int:
        """Nanoseconds since 1970."""
        ...


class Random(Protocol):
    def text(self, pattern: str) -> str:
        """A random text that the regular expression matches; AnswerError where it is none."""
        ...


class Evidence(Protocol):
    """What is verified about images, where whoever evaluates knows it; no part of Kyverno's. `who`: by kind of
    evidence, whose counts. Raises AnswerError."""

    def of(self, image: str, who: Object | None) -> Object: ...


@dataclass(frozen=True, slots=True)
class World:
    """The ports that are there."""

    resources: Resources | None = None
    http: Http | None = None
    global_context: GlobalContext | None = None
    images: Images | None = None
    generator: Generator | None = None
    verifier: ImageVerifier | None = None
    clock: Clock | None = None
    random: Random | None = None
    evidence: Evidence | None = None

    def need(self, name: str, asked: str) -> Any:
        """The port called `name`; CelError that names what was `asked` where there is none."""
        port = getattr(self, name)
        if port is None:
            raise CelError(f"{asked} is not available here")
        return port

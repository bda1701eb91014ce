"""What a policy asks that only the world can answer: typed questions, and an answer that is never mistaken for none.

A question without an answer, an answer that there is no such thing, and a failure to get one are three things: nobody
may take the second for the third. All of them are plain data, so that a decision's inputs can be kept and asked again.
"""

from __future__ import annotations

import abc
from typing import Any, Protocol

import msgspec


class NamespaceLabels(msgspec.Struct, frozen=True, tag="namespaceLabels"):
    """Answered by a map of texts."""

    namespace: str

    def __str__(self) -> str:
        return f"the labels of namespace {self.namespace!r}"


class NamespacePods(msgspec.Struct, frozen=True, tag="namespacePods"):
    """Answered by the pods of a namespace as far as Pod Security reads them, pods that are alike there together:
    `{"total": 3, "shapes": [{"annotations": {…}, "spec": {…}}], "pods": [[name, uid of the controller, shape], …]}`.
    `total` is how many there are, also where not all could be listed in time."""

    namespace: str

    def __str__(self) -> str:
        return f"the pods of namespace {self.namespace!r}"


class ConfigMap(msgspec.Struct, frozen=True, tag="configMap"):
    """Answered by the object, as `GET` gives it."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"ConfigMap {self.namespace}/{self.name}"


class ApiCall(msgspec.Struct, frozen=True, tag="apiCall"):
    """A request to the cluster's API server. Answered by the decoded JSON."""

    path: str
    """With its query: `/api/v1/namespaces/default/pods?labelSelector=app%3Dweb`."""
    method: str = "GET"
    body: str = ""
    """JSON text."""

    def __str__(self) -> str:
        return f"{self.method} {self.path} of the API server"


class ImageData(msgspec.Struct, frozen=True, tag="imageData"):
    """Answered by a registry's manifest and config of an image, in the map that Kyverno calls imageData."""

    image: str

    def __str__(self) -> str:
        return f"the data of image {self.image}"


class ExternalData(msgspec.Struct, frozen=True, tag="externalData"):
    """Answered by a Gatekeeper provider's response (externaldata.gatekeeper.sh), as it came, with one item a key."""

    provider: str
    keys: tuple[str, ...]
    url: str = ""
    timeout: int = 0
    """Seconds."""
    authorities: str = ""
    """Certificates in PEM, of which the provider's own must be."""

    def __str__(self) -> str:
        return f"external data of provider {self.provider} for {', '.join(self.keys)}"


class Inventory(msgspec.Struct, frozen=True, tag="inventory"):
    """Answered by what is kept of a cluster for Gatekeeper's referential policies, as `data.inventory`:
    `{"cluster": {GROUP/VERSION: {KIND: {NAME: object}}}, "namespace": {NAMESPACE: {GROUP/VERSION: …}}}`."""

    def __str__(self) -> str:
        return "the inventory of the cluster"


class HttpCall(msgspec.Struct, frozen=True, tag="httpCall"):
    """Any HTTP server. Answered by `{"status": …, "headers": {…}, "body": text}`."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    ca_bundle: str = ""
    """PEM; empty for the machine's own authorities."""

    def __str__(self) -> str:
        return f"{self.method} {self.url}"


class Roles(msgspec.Struct, frozen=True, tag="roles"):
    """Answered by `{"roles": ["namespace:name"], "clusterRoles": ["name"]}`: what bindings give to who asks."""

    username: str
    groups: tuple[str, ...] = ()
    namespace: str = ""
    """Of the request: cluster roles that a RoleBinding gives count in its own namespace."""

    def __str__(self) -> str:
        return f"the roles of {self.username}"


class GlobalEntry(msgspec.Struct, frozen=True, tag="globalEntry"):
    """Answered by the data of a GlobalContextEntry, or of one of its projections."""

    name: str
    projection: str = ""

    def __str__(self) -> str:
        return f"the global context entry {'/'.join(filter(None, [self.name, self.projection]))}"


class Addresses(msgspec.Struct, frozen=True, tag="addresses"):
    """Answered by the list of a host name's IP addresses."""

    host: str

    def __str__(self) -> str:
        return f"the addresses of {self.host}"


PROVIDERS = ("amazon", "azure", "github", "google")
"""Of logins, beside the machine's own."""


class Authority(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whom to believe about an image, where a policy says more than the service's own trust root does.

    Certificates and keys are PEM texts; an empty one leaves to the trust root what it would have replaced.
    """

    root: str = ""
    """A whole trusted root (Sigstore's trusted_root.json) instead of the service's own."""
    keys: str = ""
    """Public keys. Nobody else is believed then, and certificates beside a signature are not read."""
    algorithm: str = ""
    """sha224, sha256, sha384 or sha512: with which a key signed; empty for what fits the key."""
    certificate: str = ""
    """Of the one who signs: its key is believed, if `chain` leads from it to a root."""
    chain: str = ""
    roots: str = ""
    """Of the authorities that issue signing certificates, with the intermediates between."""
    ignore_log: bool = False
    """A signature needs no entry in a transparency log, and one that is there attests no time."""
    log_url: str = ""
    """What the log of `log_key` is called."""
    log_key: str = ""
    ignore_sct: bool = False
    ct_key: str = ""
    """Of the log of certificates."""
    stamps: str = ""
    """The chain of a timestamp authority."""
    notary: bool = False
    """Signatures of the Notary Project, by certificates that `roots` issued."""
    repository: str = ""
    """Where evidence is kept; empty: beside the image."""
    artifacts: bool = False
    """cosign's signatures that are stored as OCI 1.1 artifacts count too."""
    secrets: tuple[str, ...] = ()
    """`namespace/name` of Secrets with logins for registries."""
    providers: tuple[str, ...] = ()
    """Of PROVIDERS: who else is asked for a login."""
    pull_secrets: tuple[str, ...] = ()
    """The same, of which those that cannot be had are passed over: with what a node would pull."""
    also: str = ""
    """PEM keys that count beside whomever else is believed, without a log."""
    insecure: bool = False
    """The registry may be asked by plain HTTP."""
    registry_ca: str = ""
    """Certificates in PEM by which alone the registry's TLS is believed."""
    fresh: bool = False
    """Nothing that was gathered before is used."""


class ImageEvidence(msgspec.Struct, frozen=True, tag="imageEvidence"):
    """Answered by all that was gathered about an image (`evidence.model.EvidenceSet`) as plain data."""

    image: str
    """`registry/path@digest`, or with a tag where that is still to be resolved."""
    authority: Authority
    predicate_types: tuple[str, ...]
    """Of documents that are of use, in order; other ones are named and not read."""

    def __str__(self) -> str:
        return f"the evidence of image {self.image}"


class BlobEvidence(msgspec.Struct, frozen=True, tag="blobEvidence"):
    """Answered by one signature of bytes, verified or rejected (`evidence.model.EvidenceSet`), as plain data."""

    data: str
    """What was signed, in base64."""
    signature: str
    """In base64."""
    certificate: str
    """PEM of who signed; empty for a key's signature."""
    bundle: str
    """Rekor's, JSON; empty where it is in no log."""
    authority: Authority

    def __str__(self) -> str:
        return "whose a signature is"


class ImageLayers(msgspec.Struct, frozen=True, tag="imageLayers"):
    """Answered by `{"digest": …, "layers": [base64 of each]}`: an image that holds small files and no system."""

    image: str
    authority: Authority
    """How its registry is asked."""

    def __str__(self) -> str:
        return f"the files in image {self.image}"


KEY_SERVICES = ("awskms://", "gcpkms://", "azurekms://", "hashivault://", "openbao://")
"""What the names of keys begin with that key management services keep."""


class PublicKeyAt(msgspec.Struct, frozen=True, tag="publicKeyAt"):
    """Answered by the PEM text of a key that a key management service keeps: `awskms://…`, `hashivault://…`."""

    uri: str

    def __str__(self) -> str:
        return f"the public key {self.uri}"


Question = (NamespaceLabels | NamespacePods | ConfigMap | ApiCall | ImageData | ExternalData | Inventory | HttpCall
            | Addresses | Roles | GlobalEntry | ImageEvidence | BlobEvidence | ImageLayers | PublicKeyAt)
"""The time is none of them: a decision has one, `Context.now`."""


class Answered(msgspec.Struct, frozen=True, tag="answered"):
    value: Any


class Partial(abc.ABC):
    """A value of an answer that is too large to be kept whole: what was read of it is what a decision was made from.

    It bounds by itself what one request may read.
    """

    __slots__ = ()

    @abc.abstractmethod
    def read(self) -> Any:
        """Plain data, with which the same decision is made again."""


def plain(value: Any) -> Any:
    """For encoders: a partial value as what was read of it. Raises TypeError for all else."""
    if isinstance(value, Partial):
        return value.read()
    raise TypeError(f"{type(value).__name__} is no JSON")


class Absent(msgspec.Struct, frozen=True, tag="absent"):
    """Whoever would know says that there is no such thing."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """It could not be had, whole: never to be read as absent."""

    reason: str


class Disabled(msgspec.Struct, frozen=True, tag="disabled"):
    """Nobody is to be asked: policies are tried out, and what is asked for is given otherwise or left out.

    Whatever cannot do without it fails. See `policy.model.Simulated`.
    """


Answer = Answered | Absent | Failed | Disabled


class Lookup(Protocol):
    """Answers questions. Any number may be asked at once."""

    async def answer(self, question: Question) -> Answer:
        """Never raises for what the world did: that is `Failed`, with the reason. Cancelled where the time is over."""
        ...

    def known(self, question: Question) -> Answer | None:  # noqa: ARG002 - who knows nothing says so
        """What `answer` would give now without asking or waiting for anybody; None where it has to."""
        return None


class NoLookup(Lookup):
    """Nobody to ask."""

    async def answer(self, question: Question) -> Answer:
        return self.known(question)

    def known(self, question: Question) -> Answer:
        return Failed(f"there is nobody to ask for {question}")

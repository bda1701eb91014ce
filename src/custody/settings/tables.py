"""The tables of the settings: what stands together under one key."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec


class Issuer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An OIDC issuer whose tokens the certificate authority takes, beside custody's own."""

    url: str
    """The `iss` of its tokens."""
    jwks: str | None = None
    """A file with the issuer's public keys (JWK set). Without one they are asked for at `url` (OIDC discovery)."""
    type: Literal["email", "github-workflow", "uri"] = "email"
    """What of a token becomes the certificate's identity: `email`, `job_workflow_ref`, or a URI in `sub`."""
    client_id: str = "sigstore"
    """The `aud` that its tokens must have."""
    subject_domain: str | None = None
    """For type uri: scheme and host that every subject has."""
    single_use: bool = False
    """Of each token one certificate is made: when it comes again it is refused. A job that signs twice needs two."""


class AuthIssuer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An OIDC issuer whose identity tokens the registry takes."""

    url: str
    """The `iss` of its tokens."""
    audience: str
    """The `aud` that its tokens must have: a name of this registry, so that tokens for others do not count here."""
    jwks: str | None = None
    """A file with the issuer's public keys (JWK set). Without one they are asked for at `url` (OIDC discovery)."""
    identity: Literal["email", "github-workflow", "uri", "subject"] = "email"
    """The name in `allow`: `email`, https://github.com/ and `job_workflow_ref`, a URI in `sub`, or `sub` as it is."""
    subject_domain: str | None = None
    """For identity uri: scheme and host that every subject has."""


class Grant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody may do in the registry. What no entry allows is refused."""

    identities: list[str]
    """Patterns of names: users, what an issuer's tokens say, or what certificates say."""
    actions: list[Literal["pull", "push", "delete", "catalog"]]
    """`push` alone does not let anybody read; `catalog` is the list of all repositories."""
    repositories: list[str] = []
    """Patterns of repositories: `*` is any text but `/`, `**` any number of parts."""
    by: str | None = None
    """Who gives the names: `htpasswd`, `certificate`, or an issuer's URL; needed where there are several."""


class Auth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may use the registry. With this table nobody may do what no entry allows."""

    htpasswd: str | None = None
    """File of users and bcrypt hashes, as `htpasswd -B` writes it; read again when it changes."""
    public: list[str] = []
    """Patterns of repositories that everybody may pull."""
    issuers: list[AuthIssuer] = []
    """OIDC issuers whose identity tokens count."""
    allow: list[Grant] = []
    """Who may do what where."""


class EvidenceSigner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Whose statements count: `issuer` and `subject` of a certificate, or a `key`."""

    issuer: str = ""
    subject: str = ""
    issuerRegExp: str = ""  # noqa: N815 - as policies write it
    """In its place: a regular expression that the whole text matches."""
    subjectRegExp: str = ""  # noqa: N815
    key: str = ""
    """`sha256:…` of a public key (DER)."""


class EvidenceProvider(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the provider role tells Gatekeeper about images, and whom (externaldata.gatekeeper.sh)."""

    client_ca: str
    """Authorities whose client certificates may ask: Gatekeeper's `ca.crt`. Nobody else is heard."""
    client_names: list[str] = []
    """Names that such a certificate must have one of; without any, each of `client_ca` may ask."""
    names: list[str] = []
    """Names and addresses by which it is called, for the certificate that custody makes."""
    certificate: str | None = None
    """Certificates in PEM to serve with, instead of those that custody makes itself."""
    key: str | None = None
    """The private key of `certificate`."""
    seconds: Annotated[float, msgspec.Meta(gt=0, le=30)] = 2.5
    """For one request: less than the Provider's `timeout`."""
    keys: list[str] = []
    """Files of public keys with which evidence counts, too."""
    signers: dict[str, list[EvidenceSigner]] = {}
    """Whose word counts, by kind of evidence (`sbom`), and no other kinds. Without any: whoever is vouched for."""


class Summaries(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Verification summaries that webhook and `check` go by where the evidence itself cannot be had."""

    keys: list[str]
    """Files of public keys; nobody else's count."""
    max_age: Annotated[float, msgspec.Meta(gt=0)] = 24.0
    """Hours since they were made."""


class Advisories(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `custody db update` asks, and whose archives count."""

    feeds: list[str] = []
    """What it asks where nothing is named: names of `custody db update --list`, or of `addresses`."""
    addresses: dict[str, str] = {}
    """Addresses of one's own: `"our-own" = "https://advisories.example/all.zip"`; a name of the list is asked there."""
    mirror: str | None = None
    """Where copies of all other addresses are, each under its own: MIRROR/packages.wolfi.dev/os/security.json."""
    keys: list[str] = []
    """Public keys in PEM of whoever may sign what `custody db import` and `--from oci:…` take."""


class SourceIdentity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As `--certificate-identity` and `--certificate-oidc-issuer`, or their patterns (`…-regexp`)."""

    identity: str | None = None
    """An email address or a URI."""
    identity_regexp: str | None = None
    """A pattern of it, not anchored."""
    issuer: str | None = None
    """Who vouched for it."""
    issuer_regexp: str | None = None
    """A pattern of it, not anchored."""


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `custody source check` knows of a team's inputs; its flags add to it."""

    registries: list[str] = []
    """Hosts, or hosts and paths, that packages may be from beside the ecosystems' registries."""
    private: list[str] = []
    """Patterns of the team's own names, which no public registry may answer for: `["@myorg/*", "myorg-*"]`."""
    cooldown: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Days that a version must have been out."""
    popular: str | None = None
    """A file of names that others are taken for typosquats of, one a line."""
    allowed_signers: str | None = None
    """Who may sign commits with SSH keys: the file of `--allowed-signers`."""
    openpgp_keyring: str | None = None
    """Who may with OpenPGP keys: the file of `--openpgp-keyring`."""
    ca_roots: str | None = None
    """Whose certificates may, as gpgsm and smimesign use them: the file of `--ca-roots`."""
    identities: list[SourceIdentity] = []
    """Whose keyless certificates may (gitsign)."""
    dates: dict[str, str] = {}
    """Who is asked with `--online` for the dates of versions, in place of the public registries: `npm`, `pypi` (a
    simple API in JSON), `golang` (a module proxy)."""


class Rescan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which images the scanner role keeps an attested scan of that is young, and as whom it signs."""

    repositories: list[str]
    """Patterns of repositories with their registry, as images are named: `*` is any text but `/`, `**` any number of
    parts. Those without `*` are looked at on whatever registry."""
    refresh: Annotated[float, msgspec.Meta(gt=0)] = 12.0
    """Hours after which a scan is attested anew; far fewer than policies allow."""
    max_age: Annotated[float, msgspec.Meta(gt=0)] = 7.0
    """Days. Where the newest advisory is older, nothing is attested."""
    key: str | None = None
    """File of the private key to sign with; its password is in COSIGN_PASSWORD. Without one: keyless."""
    identity_token: str | None = None
    """File with the OIDC token to sign keyless with, read each time. Without one: of the place where this runs; where
    the data directory has an issuer's key of its own, as https://scanner.custody.internal/scanner."""


class Counting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which findings do not count for those who are told of changes, and for attested scans: as `scan` leaves them out.
    """

    vex: list[str] = []
    """VEX documents, or folders of which each `.json` is one."""
    attested: bool = False
    """VEX that is signed about each image, beside it in its registry, too."""
    key: str | None = None
    """Whose signed VEX counts, in files and beside images: the file of a public key."""
    identity: str | None = None
    """Whose: the identity of a certificate, with `issuer`."""
    issuer: str | None = None
    """The OIDC issuer of that identity."""
    ignore_tlog: bool = False
    """Ask for no log entry of signed VEX."""
    ignorefiles: list[str] = []
    """Ignore files, of custody, Trivy or grype."""
    ignore_unfixed: bool = False
    """Leave out what no fixed version is known for, unless it is known to be exploited."""
    severities: list[Literal["unknown", "none", "low", "medium", "high", "critical"]] = []
    """Leave out what has another severity, unless it is known to be exploited; without any, nothing."""


class Runtime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the runtime role and `custody runtime watch` read, judge by, and tell; flags of `watch` come before it."""

    rules: list[str] = []
    """Falco rule files or folders of them, in their order; read again when they change. `oci://…` is an artifact of
    rule files in a registry, fetched when it begins."""
    rule_keys: list[str] = []
    """Public keys in PEM of whoever may sign rules of registries."""
    suppressions: list[str] = []
    """Files of suppressions: alerts that somebody has explained, until when."""
    show_suppressed: bool = False
    """Alerts that are suppressed are told too, with the suppression's name."""
    responses: list[str] = []
    """Files of responses in Falco Talon's form."""
    respond: bool = False
    """Responses are carried out; otherwise the API server judges what would be done, and keeps none of it."""
    respond_lease: str | None = None
    """`NAMESPACE/NAME` of a Lease: of several processes that see the same alerts, the one that holds it responds."""
    respond_namespace: Annotated[int, msgspec.Meta(ge=1)] = 10
    """Actions in one namespace within an hour."""
    respond_workload: Annotated[int, msgspec.Meta(ge=1)] = 3
    """Actions on pods of one workload within an hour."""
    protected: list[str] = []
    """Namespaces in which nothing is ever done, beside kube-system, kube-public and kube-node-lease."""
    inputs: list[str] = []
    """`FORMAT:PLACE`, as `--input` has it: `tetragon:/var/run/cilium/tetragon/tetragon.log`."""
    sensors: list[str] = []
    """Sensors of this machine, as `--sensor` has them."""
    containers: list[str] = []
    """Files with the list of this machine's containers, as `crictl ps -o json` prints it: which image and pod a
    container that a sensor sees belongs to, where neither the cluster nor a runtime's own files say it. Read again when
    they change."""
    outputs: list[str] = []
    """As `--output` has them; without any, standard output."""
    output_format: Literal["json", "text"] = "json"
    """Falco's JSON objects, or its lines of text."""
    priority: Literal["emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"] = "debug"
    """The lowest priority that is told."""
    match: Literal["first", "all"] = "first"
    """Of the rules that are true of an event, the first of the files, as Falco has it, or all."""
    sources: list[Literal["syscall", "k8s_audit", "aws_cloudtrail", "github", "okta", "gcp_auditlog"]] = []
    """Whose rules are asked; without any, all."""
    fold_after: Annotated[int, msgspec.Meta(ge=0)] = 10
    """Alerts that are alike and told within `fold_window`; the others are told as a number. 0: all are told."""
    fold_rule: Annotated[int, msgspec.Meta(ge=1)] = 1000
    """Alerts of one rule in one container that are told within `fold_window`, however unlike."""
    fold_window: Annotated[float, msgspec.Meta(gt=0, le=86400)] = 60.0
    """Seconds."""
    stalled_after: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """Seconds without an event after which an input is said to be stalled, and /readyz shows it; 0: never."""
    drift: bool = False
    """Hold what containers execute against their images, tell of package managers and of connections outside of
    baselines, and tell alerts with whose image it is. Images are read once, from their registries."""
    opened: bool = False
    """With `drift`: note which files are opened, for `custody runtime attest`."""
    volumes: bool = False
    """With `drift`: tell also of what is executed on volumes."""
    learn: Annotated[float, msgspec.Meta(ge=0, le=31536000)] = 86400.0
    """With `drift`: seconds for which the connections of a new digest are learned, from the first one on."""
    token: str | None = None
    """File with the bearer token that whoever posts events must have; read again when it changes."""
    max_request: Annotated[int, msgspec.Meta(ge=1, le=64)] = 16
    """MiB of one request with events. What is larger is refused, and counted as lost."""
    waiting: Annotated[int, msgspec.Meta(ge=1, le=10000)] = 64
    """Requests whose alerts are not written yet; more are asked to come again."""


class Sensing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the sensors of this machine watch, beside what rules ask of them."""

    mounts: list[str] = []
    """Directories on whose mounts fanotify sees programs being started, beside `containers`."""
    containers: bool = False
    """fanotify finds the roots of containers by itself, as they start, and watches the filesystem of each."""
    enforce: list[Literal["unknown", "modified", "copied", "volume"]] = []
    """What fanotify does not let start in containers, by the files of their images (with `runtime.drift`): programs of
    which the image has neither path nor bytes, those with other bytes, copies under another name, what lies on volumes.
    Of what nobody knows in time, `late` decides."""
    deadline: Annotated[float, msgspec.Meta(ge=0.05, le=30)] = 1.0
    """Seconds for which a program waits for its verdict before `late` is the answer."""
    late: Literal["allow", "deny"] = "allow"
    """What becomes of a program that nobody judged in time, or could not. When custody itself has ended, all are
    allowed."""
    deny: list[Annotated[str, msgspec.Meta(pattern="^(sha256:)?[0-9a-f]{64}$")]] = []
    """SHA-256 digests of programs that fanotify does not let start."""
    all_reads: bool = False
    """Tell also which libraries and shared texts are opened to be read (below /usr/lib, /usr/share, /lib): no stock
    rule asks about them, and every program opens some."""
    audit_rules: bool = False
    """Let the audit sensor set a rule of its own for started programs while it runs, and switch audit on."""

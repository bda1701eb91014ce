"""What people type who come from cosign, syft, Trivy, Kyverno, OPA or crane, and what does the same here.

Only read where a flag or a command is refused: the hint then says what to type instead, or that there is nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

_PLAIN = "127.0.0.0/8 and localhost are asked without TLS; others where custody.toml has plain_http = [\"HOST\"]"
_LOGIN = "`docker login`, `podman login` and DOCKER_AUTH_CONFIG are read; a command line is seen by others"
_WHERE = "--signing-config FILE says where certificates, log entries and timestamps come from"
_ROOT = "--trusted-root FILE has the certificates and keys of authorities and logs"
_FILES = "--bundle FILE keeps all of it"
_KEY = "--key FILE or env://NAME; keys in hardware are not used"
_STATE = "the advisories are those of `custody db import`; nothing is downloaded"
_REPORT = "-o FORMAT or -o FORMAT=FILE, several times"
_VENDORS = "every cataloger and every layer is read; what was not is counted and named"
_LAYOUT = "a layout is TARGET oci:DIR, an archive archive:FILE"
_PUSH = "crane, oras or skopeo do it, with any registry"
_WITHOUT_BLOBS = "files are not signed by custody yet; cosign signs them with `custody trust export`'s two files"

_SIGNING = {
    "--allow-http-registry": _PLAIN, "--allow-insecure-registry": "a certificate is always checked; SSL_CERT_FILE=FILE "
    "adds authorities. " + _PLAIN, "--registry-cacert": "SSL_CERT_FILE=FILE adds authorities",
    "--registry-username": _LOGIN, "--registry-password": _LOGIN, "--registry-token": _LOGIN, "--k8s-keychain": _LOGIN,
    "--rekor-url": _WHERE, "--fulcio-url": _WHERE, "--oidc-issuer": _WHERE, "--timestamp-server-url": _WHERE,
    "--use-signing-config": _WHERE + "; the default is the data directory's", "--sk": _KEY, "--slot": _KEY,
    "--new-bundle-format": "--format bundle is the default, --format legacy what =false was",
    "--output-signature": _FILES, "--output-certificate": _FILES, "--output-payload": _FILES,
    "--fulcio-auth-flow": "--identity-token TOKEN|FILE; there is no sign-in through a browser",
    "--issue-certificate": "--key signs with the key, --identity-token with a certificate",
}
_VERIFYING = {**_SIGNING, **{flag: "no log and no CA is asked, all proofs are in the evidence. " + _ROOT for flag in (
    "--rekor-url", "--fulcio-url", "--timestamp-server-url", "--use-signed-timestamps")}, **dict.fromkeys((
        "--ca-roots", "--ca-intermediates", "--certificate-chain", "--timestamp-certificate-chain", "--certificate",
        "--cert", "--cert-chain", "--sct"), _ROOT),
    "--private-infrastructure": "--insecure-ignore-tlog, or your own log's key: " + _ROOT,
    "--insecure-skip-tlog-verify": "--insecure-ignore-tlog", "--new-bundle-format": "both formats are looked for",
    "--cert-identity": "--certificate-identity", "--cert-email": "--certificate-identity",
    "--check-claims": "they are always checked",
    "--local-image": "evidence is kept in registries: push the image with its referrers (oras copy -r)",
    "--bundle": "evidence is read from registries; there is no verifying from a file yet",
    "--policy": "`custody check IMAGE --policy FILE` judges what statements say", "--max-workers": "nothing is needed",
}
_CONTENTS = {
    "--format": _REPORT, "-f": _REPORT, "--file": _REPORT, "--json": "-o json",
    "--input": _LAYOUT, "--scope": _VENDORS, "--select-catalogers": _VENDORS, "--catalogers": _VENDORS,
    "--exclude": _VENDORS, "--skip-dirs": _VENDORS, "--skip-files": _VENDORS, "--scanners": _VENDORS,
    "--security-checks": _VENDORS, "--pkg-types": _VENDORS, "--vuln-type": _VENDORS, "--list-all-pkgs": _VENDORS,
    "--username": _LOGIN, "--password": _LOGIN, "--insecure": _SIGNING["--allow-insecure-registry"],
    "--cache-dir": "data_dir in custody.toml, or CUSTODY_DATA_DIR", "--no-progress": "-q; in a pipe there is none",
    "--skip-db-update": _STATE, "--skip-java-db-update": _STATE, "--offline-scan": _STATE, "--db-repository": _STATE,
    "--download-db-only": _STATE, "--exit-code": "--fail-on LEVEL ends with exit code 3 where a finding is that bad",
    "--by-cve": "the CVE is `cve` in -o json", "--ignorefile": "findings are not set aside one by one yet",
    "--vex": "VEX is not read yet", "--add-cpes-if-none": "packages are matched by name and version, not by CPE",
}
_REGO = {
    "-b": "-d DIR reads a folder; bundles are not read", "--bundle": "-d DIR reads a folder; bundles are not read",
    "--schema": "schemas are not read", "-s": "schemas are not read", "--target": "there is one target, Python",
    "-t": "there is one target, Python", "--partial": "nothing is evaluated in part", "-p": "nothing is evaluated in "
    "part", "--profile": "--explain full says what was evaluated, --coverage which lines", "--metrics": "nothing is "
    "timed", "--instrument": "nothing is timed", "--import": "--package PATH", "--watch": "run it again",
    "--bench": "nothing is timed", "--ignore": "name the files", "--timeout": "custody --timeout 3m0s rego …",
}
_CHECKING = {
    "--resource": "resources are arguments: custody check FILE --policy FILE", "-r": "resources are arguments",
    "--cluster": "a cluster is judged by the webhook: custody serve --roles admission",
    "--policy-report": "-o json", "-p": "--policy FILE", "--detailed-results": "-o json", "--table": "-o table",
    "--audit-warn": "rules of Audit are warnings always", "--values-file": "--namespace NAME; values are not set from "
    "outside", "-f": "resources are arguments", "--set": "values are not set from outside",
    "--registry": "images are always looked up, --offline does not",
}
_GLOBAL = {
    "-v": "it stands behind the command: custody sign -v, attest -v, rego test -v", "-V": "--version",
    "--verbose": "it stands behind the command: custody sign -v, attest -v, rego test -v", "-o": "it stands behind the "
    "command", "--no-color": "nothing is coloured in a pipe; NO_COLOR=1 on a terminal", "--debug": "CUSTODY_TRACEBACK=1 "
    "shows where a fault of custody is",
}
_FLAGS: dict[str, dict[str, str]] = {
    "": _GLOBAL, "sign": _SIGNING, "attest": _SIGNING, "attach sbom": _SIGNING, "verify": _VERIFYING,
    "verify-attestation": _VERIFYING, "tree": _VERIFYING, "sbom": _CONTENTS, "scan": _CONTENTS, "check": _CHECKING,
    "rego eval": _REGO, "rego check": _REGO, "rego test": _REGO, "rego fmt": _REGO,
    "up": {"--host": "up is for one machine; custody serve --roles ROLE,… --host ADDRESS"},
}
_COMMANDS = {
    **dict.fromkeys(("sign-blob", "attest-blob", "verify-blob", "verify-blob-attestation"), _WITHOUT_BLOBS),
    "triangulate": "`custody tree IMAGE` names all evidence; the tag of --format legacy is sha256-<hex>.sig",
    "copy": "oras copy -r takes an image with its referrers", "cp": "oras copy -r takes an image with its referrers",
    "save": "oras copy -r --to-oci-layout takes an image with its referrers",
    "load": "oras copy -r --from-oci-layout brings an image with its referrers",
    "download": "`custody verify-attestation` prints statements, `oras discover` and `oras pull` get the files",
    "clean": "custody deletes no evidence of others; crane delete IMAGE@DIGEST",
    "initialize": _ROOT + "; there is no TUF client yet", "public-key": "generate-key-pair writes cosign.pub",
    "login": _LOGIN, "upload": _PUSH, "piv-tool": _KEY, "pkcs11-tool": _KEY, "env": "custody's are in "
    "docs/reference/settings.md", "trusted-root": "custody trust export", "signing-config": "custody trust export",
    "attach signature": "custody sign", "attach attestation": "custody attest",
    **dict.fromkeys(("image", "scan image", "scan i"), "custody scan TARGET"), "convert": "sbom -o writes several",
    **dict.fromkeys(("fs", "filesystem", "rootfs", "repo", "repository", "scan fs", "scan repo", "scan dir"),
                    "folders are not scanned yet; a target is an image, oci:DIR, archive:FILE or sbom:FILE"),
    "scan sbom": "custody scan sbom:FILE", "packages": "custody sbom TARGET", "config": "custody check FILE",
    **dict.fromkeys(("db update", "db download"), "custody db import PATH; nothing is downloaded"),
    "db list": "custody db status", "db check": "custody db status",
    **dict.fromkeys(("apply", "policy apply"), "custody check FILE --policy FILE"),
    **dict.fromkeys(("test", "policy test"), "custody check FILE --policy FILE; Kyverno's test files are not read yet"),
    "jp": "custody policy jp", "eval": "custody rego eval, or custody cel eval", "fmt": "custody rego fmt",
    "lint": "custody policy lint", "podsecurity": "custody policy podsecurity",
    **dict.fromkeys(("rego run", "run"), "custody rego eval"), "rego bench": "nothing is timed",
    **dict.fromkeys(("rego build", "rego inspect", "rego sign"), "bundles are not read"),
    **dict.fromkeys(("rego parse", "parse"), "custody rego check says whether it parses"),
    **dict.fromkeys(("push", "pull", "catalog", "digest", "tag", "manifest", "delete", "discover", "registry push",
                     "registry pull", "registry ls", "registry tags", "registry catalog", "registry delete"), _PUSH),
    "trust init": "the services make keys and certificates when they first start", "history": "custody registry history",
    "scrub": "custody registry scrub", "token": "custody trust token", "serve-registry": "custody serve --roles registry",
    "start": "custody up", "version": "custody --version",
}


def flag(command: str, name: str) -> str | None:
    """What to type instead of a flag that `command` (`sign`, `rego eval`, or nothing) does not have."""
    return _FLAGS.get(command, {}).get(name)


def command(words: Sequence[str]) -> str | None:
    """What to type instead of a command that is not there: the first words of the line that are no flags."""
    return next((_COMMANDS[line] for line in (" ".join(words[:count]) for count in (2, 1)) if line in _COMMANDS), None)

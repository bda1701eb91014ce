"""What people type who come from cosign, syft, Trivy, Kyverno, OPA, crane or Falco, and what does the same.

Only read where a flag or a command is refused: the hint then says what to type instead, or that there is nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

_PLAIN = "127.0.0.0/8 and localhost are asked without TLS; others where custody.toml has plain_http = [\"HOST\"]"
_AUTHORITIES = "a certificate is always checked; SSL_CERT_FILE=FILE adds authorities"
_LOGIN = "`docker login`, `podman login` and DOCKER_AUTH_CONFIG are read; a command line is seen by others"
_WHERE = "--signing-config FILE says where certificates, log entries and timestamps come from"
_ROOT = "--trusted-root FILE has the certificates and keys of authorities and logs"
_KEY = "--key pkcs11:token=…;object=…?module-path=… names a key on a token; a PIV token has such a module, ykcs11 say"
_PUSH = "crane, oras or skopeo do it, with any registry"


def _all(hint: str, *names: str) -> dict[str, str]:
    return dict.fromkeys(names, hint)


_REGISTRY = {
    **_all(_PLAIN, "--allow-http-registry"),
    **_all(_AUTHORITIES, "--allow-insecure-registry", "--registry-cacert", "--registry-client-cert",
           "--registry-client-key", "--registry-server-name"),
    **_all(_LOGIN, "--registry-username", "--registry-password", "--registry-token", "--k8s-keychain"),
    "--attachment-tag-prefix": "tags are sha256-HEX.sig, .att and .sbom, and referrers are read too",
    **_all("bundles are referrers, the older forms are tags, and both are read", "--registry-referrers-mode",
           "--experimental-oci11"),
}
_SIGNING = {
    **_REGISTRY,
    **_all(_WHERE, "--rekor-url", "--fulcio-url", "--oidc-issuer", "--timestamp-server-url", "--use-signing-config"),
    **_all(_KEY, "--sk", "--slot"),
    **_all("--identity-token TOKEN|FILE; there is no sign-in through a browser", "--fulcio-auth-flow",
           "--oidc-client-secret-file", "--oidc-redirect-url"),
    **_all("--key signs with the key, --identity-token with a certificate", "--issue-certificate", "--certificate",
           "--certificate-chain", "--cert", "--cert-chain"),
    **_all(_AUTHORITIES, "--timestamp-client-cacert", "--timestamp-client-cert", "--timestamp-client-key",
           "--timestamp-server-name"),
    "--insecure-skip-verify": "what was signed is always verified before it is stored",
    "--record-creation-timestamp": "a bundle's manifest always has the time, one of --format legacy never",
}
_VERIFYING = {
    **_REGISTRY, **_all(_KEY, "--sk", "--slot"),
    **_all("no log and no CA is asked, all proofs are in the evidence; " + _ROOT,
           "--rekor-url", "--timestamp-server-url", "--use-signed-timestamps"),
    **_all(_ROOT, "--ca-roots", "--ca-intermediates", "--certificate-chain", "--timestamp-certificate-chain",
           "--certificate", "--cert", "--cert-chain", "--sct"),
    **_all("evidence is read from registries; there is no verifying from files yet", "--bundle", "--payload",
           "--signature"),
    "--new-bundle-format": "both formats are looked for", "--check-claims": "they are always checked",
    "--attachment": "`custody verify-attestation --type cyclonedx`: attested SBOMs are signed, attached ones are not",
    "--allow-certificate-chain": "what stands above a certificate is read where its format has it; " + _ROOT,
    "--signature-digest-algorithm": "the hash that goes with the key and SHA-256 both count",
}
_NAMED = _all("--insecure-ignore-tlog; or your own log's key: " + _ROOT,
                 "--private-infrastructure", "--insecure-skip-tlog-verify") | _all(
    "--certificate-identity ID", "--cert-identity", "--cert-email", "--certificate-email") | _all(
    "--certificate-oidc-issuer URL", "--cert-oidc-issuer")
_FILE_SIGNING = {
    **_all(_WHERE, "--rekor-url", "--fulcio-url", "--oidc-issuer", "--timestamp-server-url", "--use-signing-config"),
    **_all(_KEY, "--sk", "--slot"),
    **_all("--identity-token TOKEN|FILE; there is no sign-in through a browser", "--fulcio-auth-flow",
           "--oidc-client-secret-file", "--oidc-redirect-url"),
    **_all("--key signs with the key, --identity-token with a certificate", "--issue-certificate", "--certificate",
           "--certificate-chain"),
    **_all(_AUTHORITIES, "--timestamp-client-cacert", "--timestamp-client-cert", "--timestamp-client-key",
           "--timestamp-server-name"),
    "--insecure-skip-verify": "what was signed is always verified before it is written",
}
_FILE_VERIFYING = {
    **_NAMED, **_all(_KEY, "--sk", "--slot"),
    "--rekor-url": "no log is asked, all proofs are in the bundle; " + _ROOT,
    "--sct": "the promise in the certificate is checked, and --insecure-ignore-sct asks for none",
    "--max-workers": "one file is verified by one process",
    "--allow-certificate-chain": "a bundle 0.3 has one certificate; --certificate-chain FILE says what is above it",
    "--experimental-oci11": "no registry is asked about a file",
    "--signature-digest-algorithm": "the hash that goes with the key and SHA-256 both count",
}
_CONTENTS = {
    **_all("-o FORMAT or -o FORMAT=FILE, several times", "--format", "-f", "--file", "--json"),
    **_all("a lock file is the target file:PATH, a folder of them dir:PATH", "--lockfile", "-L"),
    **_all("folders are always read to the bottom: dir:PATH", "--recursive", "-r"),
    **_all("an SBOM is the target sbom:FILE", "--sbom", "-S"),
    **_all("the distribution is that of the image's os-release", "--distro"),
    **_all("nothing is asked on line", "--no-call-analysis", "--call-analysis", "--experimental-offline",
           "--offline-vulnerabilities", "--download-offline-databases"),
    **_all("images are arguments: custody scan archive:FILE, oci:DIR or NAME", "--image", "--docker", "-D"),
    **_all("-o cyclonedx-json, then custody attest --type cyclonedx --predicate FILE", "--key", "--attest"),
    **_all("every cataloger reads every layer; what was not read is counted and named", "--scope", "--catalogers",
           "--select-catalogers", "--skip-dirs", "--skip-files",
           "--pkg-types", "--vuln-type", "--list-all-pkgs"),
    **_all(_LOGIN, "--username", "--password"), **_all(_AUTHORITIES, "--insecure"),
    **_all("the advisories are those of `custody db import`; nothing is downloaded", "--skip-db-update",
           "--skip-java-db-update", "--offline-scan", "--db-repository", "--download-db-only"),
    "--input": "a layout is the target oci:DIR, an archive archive:FILE",
    "--offline": "it stands before the command",
    "--cache-dir": "data_dir in custody.toml, or CUSTODY_DATA_DIR",
    "--no-progress": "-q; in a pipe there is none",
    "--by-cve": "the CVE is `cve` in -o json",
    "--ignore-policy": "policies are `custody check IMAGE --policy FILE`'s; --ignorefile FILE sets findings aside",
    "--show-suppressed": "-o json has them as `ignored`, with by whom and why",
    "--add-cpes-if-none": "packages are matched by name and version, not by CPE",
}
_SCANNING = {
    **_CONTENTS,
    **_all("findings without a fixed version have an empty `fixed` in -o json; --fail-on-fixable stops at the others",
           "--only-notfixed", "--ignore-status", "--ignore-states"),
    **_all("risk, EPSS and exploitation are in -o json; the table is sorted by severity", "--sort-by"),
    "--template": "Go templates are not rendered; -o json, sarif, junit and gitlab are written",
    "--only-kev": "--fail-on-exploited",
}
_SBOM = {
    **_all("Go templates are not rendered; -o syft-json has every field by the names that they use",
           "--template"),
    "--base-path": "rootfs:PATH is an unpacked image", "--from": "oci:DIR, archive:FILE, dir:PATH: the target says it",
    "--name": "--source-name NAME", "--version": "--source-version VERSION", "--supplier": "--source-supplier NAME",
    "--enrich": "nothing is asked on line while an image is read",
}
_CONVERTING = _all("-o FORMAT or -o FORMAT=FILE, several times", "--format", "-f", "--file", "--to", "--output-format",
                   "--output-file", "--input-format")
_REGO = {
    **_all("name the folder; bundles are not read", "-b", "--bundle"),
    **_all("schemas are not read", "-s", "--schema"), **_all("there is one target, Python", "-t", "--target"),
    **_all("nothing is evaluated in part", "-p", "--partial"),
    **_all("nothing is timed", "--metrics", "--instrument", "--bench"),
    "--watch": "run it again", "--ignore": "name the files",
    "--timeout": "it stands before the command: custody --timeout 3m0s rego …",
}
_CHECKING = {
    **_all("resources are arguments: custody check FILE --policy FILE", "--resource", "-r", "-f"),
    **_all("values are not set from outside", "--set", "--values-file", "--userinfo"),
    **_all("-o json", "--policy-report", "--detailed-results"), "-p": "--policy FILE", "--table": "-o table",
    "--cluster": "a cluster is judged by the webhook: custody serve --roles admission",
    "--audit-warn": "failures under Audit are always warnings",
    "--registry": "images are always looked up; --offline before the command opens no socket",
}
_CAPTURES = "captures (.scap) are not read; --input FORMAT:FILE, such as tetragon:FILE, or --sensor NAME"
_FALCO = {
    "-r": "--rules FILE|FOLDER", "-e": _CAPTURES, "-M": "--once ends where files end",
    **_all("[runtime] in custody.toml; falco.yaml is not read", "-c", "--config-schema"),
    **_all("custody runtime rules lint FILE", "-V", "--validate"),
    **_all("custody runtime rules list FILE", "-l", "-L", "--list-rules"),
    **_all("custody runtime rules test FILE --events RECORDING shows what fields events have", "--list", "-N"),
    **_all("`enabled: false` with `override: {enabled: replace}` in a rule file, or --suppressions FILE",
           "-D", "-T", "-t"),
    **_all("--source NAME says whose rules are asked", "--disable-source", "--enable-source"),
    **_all("each alert is written at once", "-U", "--unbuffered"), "-d": "a service manager does that",
    "-p": "what an alert says is its rule's `output`", "-A": "a sensor sees what any rule asks for",
    "--format": "-o json or -o text", "--json": "-o json, as it is by default",
}
_NAMES = "NAMESPACE/ is all of a namespace: --from NAMESPACE/, --to NAMESPACE/"
_NETPOL = {
    **_all("the kubeconfig's current-context counts: kubectl config use-context NAME", "--context", "-k"),
    **_all("folders and files are arguments", "--dirpath", "-f", "--filename", "--dir1", "--dir2", "-R"),
}
_REACHING = {
    **_NETPOL, **_all(_NAMES, "-n", "--namespace", "--focusworkload", "--focus-workload"),
    **_all("-o FORMAT or -o FORMAT=FILE", "--format", "--file"),
    **_all("--from NAMESPACE/NAME, or an address", "--source", "--source-pod", "--src", "-s", "--source-namespace"),
    **_all("--to NAMESPACE/NAME, or an address", "--dest", "--destination", "--destination-pod", "--dst", "-d",
           "--destination-namespace"),
    **_all("--port PORT/PROTOCOL: 53/UDP", "--protocol", "--destination-port", "-p"),
    "--explain": "custody netpol explain", "--exposure": "the lines from and to 'outside' are always there",
}
_GLOBAL = {
    **_all("it stands behind the command: custody sign -v, attest -v, rego test -v", "-v", "--verbose"),
    "-V": "--version", "-o": "it stands behind the command",
    "--no-color": "nothing is coloured in a pipe; NO_COLOR=1 for a terminal",
    "--debug": "CUSTODY_TRACEBACK=1 shows where a fault of custody is",
}
_FLAGS: dict[str, dict[str, str]] = {
    "": _GLOBAL, "scan": _SCANNING, "sign": {
        **_SIGNING, "--payload": "what is signed is made of the image's digest; custody sign-blob signs a file",
        "--sign-container-identity": "the name that is signed is that by which the image is named here",
        "--attachment": "custody attest --type cyclonedx --predicate FILE signs an SBOM",
        **_all("--bundle FILE keeps all of it", "--output-signature", "--output-certificate", "--output-payload")},
    "attest": {**_SIGNING, "--rekor-entry-type": "it goes by the log: dsse in Rekor v1, hashedrekord in v2"},
    "attach sbom": _REGISTRY, "tree": _VERIFYING,
    **dict.fromkeys(("copy", "save", "load", "clean", "triangulate", "generate", "download signature",
                     "download attestation", "download sbom"), _REGISTRY),
    "verify": {**_VERIFYING, **_NAMED,
               "--policy": "`custody verify-attestation --policy FILE`: a signature says nothing to ask about"},
    "verify-attestation": {**_VERIFYING, **_NAMED},
    "sbom list": {**_CONTENTS, **_SBOM}, "sbom convert": _CONVERTING, "sbom merge": _CONVERTING, "check": _CHECKING,
    "rego eval": {
        **_REGO, "--import": "--package PATH",
        "--profile": "--explain full says what was evaluated, --coverage which lines"},
    "rego check": _REGO, "rego test": _REGO, "rego fmt": _REGO,
    "sign-blob": _FILE_SIGNING, "verify-blob": _FILE_VERIFYING, "verify-blob-attestation": _FILE_VERIFYING,
    "attest-blob": {**_FILE_SIGNING, "--rekor-entry-type": "it goes by the log: dsse in Rekor v1, hashedrekord in v2"},
    "bundle create": _all(_KEY, "--sk", "--slot"), "public-key": _all(_KEY, "--sk", "--slot"),
    "trusted-root create": {
        **_all("--fulcio url=…,certificate-chain=FILE", "--certificate-chain", "--fulcio-uri"),
        **_all("--ctfe url=…,public-key=FILE,start-time=…", "--ctfe-key", "--ctfe-start-time", "--ctfe-end-time",
               "--ctfe-url"),
        **_all("--rekor url=…,public-key=FILE,start-time=…", "--rekor-key", "--rekor-start-time", "--rekor-end-time",
               "--rekor-url"),
        **_all("--tsa url=…,certificate-chain=FILE", "--timestamp-certificate-chain", "--timestamp-uri")},
    "signing-config create": {"--with-default-rekor-v2": "--with-default-services: custody's own log is of version 2"},
    "gitsign": {"--include-certs": "a signature has the signing certificate; those above it are the trusted root's",
                "--version": "custody --version"},
    "runtime watch": _FALCO,
    **dict.fromkeys(("netpol check", "netpol diff", "netpol simulate"), _NETPOL),
    **dict.fromkeys(("netpol connectivity", "netpol explain"), _REACHING),
    "initialize": {"--staging": "--mirror https://tuf-repo-cdn.sigstage.dev --root FILE: no root is built in"},
    "up": {"--host": "up is for one machine; custody serve --roles ROLE,… --host ADDRESS"},
}
_COMMANDS = {
    "cp": "custody copy", "piv-tool": _KEY,
    "generate-key-pair": "files, which `kubectl create secret generic` and others take, or --kms NAME: a key that "
    "stays at a service",
    "gitsign": "git runs it, to sign; custody source check verifies, and custody initialize fetches trust files",
    **_all(_PUSH, "push", "pull", "catalog", "digest", "tag", "manifest", "delete", "discover", "upload",
           "registry push", "registry pull", "registry ls", "registry tags", "registry catalog", "registry delete"),
    "login": _LOGIN, "version": "custody --version",
    "env": "docs/reference/settings.md",
    "dockerfile": "custody check IMAGE for each image; custody check FILE for Kubernetes manifests",
    "attach signature": "custody sign --format legacy --key FILE: a key that is elsewhere is a KMS's, a token's or a "
                        "plugin's",
    "attach attestation": "custody attest --format legacy, or --statement FILE for one that is there",
    **_all("custody source check FOLDER --certificate-identity ID --certificate-oidc-issuer URL", "gitsign verify",
           "gitsign verify-tag", "gitsign show"),
    "gitsign attest": "custody attest-blob says something of a file; of commits nothing is attested",
    "gitsign initialize": "custody initialize", "gitsign version": "custody --version",
    "debug": "custody sign -v says which places were asked for an identity",
    "config": "custody check FILE",
    **_all("custody serve --roles scanner,…", "server", "client"),
    **_all("custody watch and custody affected say what of a cluster is", "kubernetes", "k8s"),
    **_all("there are no plugins and no modules", "plugin", "module"),
    "cataloger": "docs/compatibility-packages.md lists what is read", "fix": "`upgrade` in -o json is the version",
    "convert": "custody sbom convert FILE -o FORMAT",
    "db download": "custody db update", "db check": "custody db status", "db delete": "custody db remove SOURCE",
    "db providers": "custody db status",
    **_all("custody policy apply POLICY --resource FILE", "apply"), **_all("custody policy test DIR", "test"),
    "jp": "custody policy jp", "lint": "custody policy lint", "podsecurity": "custody policy podsecurity",
    "eval": "custody rego eval, or custody cel eval", "fmt": "custody rego fmt",
    **_all("custody rego eval", "run", "rego run"), **_all("bundles are not read", "rego build", "rego inspect"),
    **_all("custody rego check says whether it parses", "parse", "rego parse"), "rego bench": "nothing is timed",
    "trust init": "the services make keys and certificates when they first start", "start": "custody up",
    "falco": "custody runtime watch --rules FILE --input FORMAT:FILE, or --sensor NAME",
    "falcoctl": "custody runtime rules pull, push",
    **_all("custody runtime watch", "runtime run", "runtime start", "runtime falco"),
    **_all("custody runtime rules lint", "runtime rules validate", "runtime rules check", "runtime lint"),
    "runtime test": "custody runtime rules test", "runtime audit": "custody runtime watch --input audit:FILE",
    **_all("custody runtime responses check, try", "talon", "runtime talon", "runtime respond"),
    **_all("custody netpol connectivity", "netpol list", "netpol ls"),
    **_all("custody netpol connectivity -o svg=FILE", "netpol graph", "netpol draw"),
    **_all("custody netpol explain --from NAME --to NAME --port PORT", "netpol eval", "netpol evaluate",
           "netpol query", "netpol why"),
    **_all("custody netpol check", "netpol lint", "netpol audit", "netpol validate"),
    "netpol isolate": "custody netpol quarantine",
    **_all("custody policy podsecurity", "policy pss", "policy pod-security", "policy psa", "pss", "psa"),
    "history": "custody registry history", "scrub": "custody registry scrub", "token": "custody trust token",
}


def flag(command: str, name: str) -> str | None:
    """What to type instead of a flag that `command` (`sign`, `rego eval`, or nothing) does not have."""
    return _FLAGS.get(command, {}).get(name)


def command(words: Sequence[str]) -> str | None:
    """What to type instead of a command that is not there: the first words of the line that are no flags."""
    lines = (" ".join(words[:count]) for count in (3, 2, 1))
    return next((_COMMANDS[line] for line in lines if line in _COMMANDS), None)

"""The commands: name → (module, section, one line). `custody --help` reads only this, so it imports nothing else."""

from __future__ import annotations

COMMANDS: dict[str, tuple[str, str, str]] = {
    "demo": ("custody.cli.demo", "The chain", "a real image through every gate, then the attacks that each gate stops"),
    "check": ("custody.cli.check", "The chain", "may this image or pod run? the webhook's answer, rule by rule"),
    "decisions": ("custody.cli.decisions", "The chain", "what the webhook decided, searched"),
    "explain": ("custody.cli.explain", "The chain", "why was this request allowed, or denied?"),
    "replay": ("custody.cli.replay", "The chain", "decide kept requests again, off line, also by other policies"),
    "source": ("custody.cli.source", "Source and build", "check: signed commits, locked and sane dependencies"),
    "build": ("custody.cli.build", "Source and build", "build a commit in a sandbox, with provenance"),
    "registry": ("custody.cli.registry", "Registry", "scrub stored blobs, show a tag's history"),
    "up": ("custody.cli.up", "Services", "all services in one process, one data directory"),
    "serve": ("custody.cli.serve", "Services", "some of the services, apart"),
    "backup": ("custody.cli.backup", "Services", "save the data directory in one file, beside running services"),
    "restore": ("custody.cli.restore", "Services", "make a data directory out of a backup, checked whole"),
    "trust": ("custody.cli.trust", "Services", "export trust files, publish them by TUF; identity tokens"),
    "sign": ("custody.cli.sign", "Sign and verify", "vouch for an image, keyless or with a key"),
    "verify": ("custody.cli.verify", "Sign and verify", "check who signed an image"),
    "attest": ("custody.cli.attest", "Sign and verify", "sign a statement about an image: SBOM, provenance, scan, …"),
    "verify-attestation": ("custody.cli.verify_attestation", "Sign and verify", "check and print signed statements"),
    "sign-blob": ("custody.cli.sign_blob", "Sign and verify", "vouch for a file, with a bundle beside it"),
    "verify-blob": ("custody.cli.verify_blob", "Sign and verify", "check who signed a file"),
    "attest-blob": ("custody.cli.attest_blob", "Sign and verify", "sign a statement about a file"),
    "verify-blob-attestation": ("custody.cli.verify_blob_attestation", "Sign and verify", "check a file's statement"),
    "attach": ("custody.cli.attach", "Sign and verify", "put an SBOM beside an image, unsigned"),
    "bundle": ("custody.cli.bundle", "Sign and verify", "look into a bundle, make one, bring one up to date"),
    "initialize": ("custody.cli.initialize", "Sign and verify", "fetch trusted root and signing config by TUF"),
    "trusted-root": ("custody.cli.trusted_root", "Sign and verify", "create: whom to believe, from PEM files"),
    "signing-config": ("custody.cli.signing_config", "Sign and verify", "create: where to sign"),
    "generate-key-pair": ("custody.cli.generate_key_pair", "Sign and verify", "make cosign.key and cosign.pub"),
    "gitsign": ("custody.cli.gitsign", "Sign and verify", "sign commits and tags keyless: what git runs to sign"),
    "import-key-pair": ("custody.cli.import_key_pair", "Sign and verify", "make such a pair of a key that is there"),
    "notation": ("custody.cli.notation", "Sign and verify", "the Notary Project's commands: sign, verify, key, …"),
    "pkcs11-tool": ("custody.cli.pkcs11_tool", "Sign and verify", "tokens of a PKCS#11 module, and keys on them"),
    "public-key": ("custody.cli.public_key", "Sign and verify", "the public half of a private key"),
    "tree": ("custody.cli.tree", "Sign and verify", "show an image's evidence, and what of it counts"),
    "copy": ("custody.cli.copy", "Sign and verify", "carry an image with its evidence to another registry or folder"),
    "save": ("custody.cli.save", "Sign and verify", "the same into a folder; --airgap: with one signed manifest"),
    "load": ("custody.cli.load", "Sign and verify", "out of such a folder into a registry, checked first"),
    "download": ("custody.cli.download", "Sign and verify", "print signatures, attestations or an SBOM as they lie"),
    "clean": ("custody.cli.clean", "Sign and verify", "remove the signatures, attestations and SBOMs of an image"),
    "triangulate": ("custody.cli.triangulate", "Sign and verify", "where cosign's tags of an image are"),
    "generate": ("custody.cli.generate", "Sign and verify", "print what sign --format legacy would sign of an image"),
    "sbom": ("custody.cli.sbom", "Contents", "list the packages in an image: CycloneDX, SPDX, table"),
    "scan": ("custody.cli.scan", "Contents", "known vulnerabilities of what is in an image"),
    "vex": ("custody.cli.vex", "Contents", "say that a product is not affected: create, check, merge"),
    "affected": ("custody.cli.affected", "Contents", "which images have a package, a CVE, a hash or a licence"),
    "watch": ("custody.cli.watch", "Contents", "match what is kept again as advisories come, and tell what changed"),
    "db": ("custody.cli.db", "Contents", "the advisories that scan matches with: update, import, export, …"),
    "log": ("custody.cli.log", "Sign and verify", "read a transparency log and check it: verify, info, entry, watch"),
    "policy": ("custody.cli.policy", "Policy", "lint policies; Pod Security of files and clusters; jp: try JMESPath"),
    "cel": ("custody.cli.cel", "Policy", "evaluate and check CEL expressions: eval, check"),
    "rego": ("custody.cli.rego", "Policy", "evaluate, check, test and format Rego: eval, check, test, fmt"),
    "netpol": ("custody.cli.netpol", "Policy", "who can reach whom by network policies, why, and what would be cut"),
    "completion": ("custody.cli.completion", "Services", "a script that completes commands for bash, zsh or fish"),
    "admission": ("custody.cli.admission", "Policy", "print the webhook configurations for an API server"),
    "runtime": ("custody.cli.runtime", "Runtime", "what runs: watch events by Falco's rules, tell alerts"),
}

NETWORK = frozenset({"demo", "check", "build", "sign", "verify", "attest", "verify-attestation", "sign-blob",
                     "attest-blob", "verify-blob", "verify-blob-attestation", "bundle", "attach", "tree",
                     "copy", "save", "load", "download", "clean", "triangulate", "generate", "sbom", "scan", "log",
                     "vex", "db", "notation", "gitsign", "initialize", "netpol"})
"""Those that ask others, and take --timeout."""
SERVICES = frozenset({"up", "serve", "watch"})
"""Those that run until they are stopped."""

SECTIONS = ("The chain", "Source and build", "Contents", "Sign and verify", "Registry", "Policy", "Runtime", "Services")

_EPILOGUE = """\
Exit codes: 0 ok · 1 tool error · 2 usage · 3 denied or threshold met · 4 evidence missing or unverifiable
            5 authentication needed · 6 network or --timeout · 130 interrupted
`custody COMMAND --help` says more. stdout is data, stderr is for people."""


def help_text() -> str:
    lines = ["usage: custody [--offline] [--config FILE] COMMAND …", "",
             "The chain of custody for container images, from the commit to the running pod."]
    for section in SECTIONS:
        rows = [(name, line) for name, (_, where, line) in COMMANDS.items() if where == section]
        if rows:
            lines += ["", section] + [f"  {name:<20} {line}" for name, line in rows]
    return "\n".join([*lines, "", _EPILOGUE])

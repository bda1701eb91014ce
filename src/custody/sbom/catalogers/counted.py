"""What is seen and not read yet: it is counted, so that no scan is silent about it."""

from __future__ import annotations

from collections.abc import Container

from custody.sbom.catalogers.cataloger import Counted, ending, inside, named

STORE = "Nix store path"
"""Each once a layer: no single file stands for it, so that nobody looks for a name."""

COUNTED = (
    Counted(kind=".NET dependencies", listed=r"\.deps\.json\Z", paths=(ending("json", pattern=r".*\.deps\.json"),)),
    Counted(kind="Python package without metadata", unless=("METADATA",), once=True, paths=(
        named("RECORD", "WHEEL", pattern=r".*\.dist-info/(?:RECORD|WHEEL)"),)),
    Counted(kind="Python package in development", paths=(ending("egg-link", pattern=r".*[^/]\.egg-link"),)),
    Counted(kind="npm package without package.json", unless=("package.json",), once=True, paths=(
        named("index.js", "index.cjs", "index.mjs",
              pattern=r"(?:.*/)?node_modules/(?:@[^/]+/)?[^/.@][^/]*/index\.[cm]?js"),)),
    Counted(kind="apk packages without a database",
            unless=("../../lib/apk/db/installed", "../../usr/lib/apk/db/installed"),
            paths=(named("world", pattern=r"(?:.*/)?etc/apk/world"),)),
    Counted(kind="Chisel manifest", paths=(named("manifest.wall", pattern=r"(?:.*/)?chisel/manifest\.wall"),)),
    Counted(kind="pacman package", paths=(named("desc", pattern=r"var/lib/pacman/local/[^/]+/desc"),)),
    Counted(kind="Portage package", paths=(named("CONTENTS", pattern=r"var/db/pkg/.*/CONTENTS"),)),
    Counted(kind="opkg database", paths=(
        inside("opkg", pattern=r"(?:.*/)?(?:var|usr)/lib/opkg/status", examples=("opkg/status",)),)),
    Counted(kind="opkg package", paths=(
        ending("control", pattern=r".*lib/opkg/info/[^/]*\.control", examples=("info/a.control",)),)),
    Counted(kind="Linux kernel module", listed=r"\.ko(?:\.[a-z]+)?\Z", paths=(
        ending("ko", pattern=r".*[^/]\.ko"), ending("gz", "xz", "zst", pattern=r".*\.ko\.(?:gz|xz|zst)"))),
    Counted(kind="snap", paths=(named("snap.yaml", pattern=r"(?:.*/)?meta/snap\.yaml"),)),
    Counted(kind="WordPress", paths=(named("version.php", pattern=r"(?:.*/)?wp-includes/version\.php"),)),
    Counted(kind="WordPress plugin", paths=(
        ending("php", pattern=r"(?:.*/)?wp-content/plugins/(?P<name>[^/]+)/(?P=name)\.php"),)),
    Counted(kind="Bitnami component", paths=(ending("spdx", pattern=r"opt/bitnami/(?:.*/)?\.spdx-[^/]+"),)),
    Counted(kind="machine learning model", paths=(ending("gguf"),)),
    Counted(kind="Homebrew formula", paths=(ending("rb", pattern=r"(?:.*/)?Cellar/[^/]+/[^/]+/\.brew/[^/]+"),)),
    # Programs that images install by hand; those of Go and Rust are read, those of a distribution are its own.
    Counted(kind="program without a package", paths=(
        named("node", "php", "php-fpm", "ruby", "perl", "nginx", "httpd", "redis-server", "valkey-server", "postgres",
              "mysqld", "mariadbd", "mongod", "haproxy", "memcached", "envoy", "erl", "julia", "python2.7",
              *(f"python3.{minor}" for minor in range(4, 21)),
              pattern=r"(?:.*/)?s?bin/[^/]+", examples=("bin/node", "sbin/node")),
        named("busybox", "bash", "curl", "wget", "openssl", "sqlite3", "jq", "xz", "zstd", "lighttpd", "proftpd",
              "fluent-bit", "ffmpeg", "deno", "bun", "dart", "swipl", "gcc", "mysql", "psql",
              pattern=r"(?!nix/store/)(?:.*/)?s?bin/[^/]+"))),
    Counted(kind=STORE))
_BY_KIND = {row.kind: row for row in COUNTED}
_NONE = Counted(kind="")


def explained(kind: str, path: str, files: Container[str]) -> bool:
    """Whether another file says what this one is a sign of."""
    folder = path.rpartition("/")[0]
    for name in _BY_KIND.get(kind, _NONE).unless:
        place = folder
        while name.startswith("../"):
            place, name = place.rpartition("/")[0], name[3:]
        if (f"{place}/{name}" if place else name) in files:
            return True
    return False


def once(kind: str) -> bool:
    """Whether the files of one folder stand for one package."""
    return _BY_KIND.get(kind, _NONE).once


def beside(kind: str) -> bool:
    """Whether it is unknown only where another file is not beside it."""
    return bool(_BY_KIND.get(kind, _NONE).unless)

"""Images made to take time or memory: custody beside syft, whole processes, and what each row may take at most.

usage: python bench/contents/hostile.py [ROW…]      (syft from $CUSTODY_PEERS or PATH)

Exit code 1 where custody breaks, takes more than 300 MiB, or more than three times syft's time and more than five
seconds (two without syft's answer). syft is stopped after a minute, and above 4 GiB.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import zstandard

PEERS = Path(os.environ.get("CUSTODY_PEERS", Path.home() / ".cache" / "custody" / "peers"))
MOST_MIB, TIMES, SECONDS, ALONE = 300, 3, 5, 60
NPM = b'{"name":"n%d","version":"1"}'
Layer = Iterator[bytes]
ROWS: dict[str, Callable[[], list[Layer]]] = {}


def header(name: str, size: int = 0, kind: str = "0", link: str = "") -> bytes:
    head = bytearray(512)
    head[:len(name)] = name.encode()
    head[100:156] = b"0000644\0" b"0000000\0" b"0000000\0" b"%011o\0" b"00000000000\0" b"        " % size
    head[156:157] = kind.encode()
    head[157:157 + len(link)] = link.encode()
    head[257:265] = b"ustar\x0000"
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def file(name: str, content: bytes = b"", kind: str = "0", link: str = "") -> bytes:
    front = b""
    if len(name) > 100 or len(link) > 100:
        front = pax({key: text for key, text in (("path", name), ("linkpath", link)) if len(text) > 100})
    return front + header(name[:100], len(content), kind, link[:100]) + content + bytes(-len(content) % 512)


def pax(records: dict[str, str], more: bytes = b"") -> bytes:
    data = b"".join(record(key, text) for key, text in records.items()) + more
    return header("pax", len(data), "x") + data + bytes(-len(data) % 512)


def record(key: str, text: str) -> bytes:
    body = f" {key}={text}\n".encode()
    length = len(body)
    while length != len(body) + len(str(length)):
        length = len(body) + len(str(length))
    return str(length).encode() + body


def row(layers: Callable[[], list[Layer]]) -> Callable[[], list[Layer]]:
    ROWS[layers.__name__.lstrip("_")] = layers
    return layers


def files(count: int, name: str, content: Callable[[int], bytes] | bytes = b"", kind: str = "0",
          link: str = "") -> Layer:
    """`%d` in a name, and a content that is a function, get the number."""
    for place in range(count):
        yield file(name % place if "%" in name else name, content(place) if callable(content) else content, kind,
                   link % place if "%" in link else link)


@row
def lists() -> list[Layer]:
    return [files(16, "var/lib/dpkg/info/a%d.list", b"/bin/x\n" * 2_390_000)]


@row
def lists_of_nothing() -> list[Layer]:
    return [files(16, "var/lib/dpkg/info/a%d.list", b"/\n" * 8_000_000)]


@row
def lists_of_bins() -> list[Layer]:
    return [files(200, "var/lib/dpkg/info/a%d.list", b"/bin/" * 250_000)]


@row
def sums() -> list[Layer]:
    return [files(16, "var/lib/dpkg/status.d/a%d.md5sums", b"d  bin/x\n" * 1_800_000)]


@row
def sums_of_nothing() -> list[Layer]:
    return [files(16, "var/lib/dpkg/status.d/a%d.md5sums", b"\n" * 16_000_000)]


@row
def status() -> list[Layer]:
    return [files(16, "var/lib/dpkg/status.d/a%d", b"Package: aa\nVersion: 1\n\n" * 600_000)]


@row
def status_of_fields() -> list[Layer]:
    return [files(16, "var/lib/dpkg/status.d/a%d", (b"a:\n" * 300_000 + b"\n") * 16)]


@row
def status_of_depends() -> list[Layer]:
    return [files(16, "var/lib/dpkg/status.d/a%d",
                  b"Package: aa\nVersion: 1\nDepends: " + b"|" * 1_000_000 + b"," * 40_000 + b"\n\n")]


@row
def apk() -> list[Layer]:
    return [files(8, "%d/lib/apk/db/installed", b"P:a\nV:1\n\n" * 3_000_000)]


@row
def apk_of_fields() -> list[Layer]:
    return [files(8, "%d/lib/apk/db/installed", (b"Z:\n" * 1_000_000 + b"\n") * 10)]


@row
def copyrights() -> list[Layer]:
    return [files(60, "usr/share/doc/a%d/copyright", b"copyright-format\n" + b"License: a\n" * 350_000)]


@row
def metadata() -> list[Layer]:
    return [files(60, "a%d.dist-info/METADATA", b"Name: a\nVersion: 1\n" + b"a:\n" * 1_300_000)]


@row
def requirements() -> list[Layer]:
    return [files(60, "a%d.dist-info/METADATA", b"Name: a\nVersion: 1\n" + b"Requires-Dist: a\n" * 200_000)]


@row
def jsonmany() -> list[Layer]:
    return [files(200, "%d/package.json", b'{"name":"n","version":"1","a":[' + b"[]," * 140_000 + b"0]}")]


@row
def json_of_text() -> list[Layer]:
    return [files(60, "%d/package.json", b'{"name":"n","version":"1","a":"' + b"\\n" * 2_000_000 + b'"}')]


@row
def json_of_surrogates() -> list[Layer]:
    return [files(60, "%d/package.json", b'{"name":"n","version":"1","a":"' + b"\\ud83d\\ude00" * 340_000 + b'"}')]


@row
def json_of_numbers() -> list[Layer]:
    return [files(60, "%d/package.json", b'{"name":"n","version":"1","a":%s}' % (b"1" * 4_000_000))]


@row
def json_of_dependencies() -> list[Layer]:
    needs = ",".join(f'"d{place}":""' for place in range(100_000)).encode()
    return [files(60, "%d/package.json", b'{"name":"n","version":"1","dependencies":{%s}}' % needs)]


@row
def packages() -> list[Layer]:
    return [files(300_000, "a/node_modules/n%d/package.json", lambda place: NPM % place)]


@row
def packages_of_each_other() -> list[Layer]:
    needs = b",".join(b'"n%d":""' % place for place in range(2000))
    return [files(2000, "a/node_modules/n%d/package.json",
                  lambda place: b'{"name":"n%d","version":"1","dependencies":{%s}}' % (place, needs))]


@row
def one_package_everywhere() -> list[Layer]:
    return [files(400_000, "a%d/package.json", NPM % 1)]


@row
def boms() -> list[Layer]:
    parts = ",".join(f'{{"type":"library","name":"n{place}","version":"1","purl":"pkg:cargo/n{place}@1"}}'
                     for place in range(60_000))
    return [files(16, "a%d.dist-info/sboms/a.json",
                  b'{"bomFormat":"CycloneDX","specVersion":"1.6","components":[%s]}' % parts.encode())]


@row
def osrel() -> list[Layer]:
    return [files(16_000, "etc/os-release", b"ID=a\n" * 3270)]


@row
def osrel_of_quotes() -> list[Layer]:
    return [files(16_000, "etc/os-release", b"ID=" + b"''" * 500 + b"\nNAME=" + b"\\a" * 500 + b"\n")]


@row
def names() -> list[Layer]:
    return [files(1_500_000, "%d/" + "d" * 60)]


@row
def names_that_do_not_compress() -> list[Layer]:
    return [(file(hashlib.sha512(b"%d" % place).hexdigest()[:99]) for place in range(1_500_000))]


@row
def long_names() -> list[Layer]:
    return [files(60_000, "%d" + "/aa" * 1300)]


@row
def jars() -> list[Layer]:
    return [files(400_000, "%d.jar")]


@row
def dlls() -> list[Layer]:
    return [files(20_000, "%d.dll", b"MZ" + bytes(65_000))]


@row
def elves() -> list[Layer]:
    return [files(200_000, "%d.so", b"\x7fELF\x02\x01" + bytes(200))]


@row
def sections() -> list[Layer]:
    size, count = 4 << 20, 65_535
    head = bytearray(64)
    head[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<Q", head, 40, 64)
    struct.pack_into("<HHH", head, 58, 64, count, 0)
    section = struct.pack("<II8x8xQQ", 1, 1, 64 + 64 * count, size).ljust(64, b"\0")
    return [files(30, "%d.so", bytes(head) + section * count + b"a" * size)]


@row
def rust() -> list[Layer]:
    data = zlib.compress(b'{"packages":[' + b",".join(
        b'{"name":"n%d","version":"1"}' % place for place in range(100_000)) + b"]}")
    return [files(40, "bin/%d", elf(".dep-v0", data))]


@row
def rust_of_one() -> list[Layer]:
    data = zlib.compress(b'{"packages":[' + b",".join([b'{"name":"n","version":"1"}'] * 100_000) + b"]}")
    return [files(40, "bin/%d", elf(".dep-v0", data))]


@row
def go() -> list[Layer]:
    modules = b"".join(b"dep\td%d\tv1\n" % place for place in range(60_000))
    return [files(40, "bin/%d", elf(".go.buildinfo", b"\xff Go buildinf:" + bytes([8, 2]) + bytes(16) + text(b"go1.21")
                                    + text(b"0" * 16 + modules + b"1" * 16)))]


def text(data: bytes) -> bytes:
    length, count = b"", len(data)
    while count >= 0x80:
        length += bytes([count & 0x7F | 0x80])
        count >>= 7
    return length + bytes([count]) + data


def elf(name: str, data: bytes) -> bytes:
    strings = b"\0" + name.encode() + b"\0"
    start = 64 + len(data) + len(strings)
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 0, start, 0, 64, 0, 0, 64,
                                                            3, 2)
    rows = [bytes(64), struct.pack("<IIQQQQIIQQ", 1, 1, 0, 0, 64, len(data), 0, 0, 1, 0),
            struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, 64 + len(data), len(strings), 0, 0, 1, 0)]
    return head + data + strings + b"".join(rows)


@row
def links() -> list[Layer]:
    return [files(500_000, "a%d", kind="2", link="../b%d")]


@row
def links_in_circles() -> list[Layer]:
    return [iter([*files(1000, "l%d", kind="2", link=".")]),
            (file("/".join(["l1"] * 30) + f"/{place}/package.json", NPM % place) for place in range(100_000))]


@row
def chains_of_links() -> list[Layer]:
    return [(file(f"l{place}", b"", "2", f"l{place + 1}") for place in range(250)),
            (file(f"l0/{place}/package.json", NPM % place) for place in range(200_000))]


@row
def hard_links() -> list[Layer]:
    return [iter([file("p/package.json", NPM % 1), *files(400_000, "%d/package.json", kind="1",
                                                          link="p/package.json")])]


@row
def hard_links_to_odd_names() -> list[Layer]:
    return [iter([file("x", NPM % 1), *files(300_000, "%d/package.json", kind="1", link="x")])]


@row
def hard_links_to_below() -> list[Layer]:
    return [files(200_000, "x%d", NPM % 1), files(200_000, "%d/package.json", kind="1", link="x%d")]


@row
def whiteouts() -> list[Layer]:
    return [files(500_000, "a%d/.wh.x")]


@row
def opaque() -> list[Layer]:
    return [files(100_000, "a/%d/package.json", NPM % 1), files(300_000, "a/%d/.wh..wh..opq")]


@row
def deep() -> list[Layer]:
    return [files(3000, "%d" + "/a" * 2000 + "/package.json", NPM % 1)]


@row
def layers() -> list[Layer]:
    return [files(3000, f"{place}/%d/package.json", NPM % place) for place in range(120)]


@row
def layers_over_each_other() -> list[Layer]:
    return [files(3000, "a/%d/package.json", NPM % place) for place in range(120)]


@row
def records() -> list[Layer]:
    many = b"".join(record(f"SCHILY.xattr.user.{place}", "") for place in range(35_000))
    return [(part for place in range(60) for part in (pax({}, many), file(f"a{place}")))]


@row
def long_records() -> list[Layer]:
    long = record("comment", "a" * 1_000_000)
    return [(part for place in range(1000) for part in (pax({}, long), file(f"a{place}")))]


@row
def holes() -> list[Layer]:
    def entry(place: int) -> bytes:
        stated = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.size": str(1 << 30),
                  "GNU.sparse.numblocks": "1", "GNU.sparse.map": "0,64"}
        return pax(stated) + file(f"bin/{place}", b"\x7fELF\x02\x01" + bytes(58))
    return [(entry(place) for place in range(200))]


@row
def zeros() -> list[Layer]:
    return [iter([header("zeros", 3 << 30), *[bytes(1 << 20)] * 3072])]


@row
def members() -> list[Layer]:
    return [iter([file("package.json", NPM % 1)])]


@row
def frames() -> list[Layer]:
    return [iter([file("package.json", NPM % 1)])]


@row
def windows() -> list[Layer]:
    return [iter([file("package.json", NPM % 1), *files(40, "pad%d", bytes(4 << 20))]) for _ in range(6)]


@row
def stores() -> list[Layer]:
    return [files(300_000, "nix/store/a%d-b/x")]


@row
def programs() -> list[Layer]:
    return [files(400_000, "%d/bin/bash")]


@row
def eggs() -> list[Layer]:
    return [files(300_000, "%d.egg-info", b"Name: a\nVersion: 1\n")]


def pack(name: str, layer: Layer, target: Path) -> tuple[str, str, int]:
    """The layer as a blob: media type, diff id, size."""
    plain = hashlib.sha256()
    zstd = name in ("frames", "windows")
    if zstd:
        window = 27 if name == "windows" else 22
        packer = zstandard.ZstdCompressor(compression_params=zstandard.ZstdCompressionParameters.from_level(
            1, window_log=window)).compressobj()
        empty = zstandard.compress(b"") if name == "frames" else b""
    else:
        packer = zlib.compressobj(1, wbits=31)
        empty = compressed_nothing() if name == "members" else b""
    with target.open("wb") as out:
        if empty:
            out.write(empty * 1_000_000)
        waiting: list[bytes] = []
        for part in layer:
            waiting.append(part)
            if len(waiting) == 256:
                data = b"".join(waiting)
                plain.update(data)
                out.write(packer.compress(data))
                waiting.clear()
        data = b"".join(waiting) + bytes(1024)
        plain.update(data)
        out.write(packer.compress(data) + packer.flush())
    kind = "application/vnd.oci.image.layer.v1.tar+" + ("zstd" if zstd else "gzip")
    return kind, "sha256:" + plain.hexdigest(), target.stat().st_size


def compressed_nothing() -> bytes:
    packer = zlib.compressobj(1, wbits=31)
    return packer.compress(b"") + packer.flush()


def build(name: str, folder: Path) -> None:
    """An OCI layout of the row."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)
    descriptors, ids = [], []
    for layer in ROWS[name]():
        kind, diff_id, size = pack(name, layer, folder / "layer")
        with (folder / "layer").open("rb") as file_:
            digest = hashlib.file_digest(file_, "sha256").hexdigest()
        (folder / "layer").rename(blobs / digest)
        descriptors.append({"mediaType": kind, "digest": f"sha256:{digest}", "size": size})
        ids.append(diff_id)

    def put(document: dict[str, object], kind: str) -> dict[str, object]:
        data = json.dumps(document).encode()
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{kind}+json", "digest": f"sha256:{digest}", "size": len(data)}

    config = put({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": ids}}, "config.v1")
    manifest = put({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config,
                    "layers": descriptors}, "manifest.v1")
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


def measure(command: list[str], seconds: float, data: str, memory: int | None = None) -> tuple[float, int, str]:
    """Seconds, MiB, and how it ended."""
    def limit() -> None:
        if memory:
            resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))

    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, preexec_fn=limit,
                                   env={**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false", "CUSTODY_DATA_DIR": data})
        stop = start + seconds
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if time.perf_counter() > stop:
                process.kill()
                stop += 60
            time.sleep(0.02)
        process.returncode = os.waitstatus_to_exitcode(status)
        taken = time.perf_counter() - start
        errors.seek(0)
        words = [line.strip() for line in errors if line.strip()]
    end = f"exit {process.returncode}: {words[0][-90:]}" if process.returncode and words else (
        next((line for line in words if "not catalogued" in line), "")[:90])
    return taken, usage.ru_maxrss >> 10, end


def main() -> int:
    chosen = sys.argv[1:] or list(ROWS)
    built = PEERS / "syft"
    syft = str(built) if built.is_file() else shutil.which("syft")
    broken = []
    print(f"{'':<27}{'custody s':>10}{'MiB':>5}{'syft s':>8}{'MiB':>6}  custody's end", flush=True)
    for name in chosen:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            build(name, folder / "i")
            custody = [str(Path(sys.executable).with_name("custody")), "sbom", f"oci:{folder / 'i'}",
                       "-o", f"cyclonedx-json={folder / 'custody.json'}"]
            own, memory, end = measure(custody, 180, str(folder / "d"))
            theirs, much = 0.0, 0
            if syft:
                theirs, much, _ = measure([syft, "-q", f"oci-dir:{folder / 'i'}", "-o",
                                           f"cyclonedx-json={folder / 'syft.json'}"], ALONE, str(folder), 4 << 30)
        if end.startswith("exit 1:") or memory > MOST_MIB or (own > SECONDS and own > TIMES * theirs):
            broken.append(name)
        print(f"{name:<27}{own:>10.1f}{memory:>5}{theirs:>8.1f}{much:>6}  {end}", flush=True)
    print("beyond its limits: " + ", ".join(broken) if broken else "all within their limits")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Java runtimes by the `release` file in their root (JEP 223; OpenJDK, make/ReleaseFile.gmk), however they came there.

Names and CPE are those under which the National Vulnerability Database lists each maker's runtime.
"""

from __future__ import annotations

import re

from custody.formats import purl
from custody.sbom.catalogers.cataloger import Cataloger, named
from custody.sbom.catalogers.fact import Fact

_LINE = re.compile(r'([A-Z_]+)="?([^"\n]{0,2000})')
_LEGACY = re.compile(r"(?P<version>[^_]+)_0*(?P<update>[0-9]+)")


def read(path: str, content: bytes) -> tuple[Fact, ...]:
    """None for the many other files of this name."""
    fields = {match[1]: match[2].strip() for line in content.decode("utf-8", "replace").splitlines()
              if (match := _LINE.match(line))}
    version = _version(fields)
    if not version:
        return ()
    vendor, product = _product(fields, f"/{path}".lower())
    repository = fields.get("SOURCE_REPO") or fields.get("BUILD_SOURCE_REPO") or ""
    spelled = purl.build("generic", product, namespace=vendor, version=version,
                         qualifiers={"repository_url": repository})
    return (Fact(type="generic", name=product, version=version, purl=str(spelled),
                 supplier=fields.get("IMPLEMENTOR", ""),
                 cpes=tuple(_cpe(maker, name, version) for maker, name in _listed(vendor, product, fields)),
                 evidence="JAVA_RUNTIME_VERSION" if fields.get("JAVA_RUNTIME_VERSION") else "JAVA_VERSION"),)


def _version(fields: dict[str, str]) -> str:
    """The longest that is comparable: `17.0.12+7`; FULL_VERSION only where it is of the same numbering."""
    runtime, full, short = (fields.get(key, "") for key in ("JAVA_RUNTIME_VERSION", "FULL_VERSION", "JAVA_VERSION"))
    if runtime or not short:
        return runtime
    return full if full.partition(".")[0] == short.partition(".")[0] else short


def _product(fields: dict[str, str], path: str) -> tuple[str, str]:
    maker = fields.get("IMPLEMENTOR", "").lower().replace(" ", "")
    if "azul" in maker or "zulu" in path:
        return "azul", "zulu"
    if "sun" in maker:
        return "sun", _kit(fields)
    if "ibm" in maker or "/ibm" in path:
        return "ibm", "java_sdk" if _kit(fields) == "jdk" else "java"
    if "oracle" in maker or "oracle" in path or "commercial" in fields.get("BUILD_TYPE", ""):
        return "oracle", _kit(fields)
    return "oracle", "openjdk"


def _kit(fields: dict[str, str]) -> str:
    """`jdk` where there is a compiler, or the file says so."""
    stated, modules = fields.get("IMAGE_TYPE", "").lower(), fields.get("MODULES", "").split()
    return "jre" if "jre" in stated or (modules and not stated and "jdk.compiler" not in modules) else "jdk"


def _listed(vendor: str, product: str, fields: dict[str, str]) -> tuple[tuple[str, str], ...]:
    if product == "zulu":
        return ("azul", "zulu"), ("oracle", "openjdk")
    if vendor in ("sun", "oracle") and product != "openjdk":
        kits = ("jre", "jdk") if _kit(fields) == "jdk" else ("jre",)
        return tuple((vendor, name) for name in ((*("java_se",) * (vendor == "oracle"), *kits)))
    return ((vendor, product),)


def _cpe(vendor: str, product: str, version: str) -> str:
    """CPE 2.3 (NISTIR 7695, 6.2): `1.8.0_302-b08` is version 1.8.0, update302."""
    legacy = _LEGACY.match(version)
    short = legacy["version"] if legacy else version.partition("+")[0]
    update = f"update{legacy['update']}" if legacy else "*"
    spelled = re.sub(r"([^A-Za-z0-9._-])", r"\\\1", short)
    return f"cpe:2.3:a:{vendor}:{product}:{spelled}:{update}:*:*:*:*:*:*"


CATALOGER = Cataloger(
    name="Java runtime", version=1, types=("generic",), read=read, largest=500 << 10, head=True, listed=r"/release\Z",
    paths=(named("release", examples=("jvm/release",)),))

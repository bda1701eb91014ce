"""Kyverno's functions of maps and lists, and those that ask the world."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from policylang.go.numbers import format_float
from policylang.jmespath.builtins.function import Function, declare, failed
from policylang.jmespath.builtins.standard import identical
from policylang.jmespath.builtins.strings import text
from policylang.jmespath.values import Env, Maps, QueryError, is_number

if TYPE_CHECKING:
    from policylang.go.netip import Address

_DOMAIN = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_DOMAIN}(?:\.{_DOMAIN})*|\[(?:[a-fA-F0-9:]+)\])(?::[0-9]+)?"
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(rf"(?:({_HOST})/)?({_PART}(?:/{_PART})*)(?::([\w][\w.-]{{0,127}}))?"
                        r"(?:@([A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?\Z", re.ASCII)
_DIGESTS = {"sha256": 64, "sha384": 96, "sha512": 128}
_PRIVATE_4 = ((0x0A, 24), (0xAC1, 20), (0xC0A8, 16))


def _label_match(selector: dict[str, Any], labels: dict[str, Any]) -> bool:
    return all(key in labels and identical(labels[key], value) for key, value in selector.items())


def _lookup(value: Any, key: Any) -> Any:
    if type(value) is dict:
        if type(key) is not str:
            raise failed("lookup", "argument #2 is not of type String")
        return value.get(key)
    if type(value) is Maps:
        raise failed("lookup", "argument #1 is not of type Object or Array")
    if not is_number(key):
        raise failed("lookup", "argument #2 is not of type Number")
    if key != key or key in (float("inf"), float("-inf")) or key != int(key):
        raise failed("lookup", f"argument #2: expected an integer number but got: {format_float(float(key))}")
    if not -(2.0**63) <= key < 2.0**63:
        raise failed("lookup", f"argument #2: number is outside the range of integer numbers: "
                               f"{format_float(float(key))}")
    return value[int(key)] if 0 <= key < len(value) else None


def _items(env: Env, value: Any, key: str, name: str) -> Maps:
    if type(value) is Maps:
        raise failed("items", "argument #1 is not of type Object or Array")
    env.spend(len(value))
    if type(value) is dict:
        return Maps({key: member, name: value[member]} for member in sorted(value))
    return Maps({key: at, name: element} for at, element in enumerate(value))


def _object_from_lists(keys: Any, values: Any) -> dict[str, Any]:
    for at, argument in enumerate((keys, values), 1):
        if type(argument) is Maps:
            raise failed("object_from_lists", f"argument #{at} is not of type Array")
    members = {}
    for at, key in enumerate(keys):
        if type(key) is bool:
            name = "true" if key else "false"
        elif type(key) is str or is_number(key):
            name = text(key)
        else:
            raise failed("object_from_lists", "argument #1 is not of type StringArray")
        members[name] = values[at] if at < len(values) else None
    return members


# ── images and addresses ────────────────────────────────────────────────────────────────────────────────────────────

def normalized_image(image: str, registry: str = "docker.io") -> str:
    """`registry/path:tag` or `registry/path@digest`. Raises QueryError for what is no reference."""
    head, slash, _ = image.partition("/")
    default = not slash or (not set(".:") & set(head) and head != "localhost" and head == head.lower())
    full = f"{registry}/{image}" if default else image
    reference = _REFERENCE.match(full)
    problem = None
    if reference is None:
        problem = ("repository name must be lowercase" if _REFERENCE.match(full.lower()) else
                   "invalid reference format")
    elif len(reference[2]) > 255:
        problem = "repository name must not be more than 255 characters"
    elif reference[4]:
        algorithm, _, digits = reference[4].partition(":")
        if algorithm not in _DIGESTS:
            problem = "unsupported digest algorithm"
        elif len(digits) != _DIGESTS[algorithm]:
            problem = "invalid checksum digest length"
        elif digits != digits.lower():
            problem = "invalid checksum digest format"
    if problem or reference is None:
        raise failed("image_normalize", f"bad image: {full}, defaultRegistry: {registry}, "
                                        f"enableDefaultRegistryMutation: true: {problem}")
    host, path, tag, digest = reference.groups()
    name = f"{host}/{path}" if host else path
    return f"{name}@{digest}" if digest else f"{name}:{tag or 'latest'}"


def _is_external(env: Env, url: str) -> bool:
    from policylang.go import netip, urls
    try:
        host = urls.parse(url).hostname
    except urls.UrlError as wrong:
        raise QueryError(wrong.message) from None
    try:
        return not _inside(netip.parse_address(host))
    except netip.AddressError:
        pass
    if env.world is None:
        raise QueryError(f"is_external_url: {host} is not looked up: this evaluation has no network")
    return not any(_inside(netip.parse_address(address)) for address in env.world.addresses(host))


def _inside(address: Address) -> bool:
    value, version = address.value, address.version
    if address.is_4_in_6:
        value, version = value & 0xFFFFFFFF, 4
    if version == 4:
        return value >> 24 == 127 or any(value >> shift == prefix for prefix, shift in _PRIVATE_4)
    return value == 1 or value >> 121 == 0xFC >> 1


def _random(env: Env, pattern: str) -> str:
    if not pattern:
        raise QueryError("no pattern provided")
    if env.world is None:
        raise QueryError("random: this evaluation has no randomness")
    from policylang.jmespath.builtins.generator import generate
    return generate(pattern, env.world.random)


def _decode_certificate(pem: str) -> dict[str, Any]:
    from policylang.go.x509 import CertificateError, decode_pem
    try:
        return decode_pem(pem)
    except CertificateError as wrong:
        raise QueryError(wrong.message) from None


FUNCTIONS: tuple[Function, ...] = (
    declare("label_match", "object, object", "bool", _label_match, "whether labels have all that a selector wants"),
    declare("lookup", "object|array, string|number", "any", _lookup, "the value of a key or an index, else null"),
    declare("items", "object|array, string, string", "array", _items,
            "a list of objects of each key or index and its value, under the names that are given", env=True),
    declare("object_from_lists", "array, array", "object", _object_from_lists,
            "a map of the keys of one list to the values of another"),
    declare("random", "string", "string", _random, "a random text that a regular expression would match", env=True,
            asks="random"),
    declare("x509_decode", "string", "object", _decode_certificate,
            "the fields of a certificate or certificate request in PEM, with an RSA key"),
    declare("image_normalize", "string", "string", normalized_image, "an image with its registry and tag"),
    declare("is_external_url", "string", "bool", _is_external,
            "whether the host of a URL is neither a loopback nor a private address", env=True, asks="network"),
)

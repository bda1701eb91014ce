"""`custody trusted-root create`: a trusted root of certificates and keys in PEM."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TypeVar

import click
from cryptography.x509 import load_der_x509_certificate

from custody.cli.run import settings
from custody.cli.service_specs import Spec
from custody.cli.trust_files import load_root
from custody.errors import UsageError
from custody.kit import destination
from custody.kit.visible import visible
from custody.sign.certificate import is_ca
from custody.trust.pemroots import authority_of, log_of, read_pem, read_pem_chain
from custody.trust.roots import CertificateAuthority, TransparencyLog, TrustedRoot

_T = TypeVar("_T")
_AUTHORITY = (("url", "certificate-chain"), ("start-time", "end-time"))
_LOG = (("url", "public-key", "start-time"), ("end-time", "origin"))


@click.command("create")
@click.option("--fulcio", multiple=True, metavar="SPEC", help="A certificate authority: url=…,certificate-chain=FILE "
              "[,start-time=…][,end-time=…].")
@click.option("--rekor", multiple=True, metavar="SPEC", help="A transparency log: url=…,public-key=FILE,start-time=… "
              "[,end-time=…][,origin=NAME]; an origin for Rekor v2.")
@click.option("--ctfe", multiple=True, metavar="SPEC", help="A log of certificates, described as --rekor.")
@click.option("--tsa", multiple=True, metavar="SPEC", help="A timestamp authority, described as --fulcio; its own "
              "certificate comes first.")
@click.option("--with-default-services", is_flag=True,
              help="Begin with the trusted root that custody uses where none is named.")
@click.option("--no-default-fulcio", is_flag=True, help="Of that without its certificate authorities.")
@click.option("--no-default-rekor", is_flag=True, help="Of that without its transparency logs.")
@click.option("--no-default-ctfe", is_flag=True, help="Of that without its logs of certificates.")
@click.option("--no-default-tsa", is_flag=True, help="Of that without its timestamp authorities.")
@click.option("--out", metavar="FILE", help="Where it goes. Default: standard output.")
def command(fulcio: tuple[str, ...], rekor: tuple[str, ...], ctfe: tuple[str, ...], tsa: tuple[str, ...],
            with_default_services: bool, no_default_fulcio: bool, no_default_rekor: bool, no_default_ctfe: bool,
            no_default_tsa: bool, out: str | None) -> None:
    """Write a trusted root of certificates and keys in PEM, as `cosign trusted-root create` does."""
    base = TrustedRoot()
    if with_default_services:
        given = load_root(settings(), None)
        if given is None:
            raise UsageError("--with-default-services: there is no trusted root here", hint="custody up, or custody "
                             "trust export, makes one; or `trusted_root` in custody.toml")
        base = given
    elif no_default_fulcio or no_default_rekor or no_default_ctfe or no_default_tsa:
        raise UsageError("--no-default-…: leaves a part out of --with-default-services, which is not given")
    root = TrustedRoot(
        tlogs=(*_kept(base.tlogs, no_default_rekor), *(_log("--rekor", text) for text in rekor)),
        certificate_authorities=(*_kept(base.certificate_authorities, no_default_fulcio),
                                 *(_authority("--fulcio", text) for text in fulcio)),
        ctlogs=(*_kept(base.ctlogs, no_default_ctfe), *(_log("--ctfe", text) for text in ctfe)),
        timestamp_authorities=(*_kept(base.timestamp_authorities, no_default_tsa),
                               *(_stamping("--tsa", text) for text in tsa)))
    write_document(root.to_json(), out)


def write_document(data: bytes, out: str | None) -> None:
    if out:
        destination.write(Path(out), data, "--out")
        print(f"Wrote {visible(out)}", file=sys.stderr)
    else:
        print(data.decode(), end="")


def _kept(entries: tuple[_T, ...], left_out: bool) -> tuple[_T, ...]:
    return () if left_out else entries


def _authority(flag: str, text: str) -> CertificateAuthority:
    spec = Spec(flag, text, *_AUTHORITY)
    chain = read_pem_chain(spec.values["certificate-chain"], f"{flag}: certificate-chain")
    root = load_der_x509_certificate(chain[-1])
    return authority_of(chain, spec.values["url"], spec.valid(root.not_valid_before_utc))


def _stamping(flag: str, text: str) -> CertificateAuthority:
    spec = Spec(flag, text, *_AUTHORITY)
    chain = read_pem_chain(spec.values["certificate-chain"], f"{flag}: certificate-chain")
    leaf = load_der_x509_certificate(chain[0])
    if is_ca(leaf):
        raise UsageError(f"{flag}: certificate-chain: begins with a CA certificate, expected the authority's own first")
    if len(chain) < 2:
        raise UsageError(f"{flag}: certificate-chain: is one certificate, expected the authority's own and a root")
    return authority_of(chain, spec.values["url"], spec.valid(leaf.not_valid_before_utc))


def _log(flag: str, text: str) -> TransparencyLog:
    spec = Spec(flag, text, *_LOG)
    path = spec.values["public-key"]
    return log_of(read_pem(path, f"{flag}: public-key"), f"{flag}: public-key {path}", spec.values["url"], spec.valid(),
                  spec.values.get("origin") or None)

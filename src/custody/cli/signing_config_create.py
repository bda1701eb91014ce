"""`custody signing-config create`: a signing config of services that are named."""

from __future__ import annotations

import re

import click

from custody.cli.run import settings
from custody.cli.service_specs import Spec
from custody.cli.trust_files import load_config
from custody.cli.trusted_root_create import write_document
from custody.errors import UsageError
from custody.trust.roots import Service, SigningConfig

_KEYS = ("url", "api-version", "start-time", "operator"), ("end-time",)
_SPEC = "url=…,api-version=N,start-time=…,operator=NAME[,end-time=…]"


@click.command("create")
@click.option("--fulcio", multiple=True, metavar="SPEC", help=f"A certificate authority: {_SPEC}.")
@click.option("--rekor", multiple=True, metavar="SPEC", help="A transparency log, described likewise.")
@click.option("--rekor-config", metavar="ANY|ALL|EXACT:N", help="In how many of the logs a signature must be.")
@click.option("--oidc-provider", multiple=True, metavar="SPEC", help="Who vouches for identities, described likewise.")
@click.option("--tsa", multiple=True, metavar="SPEC", help="A timestamp authority, described likewise.")
@click.option("--tsa-config", metavar="ANY|ALL|EXACT:N", help="How many of the authorities stamp a signature.")
@click.option("--base-config", metavar="FILE", help="Begin with this one; services given replace its own of that kind.")
@click.option("--with-default-services", is_flag=True,
              help="Begin with the signing config that custody uses where none is named.")
@click.option("--no-default-fulcio", is_flag=True, help="Of the beginning without its certificate authorities.")
@click.option("--no-default-rekor", is_flag=True, help="Of the beginning without its transparency logs.")
@click.option("--no-default-oidc", is_flag=True, help="Of the beginning without its identity providers.")
@click.option("--no-default-tsa", is_flag=True, help="Of the beginning without its timestamp authorities.")
@click.option("--out", metavar="FILE", help="Where it goes. Default: standard output.")
def command(fulcio: tuple[str, ...], rekor: tuple[str, ...], rekor_config: str | None, oidc_provider: tuple[str, ...],
            tsa: tuple[str, ...], tsa_config: str | None, base_config: str | None, with_default_services: bool,
            no_default_fulcio: bool, no_default_rekor: bool, no_default_oidc: bool, no_default_tsa: bool,
            out: str | None) -> None:
    """Write a signing config, as `cosign signing-config create` does.

    custody itself signs with one service of a kind: of ALL and EXACT above 1 it says so when it signs.
    """
    for flag, specs, selector in (("--rekor", rekor, rekor_config), ("--tsa", tsa, tsa_config)):
        if specs and selector is None:
            raise UsageError(f"{flag}-config: not given, and {flag} is", hint=f"{flag}-config ANY")
    if base_config and with_default_services:
        raise UsageError("--base-config and --with-default-services: give one to begin with")
    left_out = (no_default_fulcio, no_default_oidc, no_default_rekor, no_default_tsa)
    base = SigningConfig()
    if base_config or with_default_services:
        base = load_config(settings(), base_config, log=True, signs=False)
        if base == SigningConfig():
            raise UsageError("--with-default-services: there is no signing config here", hint="custody up, or custody "
                             "trust export, makes one; or `signing_config` in custody.toml")
    elif any(left_out):
        raise UsageError("--no-default-…: leaves out a part of --base-config or --with-default-services, and neither "
                         "is given")
    replaces = base_config is not None
    ca, oidc, logs, stamping = (
        (*(() if without or (replaces and specs) else own), *(_service(flag, text) for text in specs))
        for flag, specs, own, without in (
            ("--fulcio", fulcio, base.ca, left_out[0]), ("--oidc-provider", oidc_provider, base.oidc, left_out[1]),
            ("--rekor", rekor, base.rekor, left_out[2]), ("--tsa", tsa, base.tsa, left_out[3])))
    write_document(SigningConfig(
        ca, oidc, logs, stamping, _selector("--rekor-config", rekor_config, base.rekor_selector),
        _selector("--tsa-config", tsa_config, base.tsa_selector)).to_json(), out)


def _service(flag: str, text: str) -> Service:
    spec = Spec(flag, text, *_KEYS)
    version = spec.values["api-version"]
    if not re.fullmatch("[0-9]{1,4}", version):
        raise UsageError(f"{flag}: api-version: got {version!r}, expected a number")
    return Service(spec.values["url"], int(version), spec.valid(), spec.values["operator"])


def _selector(flag: str, text: str | None, base: tuple[str, int]) -> tuple[str, int]:
    if text is None:
        return base
    mode, colon, count = text.partition(":")
    if mode.upper() in ("ANY", "ALL") and not colon:
        return mode.upper(), 0
    if mode.upper() == "EXACT" and re.fullmatch("[1-9][0-9]{0,3}", count):
        return "EXACT", int(count)
    raise UsageError(f"{flag}: got {text!r}, expected ANY, ALL or EXACT:N with N from 1")

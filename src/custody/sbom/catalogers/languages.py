"""The catalogers of lock files, manifests and what the package managers of languages install, as one row."""

from __future__ import annotations

from custody.sbom.catalogers import (
    apple,
    bunlock,
    cargo,
    composer,
    conda,
    cran,
    dart,
    denolock,
    erlang,
    functional,
    golang,
    infrastructure,
    lua,
    native,
    npmlock,
    perl,
    pnpmlock,
    python,
    pythonlock,
    requirements,
    ruby,
    yarnlock,
)

CATALOGERS = (
    python.EGG, python.LINK, python.DIRECT_URL,
    perl.INSTALLED, perl.LOCAL,
    ruby.INSTALLED, ruby.SOURCE, ruby.LOCK,
    composer.INSTALLED, composer.LOCK, composer.PEAR,
    cran.CATALOGER, cran.LOCK,
    conda.CATALOGER, conda.ENVIRONMENT,
    erlang.APPLICATION, erlang.METADATA, erlang.REBAR, erlang.MIX,
    lua.INSTALLED, lua.SOURCE,
    functional.OPAM, functional.OPAM_LOCK, functional.STACK, functional.FREEZE, functional.JULIA,
    native.INFO, native.PORTS, native.LOCK, native.FILE, native.MANIFEST,
    npmlock.CATALOGER, yarnlock.CATALOGER, pnpmlock.CATALOGER, bunlock.CATALOGER,
    bunlock.BINARY, denolock.CATALOGER,
    pythonlock.CATALOGER, requirements.REQUIREMENTS, requirements.SETUP_CFG, requirements.SETUP_PY,
    requirements.PYPROJECT,
    golang.MOD, golang.VENDORED,
    cargo.CATALOGER,
    dart.CATALOGER, apple.SWIFT, apple.PODS,
    infrastructure.PROVIDERS, infrastructure.WORKFLOWS,
)

# make demo    the whole chain on a real image, on embedded services
# make test    all tests
# make lint    ruff, mypy, import contracts        make docs    write docs/reference again
# make bench   the benchmarks that need little     make clean   remove what these made
# make image   custody's own container image, twice, with SBOM and provenance      IMAGE=dist/image  REPOSITORY=URI
# make fuzz    COUNT=100000 programs a language against the real programs, for a nightly run

.PHONY: demo test lint docs bench image fuzz clean help
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# //p' Makefile

demo:
	@scripts/venv run
	@.venv/bin/custody demo

test:
	@scripts/venv dev
	@.venv/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile

lint:
	@scripts/venv dev
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

docs:
	@scripts/venv dev
	@.venv/bin/python scripts/reference.py

bench:
	@scripts/venv dev
	@.venv/bin/python bench/cli/start.py
	@.venv/bin/python bench/registry/blobs.py
	@.venv/bin/python bench/registry/service.py 1
	@.venv/bin/python -m bench.trust.services
	@.venv/bin/python -m bench.languages.cel
	@.venv/bin/python -m bench.languages.jmespath
	@.venv/bin/python -m bench.languages.falco

IMAGE ?= dist/image
REPOSITORY ?= $(shell git config --get remote.origin.url)
image:
	@scripts/venv run
	@.venv/bin/custody build . --repository "$(REPOSITORY)" -o "oci:$(IMAGE)" --provenance "$(IMAGE).provenance.json"
	@.venv/bin/custody build . --repository "$(REPOSITORY)" -o "oci:$(IMAGE).again"
	@cmp "$(IMAGE)/index.json" "$(IMAGE).again/index.json"
	@rm -r "$(IMAGE).again"
	@.venv/bin/custody sbom "oci:$(IMAGE)" -q -o "spdx-json=$(IMAGE).spdx.json" -o "cyclonedx-json=$(IMAGE).cdx.json"

COUNT ?= 100000
SEED ?= 0
fuzz:
	@scripts/venv dev
	@.venv/bin/python -m tests.fuzz.cel $(COUNT) $(SEED)
	@.venv/bin/python -m tests.fuzz.rego $(COUNT) $(SEED)
	@.venv/bin/python -m tests.fuzz.jmespath $(COUNT) $(SEED)

clean:
	rm -rf .venv .custody dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

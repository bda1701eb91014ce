# make demo    the whole chain on a real image, on embedded services
# make test    all tests
# make lint    ruff, mypy, import contracts        make docs    write docs/reference again
# make bench   start-up, registry, trust services  make clean   remove what these made

.PHONY: demo test lint docs bench clean help
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# //p' Makefile

demo:
	@scripts/venv run
	@.venv/bin/custody demo

test:
	@scripts/venv dev
	@.venv/bin/python -m pytest

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
	@.venv/bin/python -m bench.trust.services

clean:
	rm -rf .venv .custody .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

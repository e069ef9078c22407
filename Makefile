# A few verbs. Each builds what it needs in .venv, from any Python 3.11 or later.
PYTHON ?= python3
VENV   ?= .venv
TESTS  ?= tests
DIST   ?= dist
MINUTES ?= 1
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# uv is several times as fast, but does not know what pip is configured to use
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
DEV    := --editable '.[dev]'

# bytecode is kept: the suite starts thousands of interpreters
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test long deployed check docs deploy bench soak sizing dist clean

run: $(READY)           ## a real service under the master: files over HTTP, lines over TCP and Unix
	@exec $(BIN)/python -m examples.demo

test: $(READY)          ## the plain suite: minutes, not more
	$(BIN)/python -m pytest -n 4 --dist worksteal -m "not long and not deployed" $(TESTS)

long: $(READY)          ## the long suite: big pools, many random histories, hundreds of kills
	$(BIN)/python -m pytest -n 4 --dist worksteal -m "(long or hypothesis) and not deployed" --hypothesis-profile=long $(TESTS)

deployed: $(READY)      ## what deploy/ holds, under real systemd, containers, proxies, Prometheus; what is missing is skipped by name
	$(BIN)/python -m pytest -n 3 --dist loadfile -m deployed tests/deploy

check: $(READY)         ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)          ## the pages as a site, into build/site: its references from the code first, then every link checked
	$(BIN)/python -m tests.site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict --config-file .mkdocs.yml
	@echo build/site/index.html

deploy: $(READY)        ## deploy/ anew, from the templates of `prefork init`
	$(BIN)/python -m tests.init.deploying

bench: $(READY)         ## what it costs, beside reference lines; one figure alone: python -m tests.bench NAME
	$(BIN)/python -m tests.bench

soak: $(READY)          ## faults at random under load, and what they cost: make soak MINUTES=10 SEED=1
	$(BIN)/python -m tests.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

sizing: $(READY)        ## the table and the pictures of docs/sizing.md, by simulation
	$(BIN)/python -m tests.sizing

dist: $(READY)          ## sdist and wheel, the same bytes wherever they are built
	rm -rf $(DIST)
	$(BIN)/python -m build --installer uv --dependency-constraints-txt deploy/packaging/constraints.txt --outdir $(DIST)
	$(BIN)/python -m twine check --strict $(DIST)/*

clean:
	rm -rf $(DIST) build .venv .venv-* .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml prefork/__init__.py
	$(PYTHON) -c 'import sys; sys.exit("prefork needs Python 3.11 or later; this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(PIP) uv && $(BIN)/python -m uv pip install --quiet --compile-bytecode --python $(BIN)/python $(DEV) || $(PIP) $(DEV)
	@touch $@

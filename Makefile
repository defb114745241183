# make search: the main job. make test: the tests. Both make their own environment in .venv first.
PYTHON ?= python3
BIN := .venv/bin
RUN := runs/cued

.PHONY: search test slow check oldest newest clean

search: .venv/installed
	@if [ -f $(RUN)/run.yaml ]; then $(BIN)/se-nas resume $(RUN); \
	else $(BIN)/se-nas search search_spaces/cued_resnet8.yaml --seed 0 --out $(RUN); fi

test: .venv/installed-test
	$(BIN)/python -m pytest -n auto

slow: .venv/installed-test
	$(BIN)/python -m pytest -n auto -m slow

check: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The ends of the supported range, before a release: see .ci/ends.
oldest newest:
	.ci/ends $@

clean:
	rm -rf .venv .venv-oldest .venv-newest

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

.venv/installed-test: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@

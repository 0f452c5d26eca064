# The front door. `make` prints help; every target sets .venv up by itself.
PYTHON  ?= python3
STUDY   ?= demo
DATA    ?=
WEIGHTS ?=
OPTIONS ?=
RUN      = .venv/bin/python

# Where Python may not keep what it compiled, every process spends half a minute on imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help study figures lab app site test test-browser clean

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile
	@echo "STUDY=name (a file in experiments/; demo), DATA=folder, WEIGHTS=file, OPTIONS=…: handed on"

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) bootstrap.py

study: .venv/.installed ## train and evaluate a study (drawn faces by default), draw its figures
	@$(RUN) -m fer_utils study "$(STUDY)" --data "$(DATA)" --weights "$(WEIGHTS)"

figures: .venv/.installed ## draw a study's tables and figures again, from results/ alone
	@$(RUN) -m fer_utils figures "$(STUDY)"

lab: .venv/.installed ## open the notebooks in JupyterLab
	@$(RUN) -m fer_utils lab $(OPTIONS)

app: .venv/.installed ## recognise faces in the browser, without code
	@$(RUN) -c "import voila" 2>/dev/null || $(PYTHON) bootstrap.py app
	@$(RUN) -m fer_utils app $(OPTIONS)

site: .venv/.installed ## the executed notebooks as a static site, .cache/site/index.html
	@$(RUN) -m fer_utils site

test: .venv/.installed ## run the tests
	@$(RUN) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(OPTIONS)

test-browser: .venv/.installed ## drive the notebooks and the app in headless Chromium (minutes)
	@$(RUN) -c "import playwright, voila" 2>/dev/null || $(PYTHON) bootstrap.py app browser
	@$(RUN) -m pytest tests/browser -m browser $(OPTIONS)

clean: ## remove .venv and caches; runs/, results/ and figures/ stay
	rm -rf .venv .cache .snakemake .pytest_cache .hypothesis .ruff_cache fer_utils.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

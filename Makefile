# The front door. `make` prints help; every target sets .venv up by itself.
PYTHON  ?= python3
STUDY   ?= demo
DATA    ?=
WEIGHTS ?=
RUN      = .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help study test browser test-browser lab app figures clean

help:
	@echo "make study                    train and evaluate the demo study (drawn faces), draw its tables and figures"
	@echo "make study STUDY=ferplus_smoke DATA=/path/to/ferplus WEIGHTS=/path/to/resnet50.safetensors"
	@echo "                              the same on real faces; studies are the files in experiments/"
	@echo "make figures [STUDY=demo]     draw tables and figures again, from results/ alone"
	@echo "make lab                      open the notebooks in JupyterLab (OPTIONS=--no-browser and the like are handed on)"
	@echo "make app                      recognise faces in the browser, without code (07_recognise_faces through Voila)"
	@echo "make test                     run the tests"
	@echo "make browser                  install what the next one needs: Playwright, Voila, Chromium"
	@echo "make test-browser             drive the notebooks in headless Chromium, minutes; pictures in .cache/browser"
	@echo "make clean                    remove caches, packed images and .venv; runs/, results/ and figures/ stay"

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) bootstrap.py

study: .venv/.installed
	@$(RUN) -m fer_utils study "$(STUDY)" --data "$(DATA)" --weights "$(WEIGHTS)"

figures: .venv/.installed
	@$(RUN) -m fer_utils figures "$(STUDY)"

lab: .venv/.installed
	@$(RUN) -m fer_utils lab $(OPTIONS)

app: .venv/.installed
	@$(RUN) -c "import voila" 2>/dev/null || $(PYTHON) bootstrap.py app
	@$(RUN) -m fer_utils app $(OPTIONS)

test: .venv/.installed
	@$(RUN) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

# Chromium comes from the system: with apt where this may install, else the user is told.
APT = apt-get -qq -o Acquire::Retries=1 -o Acquire::http::Timeout=20
browser: .venv/.installed
	@$(RUN) -c "import playwright, voila" 2>/dev/null || $(PYTHON) bootstrap.py app browser
	@test -n "$$CHROMIUM" || command -v chromium || command -v chromium-browser || \
	{ test "$$(id -u)" = 0 && $(APT) update && $(APT) install --yes --no-install-recommends chromium; } || \
	{ echo "stopped: Chromium is needed; install it (Debian: apt install chromium) or name it: CHROMIUM=/path/to/it"; exit 1; }

test-browser: browser
	@$(RUN) -m pytest tests/browser -m browser $(OPTIONS)

clean:
	rm -rf .venv .cache .snakemake .pytest_cache .hypothesis .ruff_cache fer_utils.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

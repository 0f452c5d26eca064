# The front door. `make` prints help; every target sets .venv up by itself.
PYTHON  ?= python3
STUDY   ?= demo
DATA    ?=
WEIGHTS ?=
RUN      = .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help study test lab figures clean

help:
	@echo "make study                    train and evaluate the demo study (drawn faces), draw its tables and figures"
	@echo "make study STUDY=ferplus_smoke DATA=/path/to/ferplus WEIGHTS=/path/to/resnet50.safetensors"
	@echo "                              the same on real faces; studies are the files in experiments/"
	@echo "make figures [STUDY=demo]     draw tables and figures again, from results/ alone"
	@echo "make lab                      open the notebooks in JupyterLab"
	@echo "make test                     run the tests"
	@echo "make clean                    remove caches, packed images and .venv; runs/, results/ and figures/ stay"

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) bootstrap.py

study: .venv/.installed
	@$(RUN) -m fer_utils study "$(STUDY)" --data "$(DATA)" --weights "$(WEIGHTS)"

figures: .venv/.installed
	@$(RUN) -m fer_utils figures "$(STUDY)"

lab: .venv/.installed
	@$(RUN) -m jupyterlab notebooks

test: .venv/.installed
	@$(RUN) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

clean:
	rm -rf .venv .cache/packs .snakemake .pytest_cache .hypothesis .ruff_cache fer_utils.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

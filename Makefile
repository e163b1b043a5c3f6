# The commands of cnnbook. `make help` lists them.

PYTHON ?= python3
CHAPTER ?=
NAME =
PART =
BENCHMARK ?= convolution
MUTANTS ?=
TORCH := torch==2.13.0
JAX := jax==0.10.2
UV := uv==0.13.9

BIN := .venv/bin
RUN := $(BIN)/python -m
NO_BACKEND := chapters contract hostile mutants notebooks package structure tools
NOTEBOOKS = $(wildcard notebooks/[0-9]*.ipynb book/conventions.ipynb)
export KERAS_BACKEND ?= tensorflow
export TF_CPP_MIN_LOG_LEVEL ?= 2

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env book test unit notebooks-test text notebooks chapter chapters
.PHONY: colab colab-check scale
.PHONY: backends parity mutants hostile browser benchmarks serve lint lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Environments: each has a stamp, so that nothing is installed twice.

AT_LEAST_3_11 = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	"cnnbook needs Python 3.11 or newer, but $(PYTHON) is " + sys.version.split()[0] + \
	": make PYTHON=python3.13 names another.")'

.venv/ready: requirements.txt pyproject.toml
	@$(AT_LEAST_3_11)
	@echo "Making .venv: it takes some minutes, and 3 GB on the disk."
	$(PYTHON) -m venv .venv
	$(RUN) pip install --require-hashes -r requirements.txt
	$(RUN) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv-jax/ready: BACKEND = $(JAX)
.venv-torch/ready: BACKEND = $(TORCH)
.venv-%/ready: build/constraints.txt pyproject.toml Makefile
	@$(AT_LEAST_3_11)
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet $(BACKEND)
	.venv-$*/bin/python -m pip install --quiet -c build/constraints.txt --editable '.[tests,deploy]'
	@touch $@

.venv-tfmot/ready: build/constraints.txt pyproject.toml # TF-MOT wants an absl-py of its own
	@$(AT_LEAST_3_11)
	$(PYTHON) -m venv .venv-tfmot
	grep -v '^absl-py==' build/constraints.txt > build/constraints-tfmot.txt
	.venv-tfmot/bin/python -m pip install --quiet -c build/constraints-tfmot.txt \
		--editable '.[tensorflow,tfmot]'
	@touch $@

build/constraints.txt: requirements.txt
	@mkdir -p build
	sed -n 's/ \\$$//; /^[a-z0-9].*==/p' requirements.txt > $@

env: .venv/ready

# The book and its tests.

book: .venv/ready ## build the book
	$(BIN)/jupyter-book build -n -W --keep-going .
	@echo "The book is at $(CURDIR)/_build/html/index.html"

test: unit notebooks-test ## test the package and every chapter

unit: .venv/ready # unit tests, doctests, contract
	$(RUN) pytest -n 2

notebooks-test: .venv/ready # what the chapters print is what they store
	$(RUN) pytest -n 2 --dist loadfile --nbval --nbval-current-env $(NOTEBOOKS)

text: .venv/ready ## write the chapters as editable text to build/text (CHAPTER=03 for one)
	$(RUN) tools.notebooks text $(CHAPTER)

notebooks: .venv/ready ## execute the chapters and store their outputs (CHAPTER=03 for one)
	$(RUN) tools.notebooks execute $(CHAPTER)

chapter: .venv/ready ## write the files of a new chapter (NAME=metrics PART=evaluation)
	@$(RUN) tools.chapter "$(NAME)" "$(PART)"

chapters: .venv/ready ## write tables and pages anew from the list of chapters
	@$(RUN) tools.registration

colab: .venv/ready ## write Colab's copies of the chapters to build/colab
	$(RUN) tools.notebooks colab $(CHAPTER)

colab-check: .venv/ready ## test the wheel and a copy (CHAPTER=01) beside Colab's versions
	$(RUN) tools.colab_check $(CHAPTER)

scale: .venv/ready ## run the full-size notebooks on the data in the cache
	@set -- notebooks/at_scale/*.ipynb; if [ -e "$$1" ]; \
	then $(RUN) pytest --nbval-lax --nbval-current-env --nbval-cell-timeout 7200 "$$@"; \
	else echo "There are no full-size notebooks yet."; fi

backends: backend-jax backend-torch ## test the package on JAX and on PyTorch

# Files are written by TensorFlow, which is in the first environment only.
backend-%: .venv-%/ready .venv/ready
	KERAS_BACKEND=$* CNNBOOK_PYTHON_TENSORFLOW=$(CURDIR)/.venv/bin/python .venv-$*/bin/python -m pytest -n 2 $(patsubst %,--ignore tests/test_%.py,$(NO_BACKEND))

parity: unit backends ## measure the equation index's errors anew
	$(RUN) tools.parity

mutants: .venv/ready ## change the package in small ways: do its tests notice? (a sample; MUTANTS=--all)
	$(RUN) tools.mutants $(MUTANTS)

hostile: .venv/ready ## call every function with odd values (20,000 calls; HOSTILE="--seed 1")
	PYTHONPATH=tests:. $(RUN) hostile $(HOSTILE)

browser: book ## open the built book in headless Chromium
	$(RUN) pytest tests/browser

benchmarks: .venv/ready ## measure the ratios to Keras (BENCHMARK=training for another)
	$(RUN) benchmarks $(BENCHMARK)

serve: book ## show the built book at localhost:8000
	$(RUN) http.server --bind 127.0.0.1 --directory _build/html 8000

# The repository.

lint: .venv/ready ## check the code and the workflows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/actionlint
	$(BIN)/zizmor --quiet --offline --pedantic .github/workflows

lock: ## compile requirements.txt anew (UPGRADE=--upgrade for new versions)
	@$(AT_LEAST_3_11)
	$(PYTHON) -m venv build/uv
	build/uv/bin/python -m pip install --quiet $(UV)
	build/uv/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 $(UPGRADE) \
		--extra tensorflow --extra deploy --extra book --extra tests --extra dev --generate-hashes \
		--custom-compile-command "make lock" --output-file requirements.txt

clean: ## remove what was built; environments and build/text stay
	rm -rf _build dist $(filter-out build/text,$(wildcard build/*))

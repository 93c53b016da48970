# Every target sets up what it needs in .venv. Options: MODEL= IMAGES= LANES= BANKS= WAVES=1 DATA= SEED=

MODEL  ?= digits-dense
LANES  ?= 128
BANKS  ?= 1
PYTHON ?= python3
VENV   := .venv
STERNA := $(VENV)/bin/sterna
CORE   := --lanes $(LANES) --banks $(BANKS)

ifdef DATA
export STERNA_DATA := $(abspath $(DATA))
endif
SIM_OPTIONS := $(CORE) $(if $(IMAGES),--images $(IMAGES)) $(if $(filter-out 0,$(WAVES)),--waves)
SEED_OPTION := $(if $(SEED),--seed $(SEED))

.PHONY: help sim golden info generate train export bench timing test check clean
.DEFAULT_GOAL := help

help: ## what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

# One stamp per set of packages, so that `make sim` does not install PyTorch.
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check

$(VENV)/stamp-sim: pyproject.toml
	@echo "setting up $(VENV)" >&2
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Sterna needs Python 3.11 or newer")'
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --editable .
	@touch $@

$(VENV)/stamp-%: pyproject.toml $(VENV)/stamp-sim
	@echo "adding packages for '$*' to $(VENV)" >&2
	@$(PIP) --editable '.[$*]'
	@touch $@

sim: $(VENV)/stamp-sim ## real images through Verilog and golden model, every value compared
	@$(STERNA) sim $(MODEL) $(SIM_OPTIONS)

golden: $(VENV)/stamp-sim ## the whole test set through the golden model
	@$(STERNA) golden $(MODEL) $(if $(IMAGES),--images $(IMAGES))

info: $(VENV)/stamp-sim ## what a network image holds
	@$(STERNA) info $(MODEL) $(CORE)

generate: $(VENV)/stamp-sim ## Verilog and ROM images in build/
	@$(STERNA) generate $(MODEL) $(CORE)

train: $(VENV)/stamp-train ## train a network by its recipe
	@$(STERNA) train $(MODEL) $(SEED_OPTION)

export: $(VENV)/stamp-train ## network image and ROM images of what was trained
	@$(STERNA) export $(MODEL) $(CORE)

bench: $(VENV)/stamp-sim ## how fast the tools are
	@$(STERNA) bench $(MODEL) $(CORE) $(if $(IMAGES),--images $(IMAGES))

timing: $(VENV)/stamp-fpga ## place and route for an ECP5-85k: resources and fmax
	@$(STERNA) timing $(MODEL) $(CORE) $(SEED_OPTION)

test: $(VENV)/stamp-test ## all tests
	@$(VENV)/bin/python -m pytest -n auto --dist worksteal $(PYTEST)

check: $(VENV)/stamp-test ## ruff and pyright
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/pyright

clean: ## remove what was built, not the environment
	rm -rf build

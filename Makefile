# Every target sets up what it needs in .venv.
# Options: MODEL= IMAGES= SAMPLES= PASSES= LANES= BANKS= SCHEDULE= WAVES=1 DATA= SEED=; for boards BOARD= MHZ= SEEDS= LEARN=1
# TEST_IMAGES= URL= PORT=; for campaigns MINUTES= COUNT= SEED= WORKERS= SCHEDULER= ONLY=

MODEL  ?= digits-dense
BANKS  ?= 1
PYTHON ?= python3
VENV   := .venv
STERNA := $(VENV)/bin/sterna
CORE    = $(if $(LANES),--lanes $(LANES)) $(if $(call GIVEN,BOARD)$(call GIVEN,BANKS),\
	$(addprefix --banks ,$(call GIVEN,BANKS)),--banks $(BANKS)) $(if $(SCHEDULE),--schedule $(SCHEDULE))

ifdef DATA
export STERNA_DATA := $(abspath $(DATA))
endif
SIM_OPTIONS = $(CORE) $(addprefix --board ,$(call GIVEN,BOARD)) $(if $(IMAGES),--images $(IMAGES)) $(if $(filter-out 0,$(WAVES)),--waves)
# Boards choose their own network, lanes and banks unless these are given on the command line.
BOARD ?= icebreaker
# A bare `make sim` is someone's first: of few lanes, its core takes half the time to generate and compile.
DEMO_LANES := 16
SHAPING := MODEL LANES BANKS SCHEDULE BOARD
GIVEN = $(foreach v,$(1),$(if $(filter command% environment,$(origin $(v))),$($(v))))
BOARD_OPTIONS = --board $(BOARD) $(call GIVEN,MODEL) $(addprefix --lanes ,$(call GIVEN,LANES)) \
	$(addprefix --banks ,$(call GIVEN,BANKS)) $(if $(SCHEDULE),--schedule $(SCHEDULE)) $(if $(MHZ),--mhz $(MHZ)) \
	$(if $(LEARN),--learn $(addprefix --samples ,$(SAMPLES))) $(addprefix --test-images ,$(TEST_IMAGES))
SEED_OPTION := $(if $(SEED),--seed $(SEED))

KNOWN := MODEL HIDDEN IMAGES SAMPLES PASSES LANES BANKS SCHEDULE WAVES DATA SEED BOARD MHZ SEEDS LEARN TEST_IMAGES URL PORT \
	MINUTES COUNT WORKERS SCHEDULER ONLY PYTHON PYTEST VENV
$(foreach v,$(filter-out $(KNOWN) MAKE% -%,$(.VARIABLES)),$(if $(filter command line,$(origin $(v))),\
	$(warning $(v)= is no option of this Makefile, which has $(KNOWN))))

.PHONY: help sim learn golden info generate train export bench timing results results-training results-conversion \
	results-cost results-hardware results-importers results-scale results-learning models regression plan bitstream \
	reload flash ask self-test ip ip-check verify-bitstream prove-bitstream bitstreams banks calibrate test test-long \
	test-importers mutants soak check cards docs clean
.DEFAULT_GOAL := help

help: ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

# One stamp per set of packages, so that `make sim` does not install PyTorch.
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile

$(VENV)/stamp-sim: pyproject.toml
	@echo "setting up $(VENV)" >&2
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Sterna needs Python 3.11 or newer")'
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --editable .
	@touch $@

$(VENV)/stamp-%: pyproject.toml $(VENV)/stamp-sim
	@echo "adding packages for '$*' to $(VENV)" >&2
	@$(PIP) --editable '.[$*]'
	@$(if $(filter importers test,$*),$(PIP) --no-deps snntorch-ternary==0.1.3)
	@touch $@

sim: $(VENV)/stamp-sim ## real images through Verilog and golden model, every value compared
	@$(STERNA) sim $(MODEL) $(SIM_OPTIONS) $(if $(strip $(call GIVEN,$(SHAPING))),,--lanes $(DEMO_LANES))

learn: $(VENV)/stamp-sim ## a network learns from noise on the Verilog of a learning core, every value compared
	@$(STERNA) learn $(or $(call GIVEN,MODEL),digits) --on sim $(addprefix --lanes ,$(LANES)) $(SEED_OPTION) \
		$(addprefix --samples ,$(SAMPLES)) $(addprefix --passes ,$(PASSES))

golden: $(VENV)/stamp-sim ## the whole test set through the golden model
	@$(STERNA) golden $(MODEL) $(if $(IMAGES),--images $(IMAGES))

info: $(VENV)/stamp-sim ## what a network file holds
	@$(STERNA) info $(MODEL) $(CORE)

generate: $(VENV)/stamp-sim ## Verilog and ROM files in build/
	@$(STERNA) generate $(MODEL) $(CORE)

train: $(VENV)/stamp-train ## train a network by its recipe; DATA=my.npz HIDDEN=64: dense layers, on your own data
	@$(STERNA) train $(if $(HIDDEN),--data $(DATA) --hidden $(HIDDEN),$(MODEL)) $(SEED_OPTION)

export: $(VENV)/stamp-train ## network file and ROM files of what was trained
	@$(STERNA) export $(MODEL) $(CORE)

bench: $(VENV)/stamp-sim ## how fast the tools are
	@$(STERNA) bench $(MODEL) $(CORE) $(if $(IMAGES),--images $(IMAGES))

results: results-training results-conversion results-cost results-hardware results-importers results-scale results-learning ## all tables: hours

results-training: $(VENV)/stamp-results ## binary, ternary, trainable ternary side by side; may be broken off
	@$(STERNA) study training

results-conversion: $(VENV)/stamp-results ## one ReLU network as IF, TerMapping, AugMapping: tables and plots
	@for d in mnist fashion-mnist; do $(STERNA) study conversion --dataset $$d --hidden 512 || exit 1; done
	@$(STERNA) study conversion --dataset fashion-mnist --hidden 256,256,256
	@for d in mnist fashion-mnist; do $(STERNA) study conversion --dataset $$d --maps --epochs 8 --steps 32 || exit 1; done
	@$(STERNA) study conversion --dataset cifar10 --maps --pixel-bits 5 --epochs 11 --steps 16 --images 1000

results-cost: $(VENV)/stamp-sim ## SOPs and estimated energy of all networks that ship
	@$(STERNA) study cost

results-scale: $(VENV)/stamp-sim ## programs: the cycle model against the cycle law; the papers' large networks
	@$(STERNA) study scale

results-learning: $(VENV)/stamp-results ## networks that learn on their own, from noise and after a drift; may be broken off
	@$(STERNA) study learning

results-importers: $(VENV)/stamp-importers ## a network of each framework, trained there, imported, simulated
	@$(STERNA) study importers

results-hardware: $(VENV)/stamp-train $(VENV)/stamp-fpga ## each kind of neuron routed for an ECP5-85k
	@$(STERNA) study hardware

# The networks in sw/data/models/, from nothing: these by recipe, the others converted from ReLU networks.
TRAINED := digits-dense digits-binary digits-ternary digits-deep digits-conv mnist-dense mnist-wide fashion-mnist-dense \
	japanese-vowels watch-exercises
COMPILED := mnist-conv mnist-lenet fashion-mnist-conv nmnist-conv cifar10-resnet cifar10-counts fashion-mnist-counts \
	mnist-counts

models: $(VENV)/stamp-results ## train and convert all networks that ship, into build/models: some hours
	@for m in $(TRAINED); do $(STERNA) train $$m && $(STERNA) export $$m || exit 1; done
	@for m in $(COMPILED); do $(STERNA) train $$m --compiled && $(STERNA) export $$m || exit 1; done
	@$(STERNA) study conversion --dataset digits --hidden 128 --epochs 30
	@$(STERNA) study conversion --dataset fashion-mnist --hidden 512
	@for kind in 'if 8 1' 'termapping 8 1' 'augmapping 2 4'; do set -- $$kind; \
		$(STERNA) convert build/study/digits-128/relu.pt --dataset digits --mode $$1 --steps $$2 \
			--divisor $$3 --weight-bits 4 --name digits-$$1 || exit 1; done
	@for kind in 'if 1' 'termapping 1' 'augmapping 4'; do set -- $$kind; \
		$(STERNA) convert build/study/fashion-mnist-512/relu.pt --dataset fashion-mnist --mode $$1 --steps 4 \
			--divisor $$2 --weight-bits 4 --tune 4 --name fashion-mnist-$$1 || exit 1; done

timing: $(VENV)/stamp-fpga ## place and route for an ECP5-85k: resources and fmax
	@$(STERNA) timing $(MODEL) $(CORE) $(SEED_OPTION)

plan: $(VENV)/stamp-sim ## how a network would be laid out for BOARD=, without any tool
	@$(STERNA) plan $(BOARD_OPTIONS)

bitstream: $(VENV)/stamp-fpga ## a bitstream for BOARD= ulx3s_85f, icebreaker, tang_nano_9k or a file my.toml
	@$(STERNA) bitstream $(BOARD_OPTIONS) $(SEED_OPTION) $(if $(SEEDS),--seeds $(SEEDS))

reload: $(VENV)/stamp-fpga ## other weights (MODEL=) into the bitstream of BOARD=, without synthesis
	@$(STERNA) reload --board $(BOARD) $(MODEL)

flash: $(VENV)/stamp-fpga ## program BOARD= through openFPGALoader
	@$(STERNA) flash --board $(BOARD)

ask: $(VENV)/stamp-sim ## classify test images on URL=serial:/dev/ttyUSB0, sim:BOARD or golden:MODEL
	@$(STERNA) ask $(URL) $(call GIVEN,MODEL) $(if $(IMAGES),--images $(IMAGES))

self-test: $(VENV)/stamp-sim ## BOARD= plays test images that are on the chip, at full speed
	@$(STERNA) self-test $(BOARD_OPTIONS) $(addprefix --port ,$(PORT))

ip: $(VENV)/stamp-sim ## the core with AXI4-Stream ports and a FuseSoC file, for other designs
	@$(STERNA) ip $(MODEL) $(CORE)

ip-check: $(VENV)/stamp-ip ## the same, linted and simulated by FuseSoC with Sterna's Verilator
	@$(STERNA) ip $(MODEL) $(CORE) --check

verify-bitstream: $(VENV)/stamp-fpga ## netlist and unpacked bitstream against the golden model
	@$(STERNA) verify-bitstream

prove-bitstream: verify-bitstream

cards: $(VENV)/stamp-sim ## docs/models.md, a card for each network that ships
	@$(STERNA) study cards --out docs/models.md

bitstreams: $(VENV)/stamp-fpga ## the default bitstreams of all boards, as far as they changed; renews their lock: a long run
	@$(STERNA) study bitstreams $(addprefix --boards ,$(call GIVEN,BOARD))

banks: $(VENV)/stamp-fpga ## ULX3S with 1, 2, 4 and 8 banks: a long run
	@for n in 1 2 4 8; do $(STERNA) bitstream --board ulx3s_85f --banks $$n --lanes 128 \
		--out build/ulx3s_85f-$$n || exit 1; done

calibrate: $(VENV)/stamp-fpga ## fit the planner's estimates to synthesised designs: a long run
	@$(VENV)/bin/python -m gen.board.calibrate

test: $(VENV)/stamp-test ## the tests
	@$(VENV)/bin/python -m pytest -n auto --dist worksteal $(PYTEST)

regression: $(VENV)/stamp-test ## put the present values of the shipped networks on record
	@$(VENV)/bin/python -m tests.sim.golden.regression --write

test-long: $(VENV)/stamp-test ## the tests that `make test` leaves out: minutes each
	@$(VENV)/bin/python -m pytest -m long $(PYTEST)

test-importers: $(VENV)/stamp-test ## networks of other frameworks, hardware and all
	@$(VENV)/bin/python -m pytest -m 'long or not long' tests/sw/frameworks tests/sw/importers tests/sw/nir \
		tests/sw/onnx tests/sw/study/test_importers_study.py $(PYTEST)

CAMPAIGN = $(addprefix --minutes ,$(MINUTES)) $(addprefix --count ,$(COUNT)) $(SEED_OPTION) \
	$(addprefix --workers ,$(WORKERS)) $(addprefix --scheduler ,$(SCHEDULER)) $(addprefix --only ,$(ONLY))

mutants: $(VENV)/stamp-test ## faults put into hardware and models: which does a component's own test not notice?
	@$(VENV)/bin/python -m tests.trust.mutants $(CAMPAIGN)

soak: $(VENV)/stamp-test ## random networks, damaged frames, hostile files for MINUTES=60
	@$(VENV)/bin/python -m tests.trust.soak $(CAMPAIGN)

check: $(VENV)/stamp-test ## ruff, its format, and pyright
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/pyright

docs: $(VENV)/stamp-docs ## this documentation as a site, in build/site: links and anchors checked, warnings are errors
	@$(VENV)/bin/python -m sphinx -c docs -b html -d build/site-cache -W --keep-going --quiet . build/site
	@echo "build/site/index.html"

clean: ## remove what was built, not the environment
	rm -rf build

# make report   the six notebooks, in order, and the pages made from them (DATASET=cifar10 EPOCHS=300 for the real thing)
# make test     every test        make faults   the fault suite alone, and its scoreboard
# make site     docs/ again: pages of the notebooks as committed; nothing is run, and no torch is needed
# make figures  figures/ again from the tracked runs, byte for byte     make notebooks   the committed notebooks again
# make lab      JupyterLab        make tensorboard   live curves of all runs        make env   the environment alone

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SITE := $(VENV)-site

DATASET ?= digits
ifeq ($(DATASET),digits)
# A short training of a narrow network: dropout, which the long recipe has, would keep it from learning in time.
EPOCHS ?= 10
NUM_CHANNELS ?= 16
DROP ?= 0
else
EPOCHS ?= 1
NUM_CHANNELS ?= 64
DROP ?= 0.2
endif
RUN ?=
STRICT := 01_architecture 02_parameters 04_curves 05_confusion 07_evidence 08_speed 09_edge

# The kernel `python3` is this environment's, whatever else the user has installed.
export JUPYTER_PREFER_ENV_PATH := 1
export PYTHONUNBUFFERED := 1

.PHONY: report site test faults figures notebooks lab tensorboard env
report: env
	$(BIN)/python -m cifar_lib report -p dataset $(DATASET) -p epochs $(EPOCHS) -p num_channels $(NUM_CHANNELS) \
		-p drop $(DROP) $(if $(RUN),-p run $(RUN))

site: $(SITE)/.made
	PYTHONDONTWRITEBYTECODE=1 $(SITE)/bin/python -m cifar_lib site

test: env
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet --exclude '*.ipynb' .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadscope --nbval --nbval-current-env \
		--nbval-cell-timeout 300 $(STRICT:%=notebooks/%.ipynb)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -rs -n 2 --dist loadgroup tests

faults: env
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -rs -n 2 --dist loadgroup -m "faults or mutant" tests

figures: env
	$(BIN)/python -m cifar_lib figures

notebooks: env
	$(BIN)/python -m cifar_lib notebooks

# JupyterLab wraps long lines of code in this environment; a user's own settings come before these.
WRAP := {"@jupyterlab/notebook-extension:tracker": {"codeCellConfig": {"lineWrap": true}}}
lab: env
	@mkdir -p $(VENV)/share/jupyter/lab/settings
	@echo '$(WRAP)' > $(VENV)/share/jupyter/lab/settings/overrides.json
	$(BIN)/jupyter lab --notebook-dir=notebooks

tensorboard: env
	$(BIN)/tensorboard --logdir runs

env: $(BIN)/.made

define check_python
@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, this is " + sys.version.split()[0] + ": make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
endef

$(BIN)/.made: requirements.txt requirements-edge.txt pyproject.toml
	$(check_python)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-edge.txt
	touch $@

$(SITE)/.made: requirements-site.txt
	$(check_python)
	$(PYTHON) -m venv $(SITE)
	$(SITE)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check -r requirements-site.txt
	touch $@

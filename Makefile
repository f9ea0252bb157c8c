# Each target makes the environment it needs; nothing but Python 3.11 or newer, pip and make is
# expected of the machine, and for `test` Chromium, Chrome or Edge.

PYTHON ?= python3
INSTALL = -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PACKAGE = pyproject.toml constraints.txt

.PHONY: demo test gpu lint docs linkcheck test-oldest-beets test-wheel clean

demo: .venv-demo/ready  ## Tag a throw-away library of the clips in tests/data
	sh demo/run.sh .venv-demo/bin/beet

test: .venv/ready  ## All tests, on the newest beets
	.venv/bin/python -m pytest

gpu: .venv/ready  ## On a GPU, at most 15 minutes: its tests, then how fast and in how much memory it trains
	timeout 120 .venv/bin/python -m pytest tests/core/test_train_loop.py -k on_a_gpu
	timeout 780 .venv/bin/python benchmarks/paper_training.py --tracks 25000

lint: .venv/ready
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

docs: .venv/ready  ## The documentation as HTML, its notebook executed; warnings are errors
	.venv/bin/python -m sphinx -b html -W --keep-going docs build/docs

linkcheck: .venv/ready  ## Links to other sites; needs the network
	.venv/bin/python -m sphinx -b linkcheck docs build/linkcheck

test-oldest-beets: .venv-oldest-beets/ready  ## The plugin's tests on the oldest beets it supports
	.venv-oldest-beets/bin/python -m pytest tests/plugin

test-wheel:  ## The built wheel, installed alone, tags a file
	sh tests/helpers/wheel.sh "$(PYTHON)"

.venv/ready: $(PACKAGE)
	$(PYTHON) -m venv .venv
	.venv/bin/python $(INSTALL) --editable '.[research,map,test,docs]'
	touch $@

.venv-demo/ready: $(PACKAGE)
	$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/python $(INSTALL) --editable .
	touch $@

.venv-oldest-beets/ready: $(PACKAGE)
	$(PYTHON) -m venv .venv-oldest-beets
	grep -v '^beets==' constraints.txt > .venv-oldest-beets/constraints.txt
	.venv-oldest-beets/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint .venv-oldest-beets/constraints.txt --editable '.[train]' 'beets==2.10.0' pytest responses
	touch $@

clean:
	rm -rf .venv .venv-demo .venv-oldest-beets .demo build dist *.egg-info

# Two commands for a newcomer: "make demo" and "make test". Both set up .venv first.
PYTHON ?= python3
# Linux users with a GPU: make setup TORCH="torch==2.13.0 --index-url <PyTorch's index of your CUDA version>"
TORCH ?= torch==2.13.0
BUNDLE ?= heart
CXR_DATA ?=
RADIOGRAPHS ?= examples/open_radiographs
OUT ?= segmented
ARGS ?=

PY := .venv/bin/python
STRUCTURES := lungs heart clavicles ribs
ROOT := bundles/$(BUNDLE)_attn_unet
RUN := $(PY) -W ignore -m monai.bundle run
export PYTHONDONTWRITEBYTECODE := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow lint train retrain segment evaluate clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'
	@echo
	@echo "  Variables: BUNDLE=heart CXR_DATA=<data folder> ARGS=<more for monai.bundle> PYTHON=python3 TORCH=torch==2.13.0"

setup: .venv/.ready ## make .venv with everything, CPU build of PyTorch (TORCH=... for another)

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $(TORCH)
	$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@

demo: setup ## train two short epochs on rendered radiographs, then segment six real ones with all shipped weights
	@echo "Training two short epochs on rendered radiographs (a demonstration, these weights are thrown away) ..."
	@$(RUN) training --config_file $(ROOT)/configs/train.json --bundle_root $(ROOT) --dataset_dir examples/rendered \
	  --output_dir demo/training --ckpt_dir demo/training --image_size 96 --batch_size 1 --learning_rate 0.01 \
	  --augmentation 0.2 --epochs 2
	@echo "Segmenting six real radiographs with all shipped weights ..."
	@$(PY) -m cxr_attn_unet segment examples/open_radiographs --output demo/masks --format png overlay
	@$(PY) -m cxr_attn_unet.tools.overview --images examples/open_radiographs --masks demo/masks \
	  --structures $(STRUCTURES) --columns 3 --output demo/overview.png
	@echo "Look at the picture above, and at $(CURDIR)/demo/masks/report.html"

test: setup ## all fast tests (those on real data where CXR_DATA is set)
	@$(PY) -m pytest $(ARGS)

test-slow: setup ## the slow tests as well
	@$(PY) -m pytest -m "slow or not slow" $(ARGS)

lint: setup ## ruff
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

train: setup ## train BUNDLE=heart on CXR_DATA=<folder>, ARGS="--epochs 100 --resume true"
	$(RUN) training --config_file $(ROOT)/configs/train.json --bundle_root $(ROOT) \
	  $(if $(CXR_DATA),--dataset_dir "$(CXR_DATA)") $(ARGS)

retrain: setup ## train BUNDLE=heart on CXR_DATA=<folder> in the stages of its shipped weights; goes on after a stop
	$(PY) -W ignore -m cxr_attn_unet.tools.retrain $(ROOT) --dataset_dir "$(CXR_DATA)" --output runs/$(BUNDLE) $(ARGS)

segment: setup ## masks, measurements and a report of RADIOGRAPHS=<folder> in OUT=<folder>, ARGS="--format png overlay"
	$(PY) -m cxr_attn_unet segment "$(RADIOGRAPHS)" --output "$(OUT)" $(ARGS)

evaluate: setup ## Dice, HD95 and surface distance of the BUNDLE's weights on its validation split
	$(RUN) --config_file "['$(ROOT)/configs/train.json','$(ROOT)/configs/evaluate.json']" --bundle_root $(ROOT) \
	  $(if $(CXR_DATA),--dataset_dir "$(CXR_DATA)") $(ARGS)

clean: ## remove .venv, demo and eval folders (what retrain has in runs stays)
	rm -rf .venv demo build dist bundles/*/eval shared/*.egg-info .pytest_cache .ruff_cache

# Two commands for a newcomer: "make demo" and "make test". Both set up .venv first.
PYTHON ?= python3
# Linux users with a GPU: make setup TORCH="torch==2.13.0 --index-url <PyTorch's index of your CUDA version>"
TORCH ?= torch==2.13.0
BUNDLE ?= heart
CXR_DATA ?=
RADIOGRAPHS ?= examples/open_radiographs
OUT ?= segmented
ARGS ?=
REPO ?=
STUDIES ?=
PORT ?= 8000
BASE_URL ?= .
# of test-versions: lowest or highest
VERSIONS ?= highest
# SCALE is the former name of PROTOCOL
PROTOCOL ?= $(or $(SCALE),small)

PY := .venv/bin/python
STRUCTURES := lungs heart clavicles ribs
LABEL_EXTENSIONS := ["*.png","*.jpg","*.jpeg","*.tif","*.tiff","*.bmp","*.webp","*.jp2","*.dcm","*.dic","*.ima","*.nii","*.nii.gz","*.mha","*.nrrd"]
ROOT := bundles/$(BUNDLE)_attn_unet
# of the whole suite, 88 without Orthanc and 91 with it; a part of it (ARGS) has no floor to reach
COVERAGE := --cov --cov-report= --cov-fail-under=86
# the tests of a file share what takes long to make, so they stay in one process
PARALLEL := --numprocesses auto --maxprocesses 8 --dist loadfile
RUN := $(PY) -W ignore -m monai.bundle run
EXTRAS := dicom formats itk swin zoo figures
FAST_TESTS := tests/io tests/transforms tests/networks tests/output tests/analysis tests/datasets
export PYTHONDONTWRITEBYTECODE := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow soak soak-label test-package coverage lint train retrain segment evaluate bundles package
.PHONY: release push-hub label test-label test-deploy test-viewer table sbom audit test-versions clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'
	@echo
	@echo "  Variables: BUNDLE=heart CXR_DATA=<data folder> ARGS=<more for monai.bundle> PYTHON=python3 TORCH=torch==2.13.0"

setup: .venv/.ready ## make .venv with everything, CPU build of PyTorch (TORCH=... for another)

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $(TORCH)
	$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@

demo: setup ## train a small U-Net for two epochs on rendered radiographs, then segment six real ones with all shipped weights
	@echo "Training a small U-Net for two epochs on rendered radiographs (to show it, its weights are thrown away) ..."
	@$(RUN) training --config_file $(ROOT)/configs/train.json --bundle_root $(ROOT) --dataset_dir examples/rendered \
	  --output_dir demo/training --ckpt_dir demo/training --image_size 96 --batch_size 1 --learning_rate 0.01 \
	  --network_name unet --width 8 --augmentation 0.2 --epochs 2
	@echo "Segmenting six real radiographs with all shipped weights ..."
	@$(PY) -m cxr_attn_unet segment examples/open_radiographs --output demo/masks --format png overlay
	@$(PY) -m cxr_attn_unet_dev.tools.overview --images examples/open_radiographs --masks demo/masks \
	  --structures $(STRUCTURES) --columns 3 --output demo/overview.png
	@echo "Look at the picture above, and at $(CURDIR)/demo/masks/report.html"

test: setup ## all fast tests (those on real data where CXR_DATA is set); ARGS=tests/io runs a part of them
	@$(PY) -m pytest $(PARALLEL) $(if $(ARGS),$(ARGS),$(COVERAGE))

coverage: ## which lines the last "make test" did not run
	@$(PY) -m coverage report

test-slow: setup ## the slow tests as well
	@$(PY) -m pytest $(PARALLEL) -m "not soak" $(ARGS)

soak: setup ## hours of damaged files, kills and long runs, for docs/reliability.md; ARGS=tests/soak/NAME.py runs a part
	@$(PY) -m pytest -m soak --timeout 0 $(or $(ARGS),tests/soak)

soak-label: .venv-label/.ready ## kills of the label app's training, in MONAI Label's environment
	PYTHONPATH="$(CURDIR)/apps/monailabel/site" .venv-label/bin/python -m pytest -m soak --timeout 0 \
	  tests/soak/test_soak_kills.py -k label_app $(ARGS)

lint: setup ## ruff and mypy
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

train: setup ## train BUNDLE=heart on CXR_DATA=<folder>, ARGS="--epochs 100 --resume true"
	$(RUN) training --config_file $(ROOT)/configs/train.json --bundle_root $(ROOT) \
	  $(if $(CXR_DATA),--dataset_dir "$(CXR_DATA)") $(ARGS)

retrain: setup ## train BUNDLE=heart on CXR_DATA=<folder> in the stages of its shipped weights; resumes after a stop
	$(PY) -W ignore -m cxr_attn_unet.training.recipe $(ROOT) --dataset_dir "$(CXR_DATA)" --output runs/$(BUNDLE) $(ARGS)

segment: setup ## masks, measurements and a report of RADIOGRAPHS=<folder> in OUT=<folder>, ARGS="--format png overlay"
	$(PY) -m cxr_attn_unet segment "$(RADIOGRAPHS)" --output "$(OUT)" $(ARGS)

evaluate: setup ## Dice, HD95 and surface distance of the BUNDLE's weights on its validation split
	$(RUN) --config_file "['$(ROOT)/configs/train.json','$(ROOT)/configs/evaluate.json']" --bundle_root $(ROOT) \
	  $(if $(CXR_DATA),--dataset_dir "$(CXR_DATA)") $(ARGS)

bundles: setup ## the configs of all bundles, from their template and heads in shared/cxr_attn_unet_dev/configs
	@$(PY) -W ignore -m cxr_attn_unet_dev.configs bundles/*

# in an environment of its own, so that the list does not name the tool that writes it
.venv-sbom/.ready:
	$(PYTHON) -m venv .venv-sbom
	.venv-sbom/bin/python -m pip install --quiet --disable-pip-version-check cyclonedx-bom==7.5.0
	@touch $@

sbom: setup .venv-sbom/.ready ## what .venv holds, with versions and licenses, as dist/sbom.json (CycloneDX)
	@mkdir -p dist
	@.venv-sbom/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-format JSON \
	  --output-file dist/sbom.json $(PY)

.venv-audit/.ready:
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1 pip-licenses==5.5.5
	@touch $@

audit: setup .venv-audit/.ready ## known vulnerabilities in .venv, and its licences as dist/licenses.csv
	@mkdir -p dist
	@.venv-audit/bin/pip-licenses --python $(PY) --format csv --with-urls --output-file dist/licenses.csv
	@$(PY) -m cxr_attn_unet_dev.tools.audit --pip-audit .venv-audit/bin/pip-audit $(ARGS) \
	  --path "$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

# all versions as low, or as high, as pyproject.toml allows; uv derives them from it
.venv-uv/.ready:
	$(PYTHON) -m venv .venv-uv
	.venv-uv/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	@touch $@

test-versions: .venv-uv/.ready ## fast tests with PYTHON=python3.12 and VERSIONS=lowest (or highest) of all dependencies
	.venv-uv/bin/uv venv --quiet --clear --python $(PYTHON) .venv-versions
	.venv-uv/bin/uv pip install --quiet --python .venv-versions/bin/python --editable . "pytest>=8" "pytest-timeout>=2.2" \
	  --requirement pyproject.toml $(addprefix --extra ,$(EXTRAS)) \
	  --resolution $(if $(filter lowest,$(VERSIONS)),lowest-direct,highest)
	.venv-versions/bin/python -m pytest $(or $(ARGS),$(FAST_TESTS))

package: setup ## zips of all bundles in dist, checked by the zoo's rules, and their index in dist/zoo (BASE_URL=...)
	@rm -rf dist
	@$(PY) -W ignore -m cxr_attn_unet_dev.packaging package bundles/* --output dist
	@$(PY) -W ignore -m cxr_attn_unet_dev.packaging check dist/*.zip
	@$(PY) -W ignore -m cxr_attn_unet_dev.packaging index dist/*.zip --output dist/zoo --base-url "$(BASE_URL)"

release: package ## package, and write down the zips, so that the package of this version trusts them
	@$(PY) -W ignore -m cxr_attn_unet_dev.packaging release dist/*.zip

# a stranger's environment: MONAI, what the metadata require, and what load, verify_metadata and onnx_export ask for
.venv-package/.ready: bundles/heart_attn_unet/configs/metadata.json
	rm -rf .venv-package
	$(PYTHON) -m venv .venv-package
	.venv-package/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	.venv-package/bin/python -m pip install --quiet --disable-pip-version-check \
	  $$($(PYTHON) tests/acceptance/requirements.py $<) requests jsonschema onnx onnxscript onnxruntime
	@touch $@

test-package: package .venv-package/.ready ## the zips of package in a fresh environment without this package
	.venv-package/bin/python tests/acceptance/released_bundles.py dist examples/rendered examples/open_radiographs

push-hub: package ## BUNDLE=heart to the Hugging Face hub: REPO=owner/name, ARGS=--dry-run; the token is in HF_TOKEN
	@$(PY) -m cxr_attn_unet_dev.packaging push dist/$(BUNDLE)_attn_unet_v*.zip --repo "$(REPO)" $(ARGS)

.venv-label/.ready: apps/monailabel/requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv-label
	.venv-label/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	.venv-label/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH) \
	  --requirement apps/monailabel/requirements.txt --editable ".[dicom]" pytest pytest-timeout
	@touch $@

label: .venv-label/.ready ## MONAI Label's server on 127.0.0.1:PORT with all bundles: STUDIES=<folder, or http address of DICOMweb>
	@case "$(STUDIES)" in \
	  http://*|https://*) ;; \
	  *) test -d "$(STUDIES)" || { echo "no folder '$(STUDIES)': make label STUDIES=<folder of radiographs," \
	       "or address of a DICOMweb archive, http://...>" >&2; exit 2; } ;; \
	esac
	PATH="$(CURDIR)/.venv-label/bin:$$PATH" PYTHONPATH="$(CURDIR)/apps/monailabel/site" \
	  MONAI_LABEL_DATASTORE_FILE_EXT='$(LABEL_EXTENSIONS)' \
	  monailabel start_server --app apps/monailabel --studies "$(STUDIES)" --host 127.0.0.1 --port $(PORT) $(ARGS)

test-label: .venv-label/.ready ## that server, driven over REST through every model, strategy and a training
	PYTHONPATH="$(CURDIR)/apps/monailabel/site" .venv-label/bin/python -W ignore tests/acceptance/label_server.py build/label
	PYTHONPATH="$(CURDIR)/apps/monailabel/site" .venv-label/bin/python -W ignore tests/acceptance/label_access.py build/label
	PYTHONPATH="$(CURDIR)/apps/monailabel/site" .venv-label/bin/python -W ignore tests/acceptance/label_archive.py build/label
	PYTHONPATH="$(CURDIR)/apps/monailabel/site" .venv-label/bin/python -m pytest tests/test_new_structure.py -k label_app
	PYTHONPATH="$(CURDIR)/apps/monailabel/site" .venv-label/bin/python -m pytest -m "not soak" tests/test_kills.py -k label_app

.venv-deploy/.ready: apps/monai_deploy/requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv-deploy
	.venv-deploy/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	.venv-deploy/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH) \
	  --requirement apps/monai_deploy/requirements.txt --editable ".[dicom,formats]"
	@touch $@

test-deploy: .venv-deploy/.ready ## the MONAI Deploy application and its bundle operator on DICOM radiographs
	.venv-deploy/bin/python -W ignore tests/acceptance/monai_deploy.py

build/ohif/.ready:
	@mkdir -p build/ohif
	cd build/ohif && npm pack --silent @ohif/app@3.13.2 && tar -xzf ohif-app-3.13.2.tgz
	@touch $@

test-viewer: setup build/ohif/.ready ## OHIF (npm) on a real Orthanc: a Segmentation must be shown where its masks are
	$(PY) -W ignore tests/acceptance/ohif_viewer.py build/ohif/package/dist build/viewer

table: setup ## nine networks on four structures by PROTOCOL=small with CXR_DATA=<folder>; resumes after a stop
	$(PY) -W ignore -m cxr_attn_unet_dev.benchmark --protocol $(PROTOCOL) --dataset_dir "$(CXR_DATA)" $(ARGS)
	$(PY) -m cxr_attn_unet_dev.benchmark.report
	$(PY) -m cxr_attn_unet_dev.tools.tables

clean: ## remove .venv, demo and eval folders (what retrain has in runs stays)
	rm -rf .venv .venv-package .venv-label .venv-deploy .venv-sbom .venv-audit .venv-uv .venv-versions demo build dist bundles/*/eval shared/*.egg-info .pytest_cache .ruff_cache .mypy_cache .coverage

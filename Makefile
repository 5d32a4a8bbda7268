# Each target sets itself up from nothing: Python 3.11 and make are enough.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
SET_UP := $(VENV)/.set-up
EXPORTS := PYTHONPATH=platform:.

.PHONY: demo test test-alone test-ray check bench table fuzz docs-config manifests image-check format clean

demo: $(SET_UP)
	$(EXPORTS) $(BIN)/segray demo $(if $(METHOD),--method $(METHOD)) $(if $(QUICK),--quick)

# Tests that start clusters wait more than they compute, so the others run beside them, two at once.
test: $(SET_UP)
	$(MAKE) --jobs 2 --output-sync=line --no-print-directory test-alone test-ray

test-alone: $(SET_UP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --ignore tests/ray

test-ray: $(SET_UP)
	$(BIN)/python -m pytest tests/ray

check: $(SET_UP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(EXPORTS) $(BIN)/lint-imports

bench: $(SET_UP)
	$(EXPORTS) $(BIN)/python -m bench

# One line per cell in docs/tables; go on in another sitting with the same command.
table: $(SET_UP)
	$(EXPORTS) OMP_NUM_THREADS=1 $(BIN)/python -m bench.table family-b --tune
	$(EXPORTS) OMP_NUM_THREADS=1 $(BIN)/python -m bench.table nuclei --tune
	$(EXPORTS) OMP_NUM_THREADS=1 $(BIN)/python -m bench.table nuclei-10
	$(EXPORTS) OMP_NUM_THREADS=1 $(BIN)/python -m bench.table family-b-semantic --tune
	$(EXPORTS) OMP_NUM_THREADS=1 $(BIN)/python -m bench.table family-b-tags --tune
	$(EXPORTS) OMP_NUM_THREADS=1 $(BIN)/python -m bench.table coco-free

# Ten thousand hostile inputs: mutated images and annotation files, and calls of the endpoint.
fuzz: $(SET_UP)
	$(EXPORTS) OMP_NUM_THREADS=1 $(BIN)/python -m tools.fuzz $(FUZZ)

docs-config: $(SET_UP)
	$(EXPORTS) $(BIN)/python -m tools.docs.configuration

# What `segray submit --k8s` fills in is what the overlays render; needs kubectl.
manifests: $(SET_UP)
	kubectl kustomize k8s/overlays/gpu/jobs > platform/segray/jobs/templates/rayjobs-gpu.yaml
	kubectl kustomize k8s/overlays/cpu-dev/jobs > platform/segray/jobs/templates/rayjobs-cpu.yaml
	$(EXPORTS) $(BIN)/python -m k8s.check k8s/overlays/gpu k8s/overlays/cpu-dev k8s/overlays/incremental
	$(EXPORTS) $(BIN)/python -m k8s.check k8s/overlays/gpu/jobs k8s/overlays/kueue --beside k8s/overlays/gpu
	$(EXPORTS) $(BIN)/python -m k8s.check k8s/overlays/cpu-dev/jobs --beside k8s/overlays/cpu-dev

# The image's own install steps, in an empty folder: minutes, and 8 GB below out/.
image-check: $(SET_UP)
	$(EXPORTS) $(BIN)/python -m k8s.check.image out/image-check

format: $(SET_UP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) out

# Reused as long as neither file changes; a set-up that was cut short leaves no mark and is done again.
$(SET_UP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	# It asks for opencv-python, whose files are those of opencv-python-headless; the tests load one of its files alone.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps label-studio-sdk
	# It asks for the backport of `typing`, which stands in the way of Python's own; the tests need none of what it asks for but pyquaternion.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps cityscapesscripts
	touch $@

# `make` alone lists the targets.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3
HOST ?= http://127.0.0.1:8000
PROFILE ?= smoke
venv := service/.venv
bin := $(venv)/bin
load := loadtests/.venv
tf := terraform/.venv
release := PYTHONPATH=helm $(PYTHON) -m deploy
publish := PYTHONPATH=helm $(PYTHON) -m publish
sync = cd service && UV_PROJECT_ENVIRONMENT=.venv UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1 .venv/bin/uv sync --quiet --locked

run: $(venv)/.runtime  ## Serve on http://127.0.0.1:8000 with an embedded database
	@cd service; export ENVIRONMENT=development PATH="$$PWD/.venv/bin:$$PATH"; flask --app slipway migrate; \
	if [ -t 0 ]; then set -m; fi; gunicorn; echo "slipway has ended"  # a job of its own: Ctrl-C ends it, not make

image:  ## Build the image slipway:latest
	@$(release) image

deploy:  ## Build the image and release it to the current kube context
	@$(release) deploy

undeploy:  ## Take it away again; data volumes stay unless PURGE=1
	@$(release) undeploy

test: $(venv)/.dev $(load)/.ready $(tf)/.ready  ## Lint, and test all that can run on this machine (or TESTS alone)
	@.ci/test $(TESTS)

lint: $(venv)/.dev $(load)/.ready $(tf)/.ready  ## Check formats, types and styles
	@.ci/lint

format: $(venv)/.dev  ## Write every file in its format
	@$(bin)/ruff format --quiet && $(bin)/ruff check --quiet --fix && $(bin)/shfmt --write $$($(bin)/shfmt --find .ci)
	@if command -v terraform >/dev/null; then terraform fmt -recursive terraform >/dev/null; fi

loadtest: $(load)/.ready  ## Let users come to HOST as PROFILE says (USERS, DURATION); see loadtests/README.md
	@PYTHONPATH=loadtests $(load)/bin/python -m load --host $(HOST) --profile $(PROFILE) \
	$(if $(USERS),--users $(USERS)) $(if $(DURATION),--run-time $(DURATION))

loadtest-cluster:  ## The same from inside the cluster, by WORKERS processes; the report is copied back
	@exec env PYTHONPATH=helm $(PYTHON) loadtests/cluster.py

bench: $(venv)/.dev image  ## Compare throughput and latency with a bare Flask, and write the ratios
	@PYTHONPATH=loadtests:helm $(bin)/python -m bench slipway:latest

capacity:  ## Find the highest rate that keeps the SLO, for one pod and two (PODS), and write the sizes it suggests
	@exec env PYTHONPATH=loadtests:helm $(PYTHON) -m capacity

slo: $(venv)/.dev  ## Write rules, alerts, dashboards and the load tests' gate from ops/slo.yaml
	@$(bin)/python -m ops.generate

dashboards-preview: $(venv)/.dev  ## Draw every panel into dashboards.html, with data of PROMETHEUS
	@$(bin)/python -m ops.preview $(or $(PROMETHEUS),http://127.0.0.1:30090)

release:  ## Make VERSION of it: everywhere it stands, a commit and a tag; pushes nothing
	@$(publish) release

release-notes:  ## Print what the changelog says of the current version
	@$(publish) release-notes

push:  ## Build the image for PLATFORMS and push it to IMAGE, with SBOM and provenance; dist/image names it
	@$(publish) push

push-chart:  ## Push the chart to CHARTS (oci://…); dist/chart names it
	@$(publish) push-chart

sbom:  ## Write what is in IMAGE to dist/sbom.spdx.json
	@$(publish) sbom

sign:  ## Sign IMAGE, with COSIGN_KEY or by OpenID Connect
	@$(publish) sign

verify:  ## Check who signed IMAGE, by COSIGN_PUB or GITHUB_REPOSITORY
	@$(publish) verify

mutate: $(venv)/.dev  ## Make faults in the service, one at a time, and tell which no test notices
	@$(sync) --group dev --group mutation; cd .. && .ci/mutate

clean:  ## Remove the environment and what tools leave behind
	@rm -rf $(venv) $(load) $(tf) .*_cache service/.*_cache

help:
	@sed -n 's/^\([a-z-]*\):.*  ## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 28
	@echo; echo '  Settings of image, deploy and undeploy: PYTHONPATH=helm python3 -m deploy --help'
	@echo '  Settings of release, push, sign and their like: PYTHONPATH=helm python3 -m publish --help'

.PHONY: run image deploy undeploy test lint format loadtest loadtest-cluster bench capacity slo dashboards-preview release release-notes push push-chart sbom sign verify mutate clean help

$(bin)/uv: service/requirements-uv.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(f"make: Python 3.11 or newer is needed, $(PYTHON) is {v[0]}.{v[1]}. Name another: make PYTHON=python3.12 ..." if v < (3, 11) else 0)'
	@echo "making $(venv)"
	@$(PYTHON) -m venv $(venv)
	@$(bin)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

# What tests have installed stays when only the service runs.
$(venv)/.runtime: $(bin)/uv service/pyproject.toml service/uv.lock
	@$(sync) --inexact
	@touch $@

$(venv)/.dev: $(bin)/uv service/pyproject.toml service/uv.lock
	@$(sync) --group dev
	@touch $@ $(venv)/.runtime

# Locust brings an environment of its own: it holds Flask and its extensions in other versions.
$(load)/.ready: $(bin)/uv loadtests/pyproject.toml loadtests/uv.lock
	@cd loadtests && UV_PROJECT_ENVIRONMENT=.venv UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1 ../$(bin)/uv sync --quiet --locked
	@touch $@

# checkov pins the versions of most that it needs.
$(tf)/.ready: $(bin)/uv terraform/pyproject.toml terraform/uv.lock
	@cd terraform && UV_PROJECT_ENVIRONMENT=.venv UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1 ../$(bin)/uv sync --quiet --locked
	@touch $@

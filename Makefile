# The commands of this checkout. `make demo` and `make test` install what they need; a second run installs nothing.
# A Pulumi of its own is used: .ci/env says how, and `.ci/env pulumi ...` is that Pulumi by hand.

.DEFAULT_GOAL := help
.PHONY: help demo test check build schema bench chaos clean packages

sources := $(shell find provider sdk simulator \( -name '*.ts' -o -name '*.json' \) ! -name '*.test.ts' ! -path '*/testdata/*') $(wildcard examples/*.ts examples/chaos/*.ts)
scripts := .ci/env .ci/install-packages .ci/install-pulumi .ci/install-system .ci/run

help: ## Show these lines
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## Build, bump and destroy a layer version with Pulumi, on a simulated pool
	@.ci/env npm run --silent demo

test: build ## Run all tests, those with the real Pulumi engine included
	@.ci/install-system
	@.ci/env npm run --silent test -- --reporter=default --reporter=./.ci/summary-reporter.mjs

check: build ## Check format, lint, types, shell scripts, and that generated files are up to date
	npx biome check .
	npx tsc --noEmit
	@mkdir -p .cache
	npm run --silent schema > .cache/schema.json && cmp .cache/schema.json schema.json
	npm run --silent schema:report > .cache/report.schema.json && cmp .cache/report.schema.json provider/report/report.schema.json
	@if command -v shellcheck > /dev/null; then echo shellcheck $(scripts); shellcheck $(scripts); fi

build: dist/.built ## Compile to dist/

schema: build ## Generate schema.json, report.schema.json and the SDK's types
	@npm run --silent sdk
	@mkdir -p .cache
	@npm run --silent schema > .cache/schema.json && mv .cache/schema.json schema.json
	@npm run --silent schema:report > .cache/report.schema.json && mv .cache/report.schema.json provider/report/report.schema.json

bench: build ## Measure: XAPI calls, imports, waits
	@.ci/install-system
	@.ci/env npm run --silent bench

chaos: build ## Kill and break at every call, and run again: POINTS=12 of each way (or all), ENGINE_POINTS=, SEED=, ONLY=way, POINT=one; then long stories
	@.ci/env npm run --silent chaos
ifeq ($(ONLY)$(POINT),)
	@XENLAYER_SEQUENCES=2000 npx vitest run provider/model.test.ts
	@XENLAYER_STACKS=all .ci/env npx vitest run sdk/stacks.test.ts
endif

clean: ## Remove all that was made in this checkout
	rm -rf dist node_modules .cache coverage examples/*/.work

packages:
	@.ci/install-packages

dist/.built: $(sources) package-lock.json tsconfig.json tsconfig.build.json | packages
	@echo "compiling to dist/ ..."
	@npm run --silent build
	@touch $@

// Fences this directory off from `go build ./...` at the root: its packages import
// skeletons that Bazel generates. `go run ./dev/lint` checks them beside what was
// generated, as packages of the root module, and so nothing is required here.
module github.com/rules-bpf/rules_bpf/rules/tests

go 1.25.0

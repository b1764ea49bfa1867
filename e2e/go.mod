// Fences this directory off from `go build ./...` at the root: it holds repositories of
// their own, whose packages import skeletons that Bazel generates.
module example.com/e2e

go 1.25.0

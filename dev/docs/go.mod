module github.com/rules-bpf/rules_bpf/dev/docs

go 1.25.0

require github.com/rules-bpf/rules_bpf v0.0.0

require (
	github.com/bazelbuild/rules_go v0.63.0
	github.com/cilium/ebpf v0.22.0
	google.golang.org/protobuf v1.36.12
)

require golang.org/x/sys v0.47.0 // indirect

replace github.com/rules-bpf/rules_bpf => ../..

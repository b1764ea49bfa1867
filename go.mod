module github.com/rules-bpf/rules_bpf

go 1.25.0

require (
	github.com/cilium/ebpf v0.22.0
	golang.org/x/sys v0.47.0
)

require github.com/ulikunitz/xz v0.5.17

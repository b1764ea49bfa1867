module example.com/from_sources

go 1.25.0

require github.com/cilium/ebpf v0.22.0

module example.com/smoke

go 1.25.0

require github.com/cilium/ebpf v0.22.0

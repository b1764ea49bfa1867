module example.com/goldens/bpf2go

go 1.24

require github.com/cilium/ebpf v0.22.0

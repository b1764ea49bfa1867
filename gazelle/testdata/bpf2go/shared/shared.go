package shared

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang Prog ../csrc/prog.c

// Load loads the program.
func Load() error {
	_, err := LoadProg()
	return err
}

// Package traffic has what bpf2go generates of one C file, twice. Its Go code and its
// lines are those of a repository that never saw Bazel.
package traffic

//go:generate go tool bpf2go -tags linux -type event counter ../bpf/counter.c -- -I../bpf/headers
//go:generate go tool bpf2go -tags linux -type event small ../bpf/counter.c -- -I../bpf/headers -DENTRIES=1

// Entries returns how many entries the map has in both variants.
func Entries() (uint32, uint32, error) {
	counter, err := loadCounter()
	if err != nil {
		return 0, 0, err
	}
	small, err := loadSmall()
	if err != nil {
		return 0, 0, err
	}
	return counter.Maps["events"].MaxEntries, small.Maps["events"].MaxEntries, nil
}

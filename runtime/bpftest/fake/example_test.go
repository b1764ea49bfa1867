package fake_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest/fake"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)

// busiest is code under test: it takes the handle of a map of a skeleton.
func busiest(packets *skeleton.Map[uint32, uint64]) (iface uint32, err error) {
	var most uint64
	for e, err := range packets.All() {
		if err != nil {
			return 0, err
		}
		if e.Value > most {
			iface, most = e.Key, e.Value
		}
	}
	return iface, nil
}

func ExampleNewMap() {
	t := new(testing.T) // that of the test

	packets := fake.NewMap(t, map[uint32]uint64{2: 10, 3: 500}, nil)
	fmt.Println(busiest(packets))
	_, err := packets.Lookup(4)
	fmt.Println(errors.Is(err, ebpf.ErrKeyNotExist))
	// Output:
	// 3 <nil>
	// true
}

func ExampleOutput() {
	t := new(testing.T) // that of the test

	type exec struct {
		Pid  uint32
		Comm [16]byte
	}
	events := fake.NewRingBuffer(t, nil)
	fake.Output(t, events, exec{Pid: 42, Comm: [16]byte{'l', 's'}})

	reader, err := skeleton.NewRingReader[exec](events)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	e, err := reader.Read()
	fmt.Println(e.Pid, skeleton.String(e.Comm[:]), err)
	// Output:
	// 42 ls <nil>
}

package skeleton_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest/fake"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)

// counters is what generated code looks like to those who use it: an Object, and its maps and
// programs as fields.
type counters struct {
	skeleton.Object
	Maps struct {
		Packets *skeleton.Map[uint32, uint64]
		Events  *skeleton.RingBuffer
	}
	Progs struct{ OnPacket *skeleton.XDPProgram }
}

// open stands for counters.Open of a generated package.
func open() (*counters, error) { return new(counters), nil }

// The life of a skeleton.
func Example() {
	skel, err := open()
	if err != nil {
		log.Fatal(err)
	}
	defer skel.Close() // detaches and frees, in any state

	// Before Load: sizes, constants, which programs.
	if err := skel.Maps.Events.SetMaxEntries(1 << 20); err != nil {
		log.Fatal(err)
	}
	if err := skel.Load(); err != nil {
		log.Fatal(err)
	}
	if err := skel.Attach(); err != nil { // all or nothing
		log.Fatal(err)
	}
}

// Without a kernel, as in tests, the map is a fake.
func ExampleMap() {
	packets := fake.NewMap(new(testing.T), map[uint32]uint64{1: 10}, nil)

	if err := packets.Put(2, 500); err != nil {
		log.Fatal(err)
	}
	n, err := packets.Lookup(2)
	fmt.Println(n, err)
	_, err = packets.Lookup(7)
	fmt.Println(errors.Is(err, ebpf.ErrKeyNotExist))
	for e, err := range packets.All() {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(e.Key, e.Value)
	}
	// Output:
	// 500 <nil>
	// true
	// 1 10
	// 2 500
}

// The records have the type that the program puts into the ring buffer.
func ExampleRingReader() {
	type event struct {
		Pid  uint32
		Comm [16]byte
	}
	events := fake.NewRingBuffer(new(testing.T), nil)
	fake.Output(new(testing.T), events, event{Pid: 42, Comm: [16]byte{'l', 's'}})

	reader, err := skeleton.NewRingReader[event](events)
	if err != nil {
		log.Fatal(err)
	}
	defer reader.Close()
	reader.SetDeadline(time.Now())
	for {
		e, err := reader.Read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(e.Pid, skeleton.String(e.Comm[:]))
	}
	// Output: 42 ls
}

// What the verifier says of a program, and the line of C that it stopped at.
func ExampleVerifierError() {
	skel, err := open()
	if err != nil {
		log.Fatal(err)
	}
	err = skel.Load()
	if rejected := (*skeleton.VerifierError)(nil); errors.As(err, &rejected) {
		fmt.Printf("%s: %s\n%s\n", rejected.Program, rejected.Source, rejected.Hint)
		fmt.Printf("%+v\n", rejected.Err) // all of the log
	}
}

// A program for an interface has no automatic attach: its section does not say which one.
func ExampleXDPProgram() {
	skel, err := open()
	if err != nil {
		log.Fatal(err)
	}
	if err := skel.Load(); err != nil {
		log.Fatal(err)
	}
	const eth0 = 2
	if _, err := skel.Progs.OnPacket.AttachXDP(eth0, nil); err != nil {
		log.Fatal(err)
	}
}

// The state of each program, as after Attach has returned an error.
func ExampleObject_Attachments() {
	skel, err := open()
	if err != nil {
		log.Fatal(err)
	}
	for _, a := range skel.Attachments() {
		fmt.Println(a.Name, a.State, a.Reason)
	}
}

// Values of Kconfig options that the kernel's configuration does not have, and types of a
// kernel without BTF.
func ExampleLoadOptions() {
	types, err := os.ReadFile("5.4.0-91-generic.btf")
	if err != nil {
		log.Fatal(err)
	}
	skel, err := open()
	if err != nil {
		log.Fatal(err)
	}
	if err := skel.LoadWithOptions(skeleton.LoadOptions{
		Kconfig:     "CONFIG_HZ=250\n",
		KernelTypes: types,
	}); err != nil {
		log.Fatal(err)
	}
}

// An object that is known only at run time: its image, as bpfgen image writes it.
func ExampleOpenObject() {
	image, err := os.ReadFile("plugin.bpf.image")
	if err != nil {
		log.Fatal(err)
	}
	obj, err := skeleton.OpenObject(string(image))
	if err != nil {
		log.Fatal(err)
	}
	defer obj.Close()
	for m := range obj.AllMaps() {
		fmt.Println(m.Name(), m.Type())
	}
	if v, ok := obj.FindVariable("min_duration_ns"); ok {
		d, err := skeleton.VarOf[uint64](v)
		if err != nil {
			log.Fatal(err)
		}
		if err := d.Set(1_000_000); err != nil {
			log.Fatal(err)
		}
	}
}

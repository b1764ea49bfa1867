// Package shared_test passes values between the skeletons of two objects, which share types.
package shared_test

import (
	"testing"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/tests/variants/shared/progs/core"
	"github.com/rules-bpf/rules_bpf/tests/variants/shared/progs/edge"
	"github.com/rules-bpf/rules_bpf/tests/variants/shared/progs/flows"
)

func TestValuesPass(t *testing.T) {
	seen, limits := bpftest.Load(t, edge.Open), bpftest.Load(t, core.Open)
	if _, _, err := seen.Progs.Edge.Program().Test(make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
	want := flows.Flow{Source: 7, Direction: flows.Out, Ports: flows.FlowPorts{From: 1, To: 2}}
	found := 0
	for e, err := range seen.Maps.Seen.All() {
		if err != nil {
			t.Fatal(err)
		}
		if e.Key != want || e.Value != flows.BytesT(64) {
			t.Errorf("%+v: %d", e.Key, e.Value)
		}
		// From one object to the other.
		if err := limits.Maps.Limits.Put(e.Key, e.Value+1); err != nil {
			t.Fatal(err)
		}
		limits.Bss.State.Last = e.Key
		found++
	}
	if found != 1 {
		t.Fatalf("%d flows", found)
	}
	if _, _, err := limits.Progs.Core.Program().Test(make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
	if limits.Bss.LimitOfLast != 65 {
		t.Errorf("the limit is %d", limits.Bss.LimitOfLast)
	}
	// Of one name in C, and two types.
	if (seen.Bss.State != edge.State{Edges: 1}) || (limits.Bss.State != core.State{Flows: 1, Last: want}) {
		t.Errorf("%+v, %+v", seen.Bss.State, limits.Bss.State)
	}
}

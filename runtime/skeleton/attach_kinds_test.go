package skeleton

import (
	"reflect"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/rules-bpf/rules_bpf/runtime/internal/attach"
)

// fill sets all fields of a struct to something.
func fill(t *testing.T, s any) {
	t.Helper()
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Name
		switch f.Kind() {
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Int, reflect.Int32:
			f.SetInt(int64(i + 1))
		case reflect.Uint16, reflect.Uint32, reflect.Uint64:
			f.SetUint(uint64(i + 1))
		case reflect.String:
			f.SetString(name)
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), i+1, i+1))
		case reflect.Pointer:
			f.Set(reflect.New(f.Type().Elem()))
		case reflect.Interface:
			f.Set(reflect.ValueOf(link.Link(new(attach.Links).Watch(nil))))
		default:
			t.Fatalf("field %s of %T is of kind %v", name, s, f.Kind())
		}
	}
}

// Each option gets to where it counts: package attach has one of the same name and value.
func TestOptionsReachAttach(t *testing.T) {
	check := func(from, to any) {
		t.Helper()
		have := reflect.ValueOf(to)
		for v, i := reflect.ValueOf(from).Elem(), 0; i < v.NumField(); i++ {
			name := v.Type().Field(i).Name
			f := have.FieldByName(name)
			if !f.IsValid() {
				t.Errorf("%T has no field %s", to, name)
			} else if got := f.Convert(v.Field(i).Type()); !reflect.DeepEqual(got.Interface(), v.Field(i).Interface()) {
				t.Errorf("%s of %T is %v, and became %v", name, from, v.Field(i), f)
			}
		}
	}
	kprobe, syscall, uprobe := new(KprobeOptions), new(SyscallOptions), new(UprobeOptions)
	iter, tc, netkit, cgroup := new(IterOptions), new(TCOptions), new(NetkitOptions), new(CgroupOptions)
	for _, o := range []any{kprobe, syscall, uprobe, iter, tc, netkit, cgroup} {
		fill(t, o)
	}
	check(kprobe, kprobe.probe())
	check(syscall, syscall.probe())
	check(uprobe, uprobe.probe())
	check(iter, iter.iter())
	check(tc, tc.options())
	check(netkit, netkit.position())
	check(cgroup, cgroup.options())
	// None are the zero value.
	kprobe, tc, cgroup = nil, nil, nil
	if kprobe.probe() != (attach.ProbeOptions{}) || tc.options() != (attach.TCOptions{}) || cgroup.options() != (attach.CgroupOptions{}) {
		t.Error("nil options have values")
	}
}

// The numbers of modes are those of package attach.
func TestModesOfAttach(t *testing.T) {
	for _, m := range []struct{ here, there any }{
		{AttachDefault, attach.Default}, {AttachPerf, attach.Perf}, {AttachLink, attach.Link},
		{TCAuto, attach.TCAuto}, {TCX, attach.TCX}, {TCClsact, attach.TCClsact},
		{CgroupMulti, attach.CgroupMulti}, {CgroupOverride, attach.CgroupOverride}, {CgroupExclusive, attach.CgroupExclusive},
	} {
		here := reflect.ValueOf(m.here)
		if there := reflect.ValueOf(m.there).Convert(here.Type()); !there.Equal(here) {
			t.Errorf("%T %v is %v in package attach", m.here, m.here, m.there)
		}
	}
	const section = ebpf.AttachTCXEgress
	for direction, want := range map[TCDirection]ebpf.AttachType{
		TCBySection: section, TCIngress: ebpf.AttachTCXIngress, TCEgress: ebpf.AttachTCXEgress,
	} {
		if got := direction.attachType(section); got != want {
			t.Errorf("direction %d is %v, want %v", direction, got, want)
		}
	}
	for end, want := range map[NetkitEnd]ebpf.AttachType{
		NetkitBySection: section, NetkitPrimary: ebpf.AttachNetkitPrimary, NetkitPeer: ebpf.AttachNetkitPeer,
	} {
		if got := end.attachType(section); got != want {
			t.Errorf("end %d is %v, want %v", end, got, want)
		}
	}
}

package loader

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/kallsyms"
	"github.com/rules-bpf/rules_bpf/runtime/internal/kernelbtf"
)

// needKernelBTF returns the running kernel's types.
func needKernelBTF(t testing.TB) *kernelbtf.Kernel {
	t.Helper()
	k, err := kernelbtf.Open()
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("needs a kernel with BTF: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

// targetOf returns what Load would find for a program of a section.
func targetOf(t *testing.T, section string) (target, error) {
	t.Helper()
	img := testImage(t, []function{{name: "f", insns: returns(0)}}, map[string]string{"f": section})
	l := &load{object: Open(img), btf: -1}
	t.Cleanup(l.closeKernel)
	if err := l.selectPrograms(); err != nil {
		t.Fatal(err)
	}
	if err := l.findNames(); err != nil {
		t.Fatal(err)
	}
	if err := l.bindTargets(); err != nil {
		return target{}, err
	}
	if l.targets == nil {
		return target{}, nil
	}
	return l.targets[0], nil
}

func TestFindTarget(t *testing.T) {
	k := needKernelBTF(t)
	for _, c := range []struct {
		section, name string
		kind          rawbtf.Kind
	}{
		{"fentry/vfs_read", "vfs_read", rawbtf.Func},
		{"fexit.s/vmlinux:vfs_read", "vfs_read", rawbtf.Func},
		{"fmod_ret/security_file_open", "security_file_open", rawbtf.Func},
		{"tp_btf/sched_switch", "btf_trace_sched_switch", rawbtf.Typedef},
		{"iter/task", "bpf_iter_task", rawbtf.Func},
		{"lsm/file_open", "bpf_lsm_file_open", rawbtf.Func},
		{"lsm_cgroup/socket_bind", "bpf_lsm_socket_bind", rawbtf.Func},
	} {
		want, ok := k.Types().Find(c.name, c.kind)
		got, err := targetOf(t, c.section)
		switch {
		case !ok && !errors.Is(err, ebpf.ErrNotSupported):
			t.Errorf("%s: found %v (%v), and the kernel has none", c.section, got, err)
		case ok && (err != nil || got != target{id: want.ID}):
			t.Errorf("%s: found %v (%v), want type %d", c.section, got, err, want.ID)
		}
	}
	for _, section := range []string{"xdp", "kprobe/vfs_read", "raw_tp/sched_switch"} {
		if got, err := targetOf(t, section); err != nil || got != (target{}) {
			t.Errorf("%s: found %v (%v), and the kernel is not told", section, got, err)
		}
	}
}

func TestNoTarget(t *testing.T) {
	needKernelBTF(t)
	// A function that the compiler has changed has no BTF.
	changed := ""
	for s, err := range kallsyms.All() {
		if name := string(s.Name); err == nil && s.IsFunction() && strings.Contains(name, ".constprop.") {
			changed = name
			break
		}
	}
	for section, want := range map[string]string{
		"fentry/no_such_function":         "program f, SEC(\"fentry/no_such_function\"): this kernel has no function no_such_function, nor has a module that is loaded; it may be inlined: name another target in SEC() or with SetTarget, or call SetAutoload(false)",
		"fentry/" + changed:               "but no BTF for it, as for one that the compiler has changed: attach a kprobe, or name",
		"fentry/no_such_module:vfs_read":  "module no_such_module has no function vfs_read in its BTF, or is not loaded: name",
		"fentry/../vmlinux:vfs_read":      "module ../vmlinux has no function",
		"fentry.multi/no_such_module:vf*": "no module no_such_module is loaded, or it has no BTF: load it, or name",
		"tp_btf/no_such_tracepoint":       "this kernel has no tracepoint no_such_tracepoint: ",
		"iter/no_such_iterator":           "this kernel has no iterator no_such_iterator: ",
		"lsm/no_such_hook":                "this kernel has no LSM hook no_such_hook, or lacks CONFIG_BPF_LSM: ",
	} {
		if section == "fentry/" {
			continue
		}
		_, err := targetOf(t, section)
		if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, ebpf.ErrNotSupported) {
			t.Errorf("%s: %v, want %q", section, err, want)
		}
	}
}

// Programs whose target is in the kernel's BTF are loaded for it.
func TestLoadForTargets(t *testing.T) {
	needKernelBTF(t)
	functions := []function{{name: "tp", insns: returns(0)}, {name: "tasks", insns: returns(0)}, {name: "unknown", insns: returns(0)}}
	sections := map[string]string{"tp": "tp_btf/sched_switch", "tasks": "iter/task", "unknown": "?tp_btf/no_such_tracepoint"}
	o, err := loadImage(t, testImage(t, functions, sections), Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if o.Programs[0].Program == nil || o.Programs[1].Program == nil || o.Programs[2].Program != nil {
		t.Error("not the programs that are to be loaded are")
	}
}

// A function of a module is found with the name of the module and without.
func TestLoadedModule(t *testing.T) {
	bpftest.NeedsBPF(t)
	k := needKernelBTF(t)
	names, err := os.ReadDir("/sys/kernel/btf")
	if err != nil {
		t.Fatal(err)
	}
	module, name, id := "", "", uint32(0)
	for _, entry := range names {
		m := k.Module(entry.Name())
		if m == nil {
			continue
		}
		for i := k.Types().Len(); i < m.Types.Len() && module == ""; i++ {
			typ := m.Types.At(i)
			if _, ok := k.Types().Find(typ.Name(), rawbtf.Func); ok || typ.Kind() != rawbtf.Func || !kallsyms.HasFunction(typ.Name()) {
				continue
			}
			module, name, id = entry.Name(), typ.Name(), i
		}
	}
	if module == "" {
		t.Skip("needs a module with BTF")
	}
	for _, section := range []string{"fentry/" + module + ":" + name, "fentry/" + name} {
		img := testImage(t, []function{{name: "f", insns: returns(0)}}, map[string]string{"f": section})
		o := Open(img)
		l := &load{object: o, btf: -1}
		for _, step := range []func() error{l.selectPrograms, l.findNames, l.bindTargets} {
			if err := step(); err != nil {
				t.Fatalf("%s: %v", section, err)
			}
		}
		if got := l.targets[0]; got.fd == 0 || strings.Contains(section, ":") && got.id != id {
			t.Errorf("%s: found %v, want type %d", section, got, id)
		}
		l.closeKernel()
		kerneltest.NeedsJIT(t)
		_, err := loadImage(t, img, Options{}, nil)
		if errors.Is(err, unix.EPERM) {
			t.Skipf("needs a kernel that lets root attach: %v", err)
		}
		if err != nil {
			t.Errorf("%s: %v", section, err)
		}
	}
}

// externImage returns an image of a program that refers to externs: it calls functions and
// loads addresses, as kinds says, and returns the low half of the last address.
func externImage(t testing.TB, types []byte, externs []image.Extern, kinds ...image.RelocationKind) *image.Object {
	t.Helper()
	var insns asm.Instructions
	var relos []image.Relocation
	at := uint32(0)
	for i, kind := range kinds {
		relos = append(relos, image.Relocation{Instruction: at, Kind: kind, Target: uint32(i)})
		if kind == image.ExternCall {
			insns = append(insns, call)
			at++
		} else {
			insns = append(insns, asm.LoadImm(asm.R0, 0, asm.DWord))
			at += 2
		}
	}
	insns = append(insns, asm.Return())
	img := testImage(t, []function{{name: "f", insns: insns}}, map[string]string{"f": "tc"})
	img.Relocations, img.Externs, img.BTF = image.NewTable(relos), externs, types
	// The types of the test's functions are made up.
	img.FuncInfo, img.LineInfo = image.Table[image.FuncInfo]{}, image.Table[image.LineInfo]{}
	return img
}

// bind returns what the kernel has for the externs of an image.
func bind(t *testing.T, img *image.Object) ([]extern, error) {
	t.Helper()
	l := &load{object: Open(img), btf: -1}
	t.Cleanup(l.closeKernel)
	if err := l.selectPrograms(); err != nil {
		t.Fatal(err)
	}
	if err := l.findNames(); err != nil {
		t.Fatal(err)
	}
	err := l.bindExterns()
	return l.externs, err
}

// protoTypes are those of the externs of tests: void (void), bool (int), int, struct s.
func protoTypes(t testing.TB) []byte {
	i := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	return rawTypes(t,
		i,
		&btf.FuncProto{Return: (*btf.Void)(nil)},
		&btf.FuncProto{Return: &btf.Int{Name: "_Bool", Size: 1, Encoding: btf.Bool}, Params: []btf.FuncParam{{Name: "how", Type: i}}},
		&btf.Struct{Name: "s", Size: 4},
		&btf.FuncProto{Return: (*btf.Void)(nil), Params: []btf.FuncParam{{Name: "a", Type: &btf.Pointer{Target: &btf.Const{Type: &btf.Fwd{Name: "only_declared"}}}}}},
	)
}

func TestBindExterns(t *testing.T) {
	k := needKernelBTF(t)
	lock, ok := k.Types().Find("bpf_rcu_read_lock", rawbtf.Func)
	if !ok {
		t.Skip("needs a kernel with bpf_rcu_read_lock (6.2)")
	}
	active, ok := k.Types().Find("bpf_prog_active", rawbtf.Var)
	if !ok {
		t.Fatal("the kernel has no variable bpf_prog_active in its BTF")
	}
	types := protoTypes(t)
	raw, err := rawbtf.New(types, nil)
	if err != nil {
		t.Fatal(err)
	}
	declared := uint32(0)
	for id := uint32(1); id < raw.Len(); id++ {
		if typ := raw.At(id); typ.Kind() == rawbtf.FuncProto {
			declared = id
		}
	}
	externs := []image.Extern{
		{Name: "bpf_rcu_read_lock___v1", Kind: image.Kfunc, Type: 2, Weak: true},
		{Name: "bpf_rcu_read_lock___v2", Kind: image.Kfunc, Type: 3, Weak: true},
		{Name: "bpf_rcu_read_lock", Kind: image.Kfunc, Type: 2},
		{Name: "no_such_function", Kind: image.Kfunc, Type: 2, Weak: true},
		{Name: "bpf_prog_active", Kind: image.KsymVariable, Type: 1},
		{Name: "no_such_variable", Kind: image.KsymVariable, Type: 1, Weak: true},
		{Name: "no_such_symbol", Kind: image.KsymAddress, Weak: true},
		{Name: "not_used", Kind: image.Kfunc, Type: 2},
	}
	call, load := image.ExternCall, image.ExternAddress
	got, err := bind(t, externImage(t, types, externs, call, call, call, call, load, load, load))
	if err != nil {
		t.Fatal(err)
	}
	want := []extern{{found: true, id: lock.ID}, {differs: true}, {found: true, id: lock.ID}, {}, {found: true, id: active.ID}, {}, {}, {}}
	if !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
	for _, c := range []struct {
		extern image.Extern
		want   string
	}{
		{image.Extern{Name: "no_such_function", Kind: image.Kfunc, Type: 2}, `program f, SEC("tc"): kfunc no_such_function: neither the kernel nor one of its modules has it: declare it __weak and ask bpf_ksym_exists, or call SetAutoload(false)`},
		{image.Extern{Name: "bpf_rcu_read_lock", Kind: image.Kfunc, Type: 3}, "kfunc bpf_rcu_read_lock: has other parameters or results in the kernel: declare it as the kernel does"},
		{image.Extern{Name: "bpf_rcu_read_lock", Kind: image.Kfunc, Type: declared}, "kfunc bpf_rcu_read_lock: has other parameters or results in the kernel: declare it as the kernel does, and define struct only_declared, an empty one will do, as it is only declared here"},
		{image.Extern{Name: "no_such_variable", Kind: image.KsymVariable, Type: 1}, "ksym no_such_variable: no variable in the BTF of this kernel or of its modules: declare it __weak"},
		{image.Extern{Name: "bpf_prog_active", Kind: image.KsymVariable, Type: 4, Weak: true}, "ksym bpf_prog_active: is int in the kernel, and struct s in the object: declare it as the kernel does"},
		{image.Extern{Name: "no_such_symbol", Kind: image.KsymAddress}, "ksym no_such_symbol: "},
	} {
		_, err := bind(t, externImage(t, types, []image.Extern{c.extern}, load))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// A module that cannot be read is mentioned when something is missing, and else none.
func TestUnreadableModule(t *testing.T) {
	if !kerneltest.WithModules(t, map[string][]byte{"broken": []byte("no BTF")}) {
		return
	}
	kfunc := image.Extern{Name: "no_such_function", Kind: image.Kfunc, Type: 2}
	_, err := bind(t, externImage(t, protoTypes(t), []image.Extern{kfunc}, image.ExternAddress))
	if want := "(some modules could not be looked at: BTF of module broken: is not BTF)"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("%v does not end in %q", err, want)
	}
	kfunc.Weak = true
	got, err := bind(t, externImage(t, protoTypes(t), []image.Extern{kfunc}, image.ExternAddress))
	if err != nil || got[0].found {
		t.Errorf("a weak function: %v, %v", got, err)
	}
	if _, err := targetOf(t, "tp_btf/sched_switch"); err != nil {
		t.Error(err)
	}
}

// Code sees the addresses that the kernel shows of variables and functions.
func TestExternAddresses(t *testing.T) {
	bpftest.NeedsBPF(t)
	k := needKernelBTF(t)
	addresses := map[string]uint64{"bpf_rcu_read_lock": 0, "vfs_read": 0}
	if err := kallsyms.Find(addresses); err != nil {
		t.Skipf("needs to see addresses: %v", err)
	}
	for _, e := range []image.Extern{
		{Name: "bpf_rcu_read_lock", Kind: image.Kfunc, Type: 2},
		{Name: "bpf_rcu_read_lock", Kind: image.KsymAddress},
		{Name: "vfs_read", Kind: image.KsymAddress},
		{Name: "no_such_function", Kind: image.Kfunc, Type: 2, Weak: true},
	} {
		if _, ok := k.Types().Find("bpf_rcu_read_lock", rawbtf.Func); !ok && e.Name == "bpf_rcu_read_lock" {
			continue
		}
		img := externImage(t, protoTypes(t), []image.Extern{e}, image.ExternAddress)
		o := Open(img)
		if err := o.Load(Options{}); err != nil {
			t.Errorf("%s: %v", e.Name, err)
			continue
		}
		defer o.Close()
		want := uint32(addresses[e.Name])
		if got := run(t, o.Programs[0]); got != want {
			t.Errorf("%s: %#x, want %#x", e.Name, got, want)
		}
	}
}

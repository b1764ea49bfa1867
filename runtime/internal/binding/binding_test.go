package binding_test

import (
	"reflect"
	"testing"

	"github.com/cilium/ebpf/link"

	"github.com/rules-bpf/rules_bpf/runtime/internal/binding"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)

type (
	object  = binding.Desc[*skeleton.UntypedMap, *skeleton.BaseProgram, *skeleton.StructOpsMap]
	library = binding.LibraryDesc[*skeleton.UntypedMap, *skeleton.BaseProgram, *skeleton.StructOpsMap, *skeleton.Variable]
)

// Package skeleton has set the functions, of the types that package skelimpl gives them.
func TestFunctions(t *testing.T) {
	if _, ok := binding.Object.(func(object) (*skeleton.Object, error)); !ok {
		t.Errorf("Object is %T", binding.Object)
	}
	if _, ok := binding.Library.(func(skeleton.Any, library) error); !ok {
		t.Errorf("Library is %T", binding.Library)
	}
}

// Descriptions are data: generated code compiles to no function for a type, and nothing that
// it does not use is kept by the linker.
func TestDescriptionsAreData(t *testing.T) {
	handles := map[reflect.Type]bool{
		reflect.TypeFor[skeleton.UntypedMap]():   true,
		reflect.TypeFor[skeleton.BaseProgram]():  true,
		reflect.TypeFor[skeleton.StructOpsMap](): true,
		reflect.TypeFor[skeleton.Variable]():     true,
		reflect.TypeFor[link.Link]():             true,
	}
	seen := make(map[reflect.Type]bool)
	var check func(path string, typ reflect.Type)
	check = func(path string, typ reflect.Type) {
		if handles[typ] || seen[typ] {
			return
		}
		seen[typ] = true
		if typ.Kind() == reflect.Struct && typ.NumMethod() > 0 {
			t.Errorf("%s: %v has methods", path, typ)
		}
		switch typ.Kind() {
		case reflect.Struct:
			for i := range typ.NumField() {
				check(path+"."+typ.Field(i).Name, typ.Field(i).Type)
			}
		case reflect.Pointer, reflect.Slice, reflect.Array:
			check(path+"[]", typ.Elem())
		case reflect.Func, reflect.Interface, reflect.Map, reflect.Chan:
			t.Errorf("%s is of kind %v", path, typ.Kind())
		}
	}
	check("Desc", reflect.TypeFor[object]())
	check("LibraryDesc", reflect.TypeFor[library]())
	if len(seen) < 10 {
		t.Errorf("looked at %d types only", len(seen))
	}
}

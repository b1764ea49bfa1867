package gonames

import (
	"go/token"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestExport(t *testing.T) {
	for _, tt := range []struct{ c, want string }{
		// Ordinary names.
		{"counter", "Counter"},
		{"min_duration_ns", "MinDurationNs"},
		{"a", "A"},
		{"camelCase", "CamelCase"},
		{"HTTPServer", "HTTPServer"},
		{"already_CamelCase", "AlreadyCamelCase"},
		// Underscores are cuts wherever they stand.
		{"_private", "Private"},
		{"__u32", "U32"},
		{"trailing__", "Trailing"},
		{"two__cuts", "TwoCuts"},
		{"_", "X"},
		{"___", "X"},
		{"", "X"},
		// Constants.
		{"MODE_OFF", "ModeOff"},
		{"XDP_PASS", "XdpPass"},
		{"A", "A"},
		{"IPV4", "Ipv4"},
		{"LINUX_KERNEL_VERSION", "LinuxKernelVersion"},
		{"MODE_x", "MODEX"},
		{"MODE_2", "Mode2"},
		// Sections and the names that compilers make.
		{".bss", "Bss"},
		{".data.counters", "DataCounters"},
		{".rodata.str1.1", "RodataStr11"},
		{".data.read-mostly", "DataReadMostly"},
		{".data.", "Data"},
		{"func.static_var", "FuncStaticVar"},
		// Digits.
		{"802_1q", "X8021q"},
		{"_1", "X1"},
		{"ipv4_2_6", "Ipv426"},
		{"0", "X0"},
		// Unicode: Go's letters and digits, which are fewer than C's.
		{"größe", "Größe"},
		{"änderung", "Änderung"},
		{"ÄNDERUNG_NR", "ÄnderungNr"},
		{"长度", "X长度"},
		{"len_长度", "Len长度"},
		{"счётчик_1", "Счётчик1"},
		{"e\u0301tat", "ETat"}, // a combining mark, which Go does not allow
		{"nj_\u01cc", "Nj\u01ca"},
		{"\u02b0mod", "X\u02b0mod"},
		{"٣_a", "X٣A"},
		// No C compiler makes these, an ELF file can hold them.
		{"a b", "AB"},
		{"a\nb", "AB"},
		{"a*/b", "AB"},
		{"\xff\xfe", "X"},
		{"a\xffb", "AB"},
		{"a\x00b", "AB"},
		{"\ufeffbom", "Bom"},
		{"💥", "X"},
	} {
		if got := Export(tt.c); got != tt.want {
			t.Errorf("Export(%q) = %q, want %q", tt.c, got, tt.want)
		}
	}
}

// Keywords and predeclared identifiers as C names must give names that Go takes.
func TestExportKeywords(t *testing.T) {
	names := []string{"nil", "true", "iota", "int", "string", "error", "any", "len", "init", "main", "_"}
	for tok := token.BREAK; tok <= token.VAR; tok++ {
		names = append(names, tok.String())
	}
	for _, c := range names {
		got := Export(c)
		if !token.IsIdentifier(got) || !token.IsExported(got) {
			t.Errorf("Export(%q) = %q, not an exported identifier", c, got)
		}
	}
}

func TestExact(t *testing.T) {
	for c, want := range map[string]string{
		"max_len":        "C_max_len",
		"maxLen":         "C_maxLen",
		"_x":             "C__x",
		"":               "C_",
		"C_x":            "C_C_x",
		"größe":          "C_größe",
		".data.counters": "Q__2e_data_2e_counters",
		"a.b_c":          "Q_a_2e_b__c",
		"a_2e_":          "C_a_2e_",
		"a\xff":          "Q_a_Xff_",
		"a\ufffd":        "Q_a_fffd_",
		"Q_a":            "C_Q_a",
	} {
		if got := Exact(c); got != want {
			t.Errorf("Exact(%q) = %q, want %q", c, got, want)
		}
	}
}

func TestAssign(t *testing.T) {
	for _, tt := range []struct {
		name     string
		reserved []string
		c        []string
		want     []string
	}{
		{"different", nil, []string{"a", "b"}, []string{"A", "B"}},
		{"equal in Go", nil, []string{"max_len", "maxLen", "min_len"}, []string{"C_max_len", "C_maxLen", "MinLen"}},
		{"leading underscore", nil, []string{"x", "_x"}, []string{"C_x", "C__x"}},
		{"case", nil, []string{"Ev", "ev"}, []string{"C_Ev", "C_ev"}},
		{"three", nil, []string{"foo_bar", "FOO_BAR", "fooBar"}, []string{"C_foo_bar", "C_FOO_BAR", "C_fooBar"}},
		{"digits", nil, []string{"a_1_2", "a_12", "a12"}, []string{"C_a_1_2", "C_a_12", "C_a12"}},
		{"reserved", []string{"Open", "Maps"}, []string{"open", "maps", "close", "Open"}, []string{"C_open", "C_maps", "Close", "C_Open"}},
		{"underscores", nil, []string{"_", "__", ""}, []string{"C__", "C___", "C_"}},
		{"like an exact name", nil, []string{"c_x", "C_x", "x"}, []string{"C_c_x", "C_C_x", "X"}},
		// No compiler has two of one name in one place.
		{"equal in C", nil, []string{"n", "n", "n"}, []string{"N", "D2_C_n", "D3_C_n"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Assign(tt.c, tt.reserved...); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Whatever the names and their order: each C name has its Go name, no two have the same,
// and none has a name that is reserved or that another one could be meant by.
func TestAssignProperties(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"max", "Max", "MAX", "len", "Len", "_", "__", "1", "x", "X", "C_", "Q_", "open", ".", "ß", "2e", "长", "\xff"}
	reserved := []string{"Open", "Len", "Max", "X"}
	for range 3000 {
		set := make(map[string]bool)
		for range 1 + rng.IntN(12) {
			var c string
			for range 1 + rng.IntN(4) {
				c += pieces[rng.IntN(len(pieces))]
			}
			set[c] = true
		}
		names := slices.Sorted(maps.Keys(set))
		want := make(map[string]string)
		for i, goName := range Assign(names, reserved...) {
			want[names[i]] = goName
		}
		seen := make(map[string]string)
		simple := make(map[string]int)
		for _, c := range names {
			simple[Export(c)]++
		}
		for c, goName := range want {
			if !token.IsIdentifier(goName) || !token.IsExported(goName) {
				t.Fatalf("%q is %q, not an exported identifier", c, goName)
			}
			if other, ok := seen[goName]; ok {
				t.Fatalf("%q and %q are both %q", c, other, goName)
			}
			seen[goName] = c
			wanted := Export(c)
			if simple[wanted] > 1 || slices.Contains(reserved, wanted) {
				wanted = Exact(c)
			}
			if goName != wanted {
				t.Fatalf("%q of %q is %q, want %q", c, names, goName, wanted)
			}
		}
		for range 3 {
			rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
			for i, goName := range Assign(names, reserved...) {
				if goName != want[names[i]] {
					t.Fatalf("%q is %q, and in the order %q %q", names[i], want[names[i]], names, goName)
				}
			}
		}
	}
}

// A name that is taken back collides with nothing, and the names of a pass do not depend
// on what others were asked for before.
func TestScope(t *testing.T) {
	s := NewScope("Open")
	var got []string
	passes := 0
	s.Settle(func() {
		passes++
		got = nil
		ask := func(key string, spellings ...string) { got = append(got, s.Name(key, spellings...)) }
		ask("struct a", "A", "C_a", "Struct_C_a")
		mark := s.Mark()
		s.Name("struct b", "B", "C_b")
		s.Forget(mark)
		ask("constant b", "B", "C_b")
		ask("constant a", "A", "C_a", "Constant_C_a")
		ask("open", "Open", "C_open")
	})
	if want := []string{"Struct_C_a", "B", "Constant_C_a", "C_open"}; !slices.Equal(got, want) || passes != 2 {
		t.Errorf("got %q after %d passes, want %q", got, passes, want)
	}
}

func FuzzExact(f *testing.F) {
	f.Add("max_len", "maxLen")
	f.Add("a_2e_", "a.")
	f.Add("a\xff", "a_Xff_")
	f.Add("\ufffd", "\xff")
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, c := range []string{a, b} {
			if got := Exact(c); !token.IsIdentifier(got) || !token.IsExported(got) {
				t.Errorf("Exact(%q) = %q, not an exported identifier", c, got)
			}
		}
		if (a == b) != (Exact(a) == Exact(b)) {
			t.Errorf("%q is %q, %q is %q", a, Exact(a), b, Exact(b))
		}
	})
}

func FuzzExport(f *testing.F) {
	for _, c := range []string{"min_duration_ns", "MODE_OFF", "802_1q", "长度", "ß", "ǆ", "a\xff"} {
		f.Add(c)
	}
	f.Fuzz(func(t *testing.T, c string) {
		if got := Export(c); !token.IsIdentifier(got) || !token.IsExported(got) {
			t.Errorf("Export(%q) = %q, not an exported identifier", c, got)
		}
	})
}

// Variables of a section are named after what its name does not say.
func TestAssignIn(t *testing.T) {
	for _, tt := range []struct {
		section string
		c, want []string
	}{
		{".rodata.config", []string{"config_max", "config", "limit", "configured"}, []string{"Max", "Config", "Limit", "Configured"}},
		{".data.config", []string{"config_max", "max"}, []string{"C_config_max", "C_max"}},
		{".data.config", []string{"config_", "config_2"}, []string{"Config", "X2"}},
		{".data.rate.limit", []string{"limit_max", "rate_max"}, []string{"LimitMax", "RateMax"}},
		{".data", []string{"data_max"}, []string{"DataMax"}},
		{".kconfig", []string{"kconfig_x", "CONFIG_HZ"}, []string{"KconfigX", "ConfigHz"}},
		{"", []string{"_x", "x_y"}, []string{"X", "XY"}},
	} {
		if got := AssignIn(tt.section, tt.c); !slices.Equal(got, tt.want) {
			t.Errorf("AssignIn(%q, %q) = %q, want %q", tt.section, tt.c, got, tt.want)
		}
	}
}

func TestAssignFields(t *testing.T) {
	for _, tt := range []struct {
		section string
		fields  []Field
		want    []string
	}{
		{"", []Field{{"events", "V1"}, {"events", "V2"}, {"counts", ""}}, []string{"EventsV1", "EventsV2", "Counts"}},
		{".data.config", []Field{{"config_max", "V1"}, {"config_max", "V2"}, {"config_min", ""}}, []string{"MaxV1", "MaxV2", "Min"}},
		// What is called as a field of a variant.
		{"", []Field{{"events", "V1"}, {"events", "V2"}, {"events_v1", ""}}, []string{"C_events_V1", "EventsV2", "C_events_v1"}},
		{"", []Field{{"max_len", "V1"}, {"maxLen", "V1"}}, []string{"C_max_len_V1", "C_maxLen_V1"}},
	} {
		if got := AssignFields(tt.section, tt.fields); !slices.Equal(got, tt.want) {
			t.Errorf("%v: %v, want %v", tt.fields, got, tt.want)
		}
	}
}

package gonames

import (
	"go/token"
	"slices"
	"strings"
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

func TestScope(t *testing.T) {
	for _, tt := range []struct {
		name     string
		reserved []string
		c        []string
		want     []string
	}{
		{"different", nil, []string{"a", "b"}, []string{"A", "B"}},
		{"equal", nil, []string{"a", "a", "a"}, []string{"A", "A_", "A__"}},
		{"equal in Go only", nil, []string{"foo_bar", "fooBar", "FOO_BAR", "__foo_bar"}, []string{"FooBar", "FooBar_", "FooBar__", "FooBar___"}},
		{"digits", nil, []string{"a_1_2", "a_12", "a12"}, []string{"A12", "A12_", "A12__"}},
		{"reserved", []string{"Open", "Maps"}, []string{"open", "maps", "close"}, []string{"Open_", "Maps_", "Close"}},
		{"suffix taken", []string{"A_"}, []string{"a", "a"}, []string{"A", "A__"}},
		{"empty", nil, []string{"_", "__", ""}, []string{"X", "X_", "X__"}},
		{
			"very many", nil, slices.Repeat([]string{"n"}, 11),
			[]string{"N", "N_", "N__", "N___", "N____", "N_____", "N______", "N_______", "N________", "N_9", "N_10"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := NewScope(tt.reserved...)
			var got []string
			for _, c := range tt.c {
				got = append(got, s.Export(c))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestScopeNeverRepeats(t *testing.T) {
	s := NewScope()
	seen := make(map[string]bool)
	for i := range 20_000 {
		name := s.Take("N" + strings.Repeat("_", i%12))
		if seen[name] {
			t.Fatalf("%s given out twice", name)
		}
		seen[name] = true
	}
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

package gotype

// wellKnown are the typedefs that are another name of an integer type: they become the
// predeclared Go type.
var wellKnown = set(
	"__u8", "__u16", "__u32", "__u64", "__u128", "__s8", "__s16", "__s32", "__s64", "__s128",
	"u8", "u16", "u32", "u64", "u128", "s8", "s16", "s32", "s64", "s128",
	"uint8_t", "uint16_t", "uint32_t", "uint64_t", "int8_t", "int16_t", "int32_t", "int64_t",
	"__uint8_t", "__uint16_t", "__uint32_t", "__uint64_t", "__int8_t", "__int16_t", "__int32_t", "__int64_t",
	"u_int8_t", "u_int16_t", "u_int32_t", "u_int64_t",
	"__le16", "__le32", "__le64", "__be16", "__be32", "__be64", "__wsum", "__sum16",
	"u_char", "u_short", "u_int", "u_long", "unchar", "ushort", "uint", "ulong",
	"size_t", "ssize_t", "__kernel_size_t", "__kernel_ssize_t", "__kernel_ulong_t", "__kernel_long_t",
	"uintptr_t", "intptr_t", "ptrdiff_t", "bool",
)

// kernelOwned are the structs that a BPF program hands to helpers, and the kernel
// keeps for itself: user space sees zeros, and what it writes is ignored.
var kernelOwned = set(
	"bpf_spin_lock", "bpf_res_spin_lock", "bpf_timer", "bpf_wq", "bpf_task_work",
	"bpf_list_head", "bpf_list_node", "bpf_rb_root", "bpf_rb_node", "bpf_refcount",
	"bpf_dynptr",
)

func set(names ...string) map[string]bool {
	s := make(map[string]bool, len(names))
	for _, name := range names {
		s[name] = true
	}
	return s
}

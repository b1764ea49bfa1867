// 200 programs, 60 maps, and 1,050 variables of 25 types, a third of them in each of .bss,
// .data and .rodata.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

enum mode {
	MODE_OFF,
	MODE_ON,
};

#define TEN(m, tens) \
	m(tens##0) m(tens##1) m(tens##2) m(tens##3) m(tens##4) m(tens##5) m(tens##6) m(tens##7) m(tens##8) m(tens##9)

#define STATS(n)                 \
	struct stats_##n {       \
		__u64 packets;   \
		__u64 bytes;     \
		char name[16];   \
		enum mode mode;  \
	};

TEN(STATS, 0)
TEN(STATS, 1)

#define MAP(n)                               \
	struct {                             \
		__uint(type, BPF_MAP_TYPE_HASH); \
		__uint(max_entries, 1024);   \
		__type(key, __u32);          \
		__type(value, struct stats_00); \
	} map_number_##n SEC(".maps");

TEN(MAP, 0)
TEN(MAP, 1)
TEN(MAP, 2)
TEN(MAP, 3)
TEN(MAP, 4)
TEN(MAP, 5)

// Three variables, one in each section.
#define THREE(name, first, second, third) \
	first name##_bss;                 \
	second name##_data = {1};         \
	const volatile third name##_rodata = {1};

typedef char text[16];
typedef __u64 numbers[8];

// 21 variables.
#define ROW(r)                                                                              \
	THREE(variable_number_##r##_0, __u64, __u32, text)                                  \
	THREE(variable_number_##r##_1, enum mode, numbers, struct stats_00)                 \
	THREE(variable_number_##r##_2, struct stats_01, struct stats_02, struct stats_03)   \
	THREE(variable_number_##r##_3, struct stats_04, struct stats_05, struct stats_06)   \
	THREE(variable_number_##r##_4, struct stats_07, struct stats_08, struct stats_09)   \
	THREE(variable_number_##r##_5, struct stats_10, struct stats_11, struct stats_12)   \
	THREE(variable_number_##r##_6, struct stats_13, struct stats_14, struct stats_19)

#define TOUCH(variable) *(volatile char *)&variable += 1

// One program of four that use the row's variables.
#define PROGRAM(r, n, a, b, c, d)                                  \
	SEC("raw_tp/task_rename")                                  \
	int program_number_##r##_##n(void *ctx)                    \
	{                                                          \
		__u32 key = n;                                     \
                                                                   \
		TOUCH(variable_number_##r##_##a##_bss);            \
		TOUCH(variable_number_##r##_##a##_data);           \
		TOUCH(variable_number_##r##_##b##_bss);            \
		TOUCH(variable_number_##r##_##b##_data);           \
		TOUCH(variable_number_##r##_##c##_bss);            \
		TOUCH(variable_number_##r##_##c##_data);           \
		TOUCH(variable_number_##r##_##d##_bss);            \
		return bpf_map_lookup_elem(&map_number_##r, &key) != 0; \
	}

#define PART(r)                   \
	ROW(r)                    \
	PROGRAM(r, 0, 0, 1, 2, 3) \
	PROGRAM(r, 1, 1, 2, 3, 4) \
	PROGRAM(r, 2, 2, 3, 4, 5) \
	PROGRAM(r, 3, 3, 4, 5, 6)

TEN(PART, 0)
TEN(PART, 1)
TEN(PART, 2)
TEN(PART, 3)
TEN(PART, 4)

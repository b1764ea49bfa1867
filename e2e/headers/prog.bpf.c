/* Both are of the headers that ./run makes, and of no others. */
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";
const char text[] SEC(".rodata") = UAPI_TEXT " " LIBBPF_TEXT " " ASM_TEXT;

SEC("syscall")
int prog(void *ctx)
{
	return text[0];
}

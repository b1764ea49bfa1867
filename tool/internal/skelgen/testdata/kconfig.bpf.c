#define SEC(name) __attribute__((section(name), used))
#define __kconfig __attribute__((section(".kconfig")))
#define __weak __attribute__((weak))

typedef unsigned long long u64;
enum libbpf_tristate { TRI_NO = 0, TRI_YES = 1, TRI_MODULE = 2 };

extern unsigned int LINUX_KERNEL_VERSION __kconfig;
extern u64 CONFIG_HZ __kconfig;
extern _Bool CONFIG_BPF __kconfig;
extern enum libbpf_tristate CONFIG_NET __kconfig __weak;
extern char CONFIG_LETTER __kconfig __weak;
extern char CONFIG_LOCALVERSION[20] __kconfig;
extern int CONFIG_ABSENT __kconfig __weak;
extern short CONFIG_BASE_SMALL __kconfig;

SEC("xdp") int prog(void *ctx)
{
	return LINUX_KERNEL_VERSION + CONFIG_HZ + CONFIG_BPF + CONFIG_NET + CONFIG_LETTER +
	       CONFIG_LOCALVERSION[0] + CONFIG_ABSENT + CONFIG_BASE_SMALL;
}

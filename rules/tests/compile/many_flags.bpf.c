const char text[] __attribute__((section(".rodata"))) = FORCED " " MODE;
char LICENSE[] __attribute__((section("license"))) = "GPL";

__attribute__((section("syscall"))) int prog(void *ctx)
{
	return text[0];
}

// A program and nothing else.
__attribute__((section("xdp"), used))
int pass(void *ctx) { return 2; }

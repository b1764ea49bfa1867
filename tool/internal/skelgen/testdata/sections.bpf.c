// Which sections and variables a skeleton shows.
#define SEC(name) __attribute__((section(name), used))
#define __hidden __attribute__((visibility("hidden")))

const volatile int limit = 1;
const volatile int odd_one SEC(".rodata.more") = 2;
int written = 3;
int counters SEC(".data.counters") = 4;
unsigned long long counters_of[2] SEC(".data.counters") = {5, 6};
int cleared SEC(".bss.cleared");
unsigned long long first;
unsigned int last;

static volatile int only_static SEC(".data.static") = 5;
__hidden int hidden SEC(".data.hidden") = 6;
int shown SEC(".data.mixed") = 7;
__hidden int not_shown SEC(".data.mixed") = 8;
int weak __attribute__((weak)) SEC(".data.mixed") = 9;

SEC("xdp")
int prog(void *ctx) { return only_static + hidden + limit; }

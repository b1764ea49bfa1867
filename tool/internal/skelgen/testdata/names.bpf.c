// Names that meet each other, Go's, and those of the API.
#define SEC(name) __attribute__((section(name), used))

struct data { int type; int Type; int _type; };
enum maps { OPEN, SKELETON, DATA_COUNTERS };
struct skeleton { enum maps func; };

struct data data = { 1 };
struct skeleton range = { OPEN };
int foo_bar = 1, fooBar = 2, FOO_BAR = 3;
int __hidden_not = 4;
int _ = 5, _2nd = 6;
int größe = 7;
int string = 8, nil = 9, init = 10, main = 11;

int counters SEC(".data.counters") = 1;
int more SEC(".data.Counters") = 2;

struct { int (*type)[2]; int (*max_entries)[1]; int *key; int *value; } bss SEC(".maps"), Load SEC(".maps");

int zero;

SEC("xdp") int load(void *ctx) { return zero + (long)&bss + (long)&Load; }
SEC("xdp") int Load_(void *ctx) { return foo_bar; }
SEC("?fentry/\"quoted\"") int close(void *ctx) { return 0; }

#define ONLY_BPF 4

// One of each: a map, a program, a variable.
#define SEC(name) __attribute__((section(name), used))

struct {
	int (*type)[27];
	int (*max_entries)[4096];
} events SEC(".maps");

unsigned long long execs;
int last_pid;

SEC("tp/sched/sched_process_exec")
int handle_exec(void *ctx)
{
	execs++;
	last_pid = (long)&events;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";

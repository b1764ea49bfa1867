// Loads BPF objects with libbpf, for comparison with the loader of this repository.
//
//	reference version
//	reference load OBJECT [PROGRAM]
//	reference time COUNT OBJECT
//	reference records KIND BURSTS OBJECT
//
// version prints libbpf's version.
//
// load loads the object and prints, as JSON in one line, the names and the IDs of the maps
// and programs that it made, 0 for those that it did not. They stay in the kernel until
// standard input ends. With PROGRAM, that is the only program which is loaded. An object
// that is not loaded has its error in the line, and libbpf's messages go to standard error.
// Pins are made in a bpffs that ends with the process.
//
// time loads and destroys the object COUNT times, as the skeletons of bpftool do, and
// prints a line for each: the nanoseconds of CPU time, and those that passed, from before
// open until after load. The last line is the peak of resident memory, in KiB.
//
// records runs a program of the object that sends a burst of records, and reads them, BURSTS
// times. KIND says which program, to what, and how they are read: ring is send_records to the
// ring buffer events, perf is ten times send_samples to the perf event array samples. It
// prints how many records came, and the nanoseconds of CPU time that reading has taken.
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

static int print_warnings(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

// Names are C identifiers and section names, which need no escapes in JSON.

static unsigned int map_id(const struct bpf_map *map)
{
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);
	int fd = bpf_map__fd(map);

	return fd >= 0 && bpf_map_get_info_by_fd(fd, &info, &size) == 0 ? info.id : 0;
}

static unsigned int prog_id(const struct bpf_program *prog)
{
	struct bpf_prog_info info = {};
	__u32 size = sizeof(info);
	int fd = bpf_program__fd(prog);

	return fd >= 0 && bpf_prog_get_info_by_fd(fd, &info, &size) == 0 ? info.id : 0;
}

static void print_object(struct bpf_object *object)
{
	const char *comma = "";
	struct bpf_program *prog;
	struct bpf_map *map;

	printf(",\"maps\":[");
	bpf_object__for_each_map(map, object) {
		const char *name = bpf_map__name(map);

		// Before the dot is a part of the object's name.
		if (bpf_map__is_internal(map) && strchr(name, '.'))
			name = strchr(name, '.');
		printf("%s{\"name\":\"%s\",\"id\":%u}", comma, name, map_id(map));
		comma = ",";
	}
	comma = "";
	printf("],\"programs\":[");
	bpf_object__for_each_program(prog, object) {
		printf("%s{\"name\":\"%s\",\"id\":%u,\"attach_type\":%d}", comma, bpf_program__name(prog),
		       prog_id(prog), bpf_program__expected_attach_type(prog));
		comma = ",";
	}
	printf("]");
}

// isolate makes a bpffs that nobody else sees.
static void isolate(void)
{
	if (unshare(CLONE_NEWNS) || mount("", "/", "", MS_REC | MS_PRIVATE, "") ||
	    mount("bpf", "/sys/fs/bpf", "bpf", 0, ""))
		die("mount bpffs on /sys/fs/bpf");
}

static int load(const char *path, const char *only)
{
	struct bpf_program *prog;
	struct bpf_object *object;
	int err;
	char c;

	isolate();
	object = bpf_object__open(path);
	err = object ? 0 : -errno;
	if (object && only)
		bpf_object__for_each_program(prog, object)
			bpf_program__set_autoload(prog, !strcmp(bpf_program__name(prog), only));
	if (object)
		err = bpf_object__load(object);
	printf("{\"error\":%d", err);
	if (object)
		print_object(object);
	printf("}\n");
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	bpf_object__close(object);
	return 0;
}

static long long now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void print_peak(void)
{
	FILE *status = fopen("/proc/self/status", "r");
	char line[256];

	if (!status)
		die("/proc/self/status");
	while (fgets(line, sizeof(line), status))
		if (!strncmp(line, "VmHWM:", 6))
			printf("%ld\n", atol(line + 6));
	fclose(status);
}

// file is an object in memory, as a skeleton has it.
struct file {
	void *data;
	size_t size;
};

static struct file read_file(const char *path)
{
	FILE *stream = fopen(path, "r");
	struct file file;

	if (!stream)
		die(path);
	fseek(stream, 0, SEEK_END);
	file.size = ftell(stream);
	rewind(stream);
	file.data = malloc(file.size);
	if (!file.data || fread(file.data, 1, file.size, stream) != file.size)
		die(path);
	fclose(stream);
	return file;
}

// open_skeleton opens the object and finds all that is in it by name, as the code does
// that bpftool generates.
static struct bpf_object *open_skeleton(const struct file *file)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "object");
	struct bpf_object *object = bpf_object__open_mem(file->data, file->size, &opts);
	struct bpf_program *prog;
	struct bpf_map *map;

	if (!object)
		die("open");
	bpf_object__for_each_map(map, object)
		if (!bpf_object__find_map_by_name(object, bpf_map__name(map)))
			die(bpf_map__name(map));
	bpf_object__for_each_program(prog, object)
		if (!bpf_object__find_program_by_name(object, bpf_program__name(prog)))
			die(bpf_program__name(prog));
	return object;
}

static int measure(int count, const char *path)
{
	struct file file = read_file(path);
	long long (*spent)[2] = calloc(count, sizeof(*spent));

	for (int i = 0; i < count; i++) {
		long long cpu = now(CLOCK_PROCESS_CPUTIME_ID), wall = now(CLOCK_MONOTONIC);
		struct bpf_object *object = open_skeleton(&file);

		// Since libbpf 1.6 it maps the sections as well.
		if (bpf_object__load(object))
			die("load");
		spent[i][0] = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
		spent[i][1] = now(CLOCK_MONOTONIC) - wall;
		bpf_object__close(object);
	}
	for (int i = 0; i < count; i++)
		printf("%lld %lld\n", spent[i][0], spent[i][1]);
	print_peak();
	return 0;
}

static unsigned long long records, sum;

static void count_record(const void *data, size_t size)
{
	if (size < 16)
		die("a short record");
	// Something that needs the record: the third word.
	sum += *(const volatile __u64 *)(data + 8);
	records++;
}

static int on_record(void *ctx, void *data, size_t size)
{
	count_record(data, size);
	return 0;
}

static void on_sample(void *ctx, int cpu, void *data, __u32 size)
{
	count_record(data, size);
}

static void on_lost(void *ctx, int cpu, __u64 count)
{
	die("lost records");
}

static void send_burst(struct bpf_object *object, bool perf)
{
	const char *name = perf ? "send_samples" : "send_records";
	int fd = bpf_program__fd(bpf_object__find_program_by_name(object, name));
	char packet[14] = {};
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	if (!perf) {
		opts.data_in = packet;
		opts.data_size_in = sizeof(packet);
	}
	for (int i = 0; i < (perf ? 40 : 1); i++)
		if (bpf_prog_test_run_opts(fd, &opts))
			die(name);
}

// How many bursts are read before time counts: they touch all of the buffer's pages.
static const int warm_up = 5;

static int read_records(const char *kind, int bursts, const char *path)
{
	bool perf = !strcmp(kind, "perf");
	struct bpf_object *object = bpf_object__open(path);
	struct perf_buffer *samples = NULL;
	struct ring_buffer *ring = NULL;
	long long spent = 0;

	if (!object || bpf_object__load(object))
		die("load");
	if (perf)
		samples = perf_buffer__new(bpf_object__find_map_fd_by_name(object, "samples"), 256, on_sample,
					   on_lost, NULL, NULL);
	else
		ring = ring_buffer__new(bpf_object__find_map_fd_by_name(object, "events"), on_record, NULL, NULL);
	if (!ring && !samples)
		die("reader");
	for (int i = 0; i < warm_up + bursts; i++) {
		long long start;

		send_burst(object, perf);
		start = now(CLOCK_THREAD_CPUTIME_ID);
		if ((perf ? perf_buffer__consume(samples) : ring_buffer__consume(ring)) < 0)
			die("read");
		spent += now(CLOCK_THREAD_CPUTIME_ID) - start;
		if (i < warm_up)
			records = spent = 0;
	}
	printf("%llu %lld\n", records, spent);
	ring_buffer__free(ring);
	perf_buffer__free(samples);
	bpf_object__close(object);
	return 0;
}

int main(int argc, char **argv)
{
	libbpf_set_print(print_warnings);
	if (argc == 2 && !strcmp(argv[1], "version")) {
		puts(libbpf_version_string());
		return 0;
	}
	if ((argc == 3 || argc == 4) && !strcmp(argv[1], "load"))
		return load(argv[2], argv[3]);
	if (argc == 4 && !strcmp(argv[1], "time"))
		return measure(atoi(argv[2]), argv[3]);
	if (argc == 5 && !strcmp(argv[1], "records"))
		return read_records(argv[2], atoi(argv[3]), argv[4]);
	fprintf(stderr, "usage: reference version | load OBJECT [PROGRAM] | time COUNT OBJECT | records KIND BURSTS OBJECT\n");
	return 2;
}

// Every type that has a Go form.
#define SEC(name) __attribute__((section(name), used))

typedef unsigned int u32;
typedef unsigned long long u64;
typedef u64 nanoseconds;
typedef char comm[16];

enum mode { MODE_OFF, MODE_ON, MODE_AUTO = 10 };
enum small { SMALL_A = 1, SMALL_B = 200 } __attribute__((packed));
typedef enum { COLOR_RED, COLOR_BLUE } color;

struct point { short x; long long y; };
struct pair { struct point a, b; };
typedef struct { u32 id; comm name; } task;
struct outer {
	struct { char tag; u64 value; } inner;
	enum { INNER_NO, INNER_YES } choice;
	task tasks[2];
};
struct aligned { char c; } __attribute__((aligned(32)));

volatile _Bool flag = 1;
char letter = 'a';
signed char s8 = 1;
unsigned char u8 = 2;
short s16 = 3;
unsigned short u16 = 4;
int s32 = 5;
u32 plain_u32 = 6;
long s64 = 7;
volatile nanoseconds now = 8;
float f32 = 1.5f;
double f64 = 2.5;
char text[5] = "text";
comm name = "comm";
char lines[2][8] = { "a", "b" };
signed char bytes[3] = { 1, 2, 3 };
int matrix[2][3][4] = { { { 1 } } };
enum mode mode = MODE_ON;
enum mode modes[3] = { MODE_AUTO };
enum small small = SMALL_B;
color paint = COLOR_BLUE;
enum { LEVEL_LOW = -1, LEVEL_HIGH = 1 } level = LEVEL_HIGH;
struct point origin = { 1, 2 };
struct pair pairs[2] = { { { 1 } } };
task init_task = { 1, "init" };
struct outer nested = { { 1 } };
struct { int a; u64 b[2]; } anonymous = { 1 };
struct aligned lined_up = { 1 };

SEC("xdp")
int prog(void *ctx) { return letter + now + flag; }

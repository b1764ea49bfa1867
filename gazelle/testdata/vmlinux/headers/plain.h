#define PLAIN 0

#define EDGE 1

#define IN_INCLUDE 4

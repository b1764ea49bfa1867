#define IN_DEP 8

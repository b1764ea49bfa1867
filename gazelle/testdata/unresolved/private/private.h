#define PRIVATE 1

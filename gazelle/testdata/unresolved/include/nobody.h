#define NOBODY 1

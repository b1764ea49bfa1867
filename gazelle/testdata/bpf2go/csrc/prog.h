#define RESULT 2

#define DETAIL 1

#define FROM_ROOT 2

/* Of the programs and of the C that Go calls. */
#define SHARED_LIMIT 3

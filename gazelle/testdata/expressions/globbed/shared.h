int one(int x);
int two(int x);

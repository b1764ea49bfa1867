int ignored(int x);

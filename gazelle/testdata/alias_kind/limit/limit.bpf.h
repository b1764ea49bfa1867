int limit(int x);

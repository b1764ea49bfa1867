int excluded(int x);

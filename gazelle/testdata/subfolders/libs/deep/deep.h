int deep(int x);

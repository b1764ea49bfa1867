int off(int x);

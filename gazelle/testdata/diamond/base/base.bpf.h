int base(int x);

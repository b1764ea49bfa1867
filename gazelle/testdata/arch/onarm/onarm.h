int on_arm(int x);

struct event {
	int x;
};

struct first_state {
	unsigned int count;
};

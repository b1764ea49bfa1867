// Read where CONFIG is defined.

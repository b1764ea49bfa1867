// Forced too.

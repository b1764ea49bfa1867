/* For an analysis, in which nobody reads it. */

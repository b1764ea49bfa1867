package app

// Checked in, and in the way of the rule.
type counterObjects struct{}

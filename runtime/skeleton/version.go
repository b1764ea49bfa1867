package skeleton

// Generated code states the version of the contract it was written for in two
// constant expressions that compile only when MinVersion <= version <=
// MaxVersion. Raise MaxVersion when generated code needs something new of this
// package, MinVersion when this package no longer serves older generated code.
const (
	// MinVersion is the oldest version of generated code that this package serves.
	MinVersion = 3
	// MaxVersion is the newest version of generated code that this package serves.
	MaxVersion = 4
)

// EnforceVersion is the type of the version checks in generated code: it is
// unsigned, so that a negative difference of versions does not compile.
type EnforceVersion uint

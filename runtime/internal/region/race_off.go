//go:build !race

package region

// RaceDetector reports whether the program is built with the race detector, which watches
// memory by its address.
const RaceDetector = false

//go:build race

package region

// RaceDetector says that the program is built with the race detector, which watches
// memory by its address.
const RaceDetector = true

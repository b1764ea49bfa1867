//go:build race

package skeleton

// raceDetector says that the program is built with the race detector, which watches
// memory by its address.
const raceDetector = true

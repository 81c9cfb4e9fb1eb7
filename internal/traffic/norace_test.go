//go:build !race

package traffic_test

// streamsStep is 1: every stream is cut.
const streamsStep = 1

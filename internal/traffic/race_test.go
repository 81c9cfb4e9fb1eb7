//go:build race

package traffic_test

// streamsStep: the race detector makes the cuts ten times slower and has nothing
// to find in them that a part of the streams does not show.
const streamsStep = 16

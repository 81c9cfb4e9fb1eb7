//go:build !failpoint

package failpoint

// Enabled says whether this build has failpoints.
const Enabled = false

// Hit passes a point.
func Hit(Point) {}

// Begin says that an effect is in flight from now on.
func Begin() {}

// End says that an effect is no longer in flight.
func End() {}

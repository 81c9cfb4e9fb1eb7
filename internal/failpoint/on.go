//go:build failpoint

package failpoint

// Enabled says whether this build has failpoints.
const Enabled = true

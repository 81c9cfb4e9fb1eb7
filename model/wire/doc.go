// Package wire is what the providers' wires share: one HTTP attempt that is never
// repeated by itself, server-sent events with bounds, and the errors of every
// provider as types. The formats themselves are in the drivers.
package wire

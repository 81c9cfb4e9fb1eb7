package codingagent

// Unusable is what is said where there is no sandbox.
var Unusable = unusable

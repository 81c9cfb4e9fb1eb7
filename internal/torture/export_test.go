package torture

// For the tests outside of the package.
var Open755 = open755

// OtherUser is a user without rights.
const OtherUser = otherUser

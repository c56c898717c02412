package core

// Version is this program's version; make build sets it.
var Version = "0.1.0-dev"

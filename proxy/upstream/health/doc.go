// Package health decides which servers may be given new connections, from what checks and connections have shown of them.
//
// [Server] is the state machine of one server. It is told what happened and when; it reads no clock, starts nothing and holds no lock, so
// whoever owns it serialises the calls. [Checks] is how one kind of check is made, over a connection that its caller has dialled.
//
// Two things can take a server out. Active checks, where they are configured, find it down whatever connections say, and up again. Failures of
// connections eject it for a time that doubles; then one connection, the trial, decides.
package health

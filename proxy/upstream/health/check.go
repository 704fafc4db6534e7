package health

import (
	"fmt"
	"net"
	"time"
)

// Check makes one check over a connection to a server whose URL has the authority host, and ends before the deadline. The error, nil for a
// healthy server, is for the log: it holds nothing of what the server sent but its status. Closing the connection is left to the caller.
func (k *Checks) Check(c net.Conn, host string, deadline time.Time) error {
	if err := c.SetDeadline(deadline); err != nil {
		return fmt.Errorf("setting the deadline: %w", err)
	}
	return k.check(c, host)
}

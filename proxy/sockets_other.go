//go:build !unix

package proxy

import (
	"errors"
	"os"
)

// Sockets is an error: no other process can take sockets over here.
func (s *Server) Sockets() ([]*os.File, error) { return nil, errors.ErrUnsupported }

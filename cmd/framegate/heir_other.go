//go:build !unix

package main

import (
	"errors"
	"os"

	"github.com/framegate/framegate/proxy"
)

// upgradeSignals is empty: no process can take another one's sockets over here.
var upgradeSignals []os.Signal

type heir struct{}

func startHeir(*proxy.Server) (*heir, error) { return nil, errors.ErrUnsupported }

func (*heir) words() <-chan string { return nil }
func (*heir) pid() int             { return 0 }
func (*heir) fault() string        { return "" }
func (*heir) consent()             {}
func (*heir) kill(string)          {}
func (*heir) leave()               {}

type forebear struct{}

func inherit() (*proxy.Sockets, *forebear, error) { return nil, nil, nil }

func (*forebear) tell(string) {}
func (*forebear) ask() error  { return nil }

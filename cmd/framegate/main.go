// Framegate is a WebSocket gateway: it terminates TLS in front of WebSocket
// applications, decides at the opening handshake who may connect, and reads
// every frame header to police what is sent.
package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/redis/go-redis/v9/logging"
	"github.com/spf13/cobra"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // configuration, start-up, or what was asked for did not succeed
	exitUsage  = 2
)

// A failure ends the program with exit code 1; every other error is one of
// usage.
type failure struct{ err error }

func (f failure) Error() string { return f.err.Error() }
func (f failure) Unwrap() error { return f.err }

func failed(err error) error {
	if err == nil {
		return nil
	}
	return failure{err}
}

func main() {
	// Packages that log by themselves (net/http's client and go-redis do) may quote what a peer sent.
	log.SetOutput(io.Discard)
	logging.Disable()
	os.Exit(execute(os.Args[1:]))
}

func execute(args []string) int {
	root := &cobra.Command{
		Use:           "framegate",
		Short:         "A WebSocket gateway that reads every frame header",
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetVersionTemplate(versionLine())
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(runCommand(), checkCommand(), demoCommand(), proxyCommand(), healthcheckCommand(), policyCommand(), schemaCommand(), trustCommand(), certsCommand(), versionCommand())
	root.SetArgs(args)
	err := root.Execute()
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(os.Stderr, err)
	if errors.As(err, new(failure)) {
		return exitFailed
	}
	fmt.Fprintln(os.Stderr, "run `framegate --help` for usage")
	return exitUsage
}

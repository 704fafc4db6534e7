package tlsmgr

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/framegate/framegate/internal/acmetest"
)

// childStore in the environment makes the test binary print the root of that store and end: one of several processes that start together.
const childStore = "TLSMGR_TEST_CHILD_STORE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childStore); dir != "" {
		rootPEM, err := RootPEM(dir)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Stdout.Write(rootPEM)
		return
	}
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil { // they wait for a CA, not for a processor
		panic(err)
	}
	goleak.VerifyTestMain(m, acmetest.Leftovers()...)
}

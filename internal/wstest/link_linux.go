package wstest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// apart is the variable by which a test process knows that it runs in a network namespace of its own.
const apart = "FRAMEGATE_TEST_NETNS"

// InNamespace has a test run in a network namespace of its own, where only loopback is up: it starts the test binary once more, for that test
// alone. It returns true there, and false, with the other's verdict passed on, where the test has nothing more to do. A kernel or a user that
// cannot have namespaces skips the test.
func InNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(apart) == "1" {
		if err := configure("lo", "127.0.0.1"); err != nil {
			t.Fatal(err)
		}
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: a network namespace with a tunnel device")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skipf("needs tunnel devices: %v", err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), apart+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	if cmd.Process == nil {
		t.Skipf("needs network namespaces: %v", err)
	}
	if err != nil {
		t.Errorf("in its namespace: %v\n%s", err, out)
	}
	return false
}

// Link joins the network namespace of the test with another one, made for it, by a wire that the test can harm.
type Link struct {
	tb        testing.TB
	near, far *os.File // tunnel devices
	namespace int      // the far one
	address   string   // of the far end
	running   sync.WaitGroup

	cut  atomic.Bool
	loss atomic.Uint64 // per mille
	lost atomic.Int64
}

// links counts those of this process: each has a network of its own.
var links atomic.Int32

// NewLink makes a link, which the test's cleanup ends. It needs InNamespace.
func NewLink(tb testing.TB) *Link {
	tb.Helper()
	n := links.Add(1)
	l := &Link{tb: tb, address: fmt.Sprintf("10.99.%d.2", n)}
	var err error
	if l.near, err = tunnel(fmt.Sprintf("near%d", n), fmt.Sprintf("10.99.%d.1", n)); err != nil {
		tb.Fatal(err)
	}
	err = inThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("making a network namespace: %w", err)
		}
		if l.namespace, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
		l.far, err = tunnel("far", l.address)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	l.running.Go(func() { l.carry(l.near, l.far) })
	l.running.Go(func() { l.carry(l.far, l.near) })
	tb.Cleanup(func() {
		l.near.Close()
		l.far.Close()
		l.running.Wait()
		unix.Close(l.namespace)
	})
	return l
}

// Listen listens at the far end, on a free port.
func (l *Link) Listen() net.Listener {
	l.tb.Helper()
	var ln net.Listener
	err := inThread(func() (err error) {
		if err := unix.Setns(l.namespace, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("entering the namespace: %w", err)
		}
		ln, err = net.Listen("tcp", net.JoinHostPort(l.address, "0"))
		return err
	})
	if err != nil {
		l.tb.Fatal(err)
	}
	return ln
}

// Cut has nothing come through any more, until Cut(false).
func (l *Link) Cut(cut bool) { l.cut.Store(cut) }

// Lose loses so many packets of a thousand, in both directions, at random.
func (l *Link) Lose(perMille int) { l.loss.Store(uint64(perMille)) }

// Lost returns how many packets have been lost or cut off so far.
func (l *Link) Lost() int64 { return l.lost.Load() }

// carry moves packets until a device is closed.
func (l *Link) carry(from, to *os.File) {
	packet := make([]byte, 64<<10)
	for {
		n, err := from.Read(packet)
		if err != nil {
			return
		}
		if l.cut.Load() || rand.Uint64N(1000) < l.loss.Load() {
			l.lost.Add(1)
			continue
		}
		to.Write(packet[:n]) // what a device does not take is one more lost packet
	}
}

// inThread runs f in a thread that ends with it, so that the namespace that it enters is nobody else's.
func inThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		done <- f()
	}()
	return <-done
}

// tunnel makes a tunnel device with an address in a /24 of its own.
func tunnel(name, address string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening /dev/net/tun: %w", err)
	}
	r, err := unix.NewIfreq(name)
	if err == nil {
		r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, r)
	}
	if err == nil {
		err = configure(name, address)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("making the tunnel %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// configure gives a device its address, and puts it into service.
func configure(name, address string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, set := range []struct {
		request uint
		value   string
	}{{unix.SIOCSIFADDR, address}, {unix.SIOCSIFNETMASK, "255.255.255.0"}} {
		r, err := unix.NewIfreq(name)
		if err == nil {
			err = r.SetInet4Addr(net.ParseIP(set.value).To4())
		}
		if err == nil {
			err = unix.IoctlIfreq(fd, set.request, r)
		}
		if err != nil {
			return fmt.Errorf("giving %s the address %s: %w", name, address, err)
		}
	}
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r); err != nil {
		return fmt.Errorf("bringing %s up: %w", name, err)
	}
	return nil
}

//go:build unix

package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/framegate/framegate/proxy"
)

// upgradeSignals have the program started anew, in this process's place.
var upgradeSignals = []os.Signal{syscall.SIGUSR2}

// envForebear is the descriptor by which an heir reaches its forebear.
const envForebear = "FRAMEGATE_FOREBEAR"

// An heir is the process that takes this one's place.
type heir struct {
	cmd  *exec.Cmd
	conn net.Conn
	said chan string   // closed once it has ended
	gone chan struct{} // closed by leave
	why  string        // it was killed
	err  error         // how it ended; read once said is closed
}

// errFirst: with the first process the kernel ends all others of its container,
// the heir among them, and nothing would be left once this one has retired.
var errFirst = errors.New("this is process 1 of a container, which ends with it: start another container instead")

// startHeir starts the program that the command line names, which may be another
// one by now, with the listening sockets of a gateway.
func startHeir(s *proxy.Server) (*heir, error) {
	if os.Getpid() == 1 {
		return nil, errFirst
	}
	files, err := s.Sockets()
	if err != nil {
		return nil, err
	}
	defer closeAll(&files)
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = f.Name()
	}
	conn, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	files = append(files, theirs)
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = files
	cmd.Env = append(heirEnvironment(os.Environ()),
		fmt.Sprintf("%s=%d", envForebear, 3+len(names)),
		fmt.Sprintf("LISTEN_FDS=%d", len(names)),
		"LISTEN_FDNAMES="+strings.Join(names, ":"))
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, err
	}
	h := &heir{cmd: cmd, conn: conn, said: make(chan string), gone: make(chan struct{})}
	go h.listenLoop()
	return h, nil
}

// heirEnvironment leaves out what was said to this process alone.
func heirEnvironment(all []string) (env []string) {
	for _, v := range all {
		switch name, _, _ := strings.Cut(v, "="); name {
		case envForebear, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID":
		default:
			env = append(env, v)
		}
	}
	return env
}

func closeAll(files *[]*os.File) {
	for _, f := range *files {
		f.Close()
	}
}

// socketPair returns the ends of a connection, the second one as a process can
// inherit it.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	for _, fd := range fds {
		syscall.CloseOnExec(fd)
	}
	ours := os.NewFile(uintptr(fds[0]), "heir")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	theirs := os.NewFile(uintptr(fds[1]), "forebear")
	if err != nil {
		theirs.Close()
	}
	return conn, theirs, err
}

// listenLoop is the goroutine that hears what the heir says, until that ends.
// leave waits for it.
func (h *heir) listenLoop() {
	defer close(h.said)
	lines := bufio.NewScanner(h.conn)
	for lines.Scan() {
		select {
		case h.said <- lines.Text():
		case <-h.gone:
		}
	}
	select {
	case <-h.gone: // it goes on without this process
		h.cmd.Process.Release()
	default:
		h.err = h.cmd.Wait()
	}
}

// words has what the heir says. Nobody says nothing.
func (h *heir) words() <-chan string {
	if h == nil {
		return nil
	}
	return h.said
}

func (h *heir) pid() int { return h.cmd.Process.Pid }

// fault says how the heir ended.
func (h *heir) fault() string {
	switch {
	case h.why != "":
		return h.why
	case h.err != nil:
		return h.err.Error()
	}
	return "it ended by itself"
}

// consent lets an heir that is ready go on.
func (h *heir) consent() { fmt.Fprintln(h.conn, wordConsent) }

// kill ends an heir that accepts no connections yet.
func (h *heir) kill(why string) {
	if h != nil {
		h.why = why
		h.cmd.Process.Kill()
	}
}

// leave hears no more of the heir.
func (h *heir) leave() {
	if h == nil {
		return
	}
	close(h.gone)
	h.conn.Close()
	for range h.said {
	}
}

// A forebear is the process whose place this one takes. That of a process which
// takes nobody's is nil, and says and hears nothing.
type forebear struct{ conn net.Conn }

// inherit returns the listening sockets that the process was started with, by
// systemd or by a forebear.
func inherit() (*proxy.Sockets, *forebear, error) {
	var f *forebear
	if v, ok := os.LookupEnv(envForebear); ok {
		os.Unsetenv(envForebear)
		fd, err := strconv.Atoi(v)
		if err != nil || fd < 3 {
			return nil, nil, fmt.Errorf("%s=%q is no descriptor", envForebear, v)
		}
		syscall.CloseOnExec(fd)
		file := os.NewFile(uintptr(fd), "forebear")
		conn, err := net.FileConn(file)
		file.Close()
		if err != nil {
			return nil, nil, fmt.Errorf("%s=%q: %w", envForebear, v, err)
		}
		f = &forebear{conn}
		// Who starts a process does not know its number before.
		os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	}
	sockets, err := proxy.NewSockets(activation.Files(true))
	return sockets, f, err
}

// tell says a word. That nobody hears it is no matter.
func (f *forebear) tell(word string) {
	if f != nil {
		fmt.Fprintln(f.conn, word)
	}
}

var errForebear = errors.New("the process whose place this one is to take does not want that any more")

// ask says that this process is ready and waits for the answer.
func (f *forebear) ask() error {
	f.tell(wordReady)
	answer, err := bufio.NewReader(f.conn).ReadString('\n')
	if err != nil || strings.TrimSpace(answer) != wordConsent {
		return errForebear
	}
	return nil
}

// Package reactor drives sessions on Linux: a few loops, one per processor,
// each the only owner of its sessions, of both their descriptors, of a timer
// wheel and of one read buffer. An idle session has no goroutine and no
// buffer; a message costs one read, one write and what the session thinks.
//
// # How a loop waits
//
// A loop polls its epoll descriptor without waiting, through RawSyscall, while
// there is work. When there is none it parks as a goroutine: the epoll
// descriptor is itself registered with Go's netpoller, so no thread blocks.
// Timers come as a timerfd, orders of others as an eventfd in the same set.
//
// # What epoll announces
//
// A descriptor is watched from its first moment to its last, for everything,
// and edge-triggered: each change is announced once. So neither a message nor a
// pause nor a full queue costs a call of epoll_ctl, and epoll_wait need not look
// again at what was ready before: a tenth of the CPU time of a small message.
// The price is that nothing may be forgotten: a leg that may have more to read
// joins loop.next, which is read in the next turn, once each, so that nobody who
// floods keeps the others waiting.
//
// # A turn
//
// The loop reads whoever has sent something and feeds their sessions; where that
// was little, it writes what follows only when all were read (loop.receive says
// why). Nobody waits longer for that than for the turn.
//
// # Descriptors
//
// After the handshake a descriptor is duplicated out of its net.Conn, which is
// then closed: else the runtime's own epoll would wake for each packet as well.
// leg.close is the one place that closes it.
//
// # TLS
//
// tls.Conn stays as it is. It sits on a Transport, whose Read returns a
// temporary net.Error when the descriptor would block: tls.Conn.Read resumes
// after that, even amid a record (tls_linux_test.go pins it). Its Handshake and Write
// do not resume, so the handshake is done before the hand-over, in a goroutine
// with a deadline, and Transport.Write never fails with would-block: it queues.
package reactor

// Package proxy is what happens to a connection, in order. Start reading here.
//
// # The journey of a handshake
//
//	listen.go    a connection is accepted and counted; TLS, with a deadline, in which the version of HTTP is agreed
//	             (before it, from load balancers, the header of listen_proxy.go; in it the client's certificate of clientauth.go)
//	headconn.go  the raw head of each request is held to strict rules, and timed, before net/http may parse it
//	serve.go     the request takes the configuration's snapshot, once; handshakes part from plain requests
//	upgrade.go   1 parse the offer, 2 find the route, 3 ask the policy, 4 dial a fresh upstream connection,
//	             (reach.go picks the server), 5 send a request made anew, 6 verify the 101; until here everything is answered as HTTP
//	             (listen_http2.go does that for the frames of HTTP/2; listen_http3.go is all that knows of QUIC)
//	session.go   7 take the connection from net/http, 8 answer 101, 9 feed what both readers hold, 10 relay
//
// No byte of the client reaches the upstream before its 101 is verified, and
// no upstream connection serves twice, of plain requests (plain.go) neither.
//
// # The journey of a message
//
// A driver (package reactor, or package stream where that cannot) reads it,
// package relay decides about it, package frame knows the wire. None of them
// knows of HTTP, routes or configuration.
//
// # Goroutines
//
// Every goroutine has an owner that waits for it:
//
//	listener.acceptLoop   one per listener           listener.finish
//	listener.httpLoop     two per listener, one for each version of HTTP   listener.finish
//	listener.admit        one per TLS handshake      listener.finish
//	listener.finish       one per listener           Server.Drain, in which all of them close; Server.Close, of those that a reload has closed
//	tlsmgr.Watcher's      three, of framegate run    tlsmgr.Watcher.Close
//	revoker.loop          one                        revoker.close, from Server.Close
//	revocation.Redis.run  one, with redis            revoker.close
//	renewLoop             one per token that is verified, at most 64   Server.Close
//	reviewLoop            at most one, after a reload  Server.Close; the next reload ends it
//	net/http's own        one per HTTP connection    listener.wait; sessions run in it: sessions.wait
//	net/http's, of HTTP/2 two per connection, one per stream, in which its session runs: as above
//	h3Listener.acceptLoop one per listener with HTTP/3   h3Listener.finish
//	h3Listener.serve      one per QUIC connection, two for its streams, one per stream, in which its session runs   h3Listener.finish
//	quic-go's             some per socket, two per connection   quic.Transport.Close
//	stream.Driver.pump    one per session            stream.Driver.Run, which is the other pump
//	stream.Driver.tick    while a timer fires        stream.Driver.Run
//	reactor's loop.run    one per processor (Linux)  reactor.Group.Close
//	reactor.Group.tellLoop  one (Linux)              reactor.Group.Close
//	stream.Driver.follow  while a session is ended   stream.Driver.Run
//	overload.lookLoop     one                        overload.close
//	sessions.drainLoop    one per drain of some      partial.close
//	LogSink.writeLoop     one                        LogSink.Close, for a second at most
//	tidy                  when handshakes stop       ends by itself; tidier.stop starts no more
//	admin.httpLoop        one                        admin.close
//	ratelimit's link      one per ratelimit.Redis    ratelimit.Redis.Close; go-redis dials in goroutines of its own, each within a second
//	tlsmgr's watcher      at most one                tlsmgr.Manager.Close
//	tlsmgr's ACME         see there                  tlsmgr.Manager.Close
//	upstream.Pool.checkLoop  one per checked server  upstream.Pool.Detach
//	upstream.Pool.findLoop  one per name of servers  upstream.Pool.Detach
//	jwks.Source.run       one per key set URL        jwks.Cache.Close
//	net/http's client     two per kept connection to a forward_auth service; policy.Set.Close ends these, nothing waits for it
//	demo's application    framegate demo             runDemo
//	process.endLoop       when the gateway ends      process.run
//	process.retireLoop    after an upgrade           process.run, process.endLoop
//	heir.listenLoop       after SIGUSR2              heir.leave
//
// # Where this differs from the design
//
// The design lets only cmd import tlsmgr. But a listener is an address and its
// certificates, one struct per section describes the file, and a reload will
// have to compile both before it swaps either: so this package imports tlsmgr.
//
// The design puts package policy before ratelimit. But a policy says rates, and
// ratelimit knows no policy, only limits by name: so policy imports ratelimit.
//
// The design says that an incomplete frame is streamed and that nothing can
// follow inside it. Here a frame of up to 4 KiB is relayed whole or not at all
// (package relay), so that in the common case a Close with its reason can still
// be sent whatever goes wrong.
//
// The design wants level-triggered events. The reactor's are edge-triggered:
// measured side by side that costs 7 % less CPU for a small message, and the
// code is shorter.
//
// Session.Written and Session.EOF, beside Feed, are told the time: progress of
// writes has deadlines too.
package proxy

// Package tlsmgr owns the gateway's certificates and gives each listener its tls.Config.
//
// A listener takes its certificates from one of these sources:
//
//   - files: PEM pairs chosen by SNI, read again when they change. A pair that cannot be read any more keeps its last good state in service.
//   - internal: an own root for development, kept on disk, with leaves made in memory for the hosts of the routes and for localhost.
//   - auto: certmagic orders and renews certificates at ACME CAs and keeps them in files or in Redis. See auto (auto.go), which starts it, demand
//     for names that come up in handshakes, store for what it keeps.
//   - off: no TLS.
//
// All sources follow one rule: a ClientHello whose server name is absent, an IP address or unknown gets no certificate, and so the alert
// unrecognized_name (112, RFC 6066 §3). There is no default certificate that a client could reach by leaving its name out. For the same
// reason a session ticket resumes only under the name that it was issued for (RFC 6066 §3, RFC 8446 §4.6.1): crypto/tls would not look at
// certificates at all in a resumed TLS 1.3 handshake.
//
// A handshake takes no lock of the sources files and auto: it reads one pointer to an index that is never changed, only replaced. So it waits
// neither for a CA nor for a store, nor for certmagic, which holds its own lock while it reads from the store. The internal source locks a map for the
// look-up, never for the making of a certificate.
//
// # Goroutines
//
// From the first listener with files until Close, which waits for them, a Manager has three: Manager.watchLoop, which reloads, fsnotify's
// reader, and drain, which empties the reader's channels.
//
// A Watcher has the same three until its Close, with settleLoop for Manager.watchLoop.
//
// With ACME there are until Close: certmagic's maintenance, auto.watchLoop, one auto.obtainLoop for each name until it has its certificate,
// demand.fly for each name that clients wait for, and redisStore.renewLock for each lock that is held. What certmagic starts for a renewal holds a
// lock of the store, and closing the store waits for that. certmagic's limiter of orders has one for each CA that ends with the process.
package tlsmgr

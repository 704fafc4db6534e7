package health

import "time"

// State says what a server may be used for.
type State uint8

// The states of a server.
const (
	Up        State = iota // for every connection
	Unchecked              // no check has ended yet: only where no server is known to be up
	Trial                  // its ejection is over: one connection shows whether it works again
	Ejected                // connections to it have failed: for none until its time is over
	Down                   // its checks fail: for none
)

// States lists them all.
func States() []State { return []State{Up, Unchecked, Trial, Ejected, Down} }

func (s State) String() string {
	return [...]string{Up: "up", Unchecked: "unchecked", Trial: "trial", Ejected: "ejected", Down: "down"}[s]
}

// Out says whether a server gets no connections in this state.
func (s State) Out() bool { return s == Ejected || s == Down }

// Rules are what a pool asks of its servers. They are immutable.
type Rules struct {
	Checked    bool          // there are active checks
	Healthy    int           // successful checks in a row that bring a server up
	Unhealthy  int           // failed checks in a row that take it down
	Failures   int           // failures of connections in a row that eject it
	Backoff    time.Duration // of the first ejection; each further one lasts twice as long
	MaxBackoff time.Duration // of any ejection; a server that has worked for so long begins anew
	MaxEjected float64       // share of a pool's servers, from 0 to 1, that may be out before no more are ejected
}

// trialTime is how long the one connection of a trial may take to tell, before another may try: as long as an upgrade may take.
const trialTime = 15 * time.Second

// Room says whether a pool of so many servers, of which out are down or ejected, may eject one more.
func (r *Rules) Room(servers, out int) bool { return float64(out+1) <= r.MaxEjected*float64(servers) }

// Server is the health of one server. The zero value is a server that nobody has heard of yet.
type Server struct {
	checked bool // a check has ended
	up      bool // what checks have found
	against int  // checks in a row that say otherwise

	failures int       // of connections, in a row
	ejected  int       // times in a row, without a long good time between them
	until    time.Time // end of the ejection, zero while there is none
	trial    time.Time // until when the trial's connection may tell
	back     time.Time // end of the last ejection
}

// State returns the state at a time.
func (s *Server) State(r *Rules, now time.Time) State {
	switch {
	case r.Checked && s.checked && !s.up:
		return Down
	case !s.until.IsZero() && now.Before(s.until):
		return Ejected
	case !s.until.IsZero():
		return Trial
	case r.Checked && !s.checked:
		return Unchecked
	}
	return Up
}

// Usable says whether a new connection may go to the server. In a trial only one at a time may: who uses it calls Begin.
func (s *Server) Usable(r *Rules, now time.Time) bool {
	state := s.State(r, now)
	return !state.Out() && (state != Trial || !now.Before(s.trial))
}

// Begin notes that a connection to the server begins.
func (s *Server) Begin(r *Rules, now time.Time) {
	if s.State(r, now) == Trial {
		s.trial = now.Add(trialTime)
	}
}

// Abandoned notes that a connection has ended before it could tell anything.
func (s *Server) Abandoned() { s.trial = time.Time{} }

// Succeeded notes that a connection was made and served. What began before an ejection says nothing.
func (s *Server) Succeeded(r *Rules, now time.Time) {
	if s.State(r, now) == Ejected {
		return
	}
	if !s.until.IsZero() {
		s.until, s.trial, s.back = time.Time{}, time.Time{}, now
	}
	s.failures = 0
}

// Failed notes that a connection could not be made or was not served as it should. room says that the pool can do without this server.
func (s *Server) Failed(r *Rules, now time.Time, room bool) {
	switch s.State(r, now) {
	case Down, Ejected: // what began before says nothing new
		return
	case Trial:
		s.eject(r, now)
		return
	}
	s.failures = min(s.failures+1, r.Failures)
	if s.failures == r.Failures && room {
		if now.Sub(s.back) >= r.MaxBackoff {
			s.ejected = 0
		}
		s.eject(r, now)
	}
}

func (s *Server) eject(r *Rules, now time.Time) {
	backoff := r.Backoff
	for range s.ejected {
		if backoff *= 2; backoff >= r.MaxBackoff {
			break
		}
	}
	s.ejected++
	s.failures, s.trial, s.until = 0, time.Time{}, now.Add(min(backoff, r.MaxBackoff))
}

// Checked notes how a check has ended. The first one decides alone, the further ones by their number in a row. A server that has been down and
// is up again starts without a record.
func (s *Server) Checked(r *Rules, ok bool) {
	switch {
	case !s.checked:
		s.checked, s.up = true, ok
	case ok == s.up:
		s.against = 0
	default:
		if s.against++; ok && s.against < r.Healthy || !ok && s.against < r.Unhealthy {
			return
		}
		s.up, s.against = ok, 0
		if ok {
			*s = Server{checked: true, up: true}
		}
	}
}

// Retry returns after how long the server may be usable again, by what is known at a time: 0 where that is now or cannot be told.
func (s *Server) Retry(r *Rules, now time.Time) time.Duration {
	switch s.State(r, now) {
	case Ejected:
		return s.until.Sub(now)
	case Trial:
		return max(s.trial.Sub(now), 0)
	}
	return 0
}

package stream_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// A trickle writes byte by byte.
type trickle struct{ net.Conn }

func (c trickle) Write(p []byte) (int, error) {
	for i := range p {
		if n, err := c.Conn.Write(p[i : i+1]); err != nil {
			return i + n, err
		}
	}
	return len(p), nil
}

func TestTLS_HandshakeByteByByte(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			s, config := startTLS(t, m, epitest.EchoHandler)
			config.MaxVersion = version
			epitest.RoundTrip(t, tls.Client(trickle{s.Dial()}, config), "hello")
		}
	})
}

func TestTLS_SessionsAreResumed(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			resumed := make(chan bool, 2)
			s, config := startTLS(t, m, func(c *epi.Conn) epi.Handler {
				resumed <- c.TLS().DidResume
				return epitest.EchoHandler(c)
			})
			config.MaxVersion = version
			config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			for i := range 2 {
				epitest.RoundTrip(t, tls.Client(s.Dial(), config), "hello")
				if did := epitest.Receive(t, resumed); did != (i == 1) {
					t.Errorf("%x: connection %d was resumed: %v", version, i, did)
				}
			}
		}
	})
}

// noHurry is a HandshakeTimeout, also its part that a silent peer has, within
// which a test is over.
const noHurry = 10 * time.Hour

// TestTLS_HandshakesWaitForOthers dials more than are allowed at once.
func TestTLS_HandshakesWaitForOthers(t *testing.T) {
	const clients = 16
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		server, config := epitest.Certificates(t)
		e := m.Engine()
		e.TLS, e.MaxHandshakes, e.HandshakeTimeout = server, 1, noHurry
		s := epitest.StartOn(t, e, "tls://127.0.0.1:0", epitest.EchoHandler)
		results := make(chan error, clients)
		for range clients {
			client := tls.Client(s.Dial(), config)
			go func() { results <- client.Handshake() }()
		}
		for range clients {
			if err := epitest.Receive(t, results); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestTLS_ClientCertificates: one that is missing, or of an unknown issuer, is
// refused before the handler is made.
func TestTLS_ClientCertificates(t *testing.T) {
	known, trusting := epitest.Certificates(t)
	unknown, _ := epitest.Certificates(t)
	rows := []struct {
		name    string
		certs   []tls.Certificate
		refused bool
	}{
		{"known", known.Certificates, false},
		{"missing", nil, true},
		{"of an unknown issuer", unknown.Certificates, true},
	}
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		for _, row := range rows {
			e := m.Engine()
			e.TLS = known.Clone()
			e.TLS.ClientAuth, e.TLS.ClientCAs = tls.RequireAndVerifyClientCert, trusting.RootCAs
			s := epitest.StartOn(t, e, "tls://127.0.0.1:0", epitest.EchoHandler)
			config := trusting.Clone()
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if row.certs == nil {
					return &tls.Certificate{}, nil
				}
				return &row.certs[0], nil
			}
			client := tls.Client(s.Dial(), config)
			if !row.refused {
				epitest.RoundTrip(t, client, "hello")
				continue
			}
			if n, err := client.Read(make([]byte, 1)); err == nil {
				t.Errorf("%s: read %d bytes", row.name, n)
			}
			epitest.WaitUntil(t, row.name+" is refused", func() bool { return e.Stats().Refused == 1 })
		}
	})
}

// A mouthpiece keeps what is written and passes nothing on.
type mouthpiece struct {
	net.Conn
	written bytes.Buffer
}

func (r *mouthpiece) Write(p []byte) (int, error) { return r.written.Write(p) }
func (r *mouthpiece) Read([]byte) (int, error)    { return 0, io.EOF }

// clientHello returns the first bytes of a client.
func clientHello(t *testing.T, config *tls.Config) []byte {
	t.Helper()
	var r mouthpiece
	if err := tls.Client(&r, config).Handshake(); err == nil {
		t.Fatal("a handshake without a server succeeds")
	}
	return r.written.Bytes()
}

// TestHostile03_WhatIsNoClientHelloIsRefusedAtOnce: nobody waits for more of it.
func TestHostile03_WhatIsNoClientHelloIsRefusedAtOnce(t *testing.T) {
	rows := []struct{ name, sent, answer string }{
		{"another type of record", "\x00", ""},
		{"HTTP", "GET / HTTP/1.1\r\n\r\n", ""},
		{"SSL 2.0", "\x80", ""},
		{"an alert", "\x15\x03\x01\x00\x02\x02\x28", ""},
		{"another protocol's version", "\x16\x02", ""},
		{"an empty record", "\x16\x03\x01\x00\x00", "\x15\x03\x01\x00\x02\x02\x0a"},
		{"a record that is too long", "\x16\x03\x01\xff\xff", "\x15\x03\x01\x00\x02\x02\x16"},
		{"another message", "\x16\x03\x01\x00\x04\x00\x00\x00\x00", "\x15\x03\x01\x00\x02\x02\x0a"},
		{"the beginning of another message", "\x16\x03\x01\x10\x00\x02", ""},
		{"another record behind a part", "\x16\x03\x01\x00\x01\x01\x17", ""},
		{"a message that is too long", "\x16\x03\x01\x00\x04\x01\xff\xff\xff", "\x15\x03\x01\x00\x02\x02\x50"},
	}
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		server, config := epitest.Certificates(t)
		e := m.Engine()
		e.TLS, e.MaxHandshakes, e.HandshakeTimeout = server, 1, noHurry
		s := epitest.StartOn(t, e, "tls://127.0.0.1:0", epitest.EchoHandler)
		for _, row := range rows {
			c := s.Dial()
			epitest.Say(t, c, row.sent)
			answer, err := io.ReadAll(c)
			if timeout, ok := err.(net.Error); ok && timeout.Timeout() || string(answer) != row.answer {
				t.Errorf("%s: the answer is %x, %v, want %x", row.name, answer, err, row.answer)
			}
			_ = c.Close()
		}
		epitest.RoundTrip(t, tls.Client(s.Dial(), config), "hello")
		if n := e.Stats().Causes[epi.CauseHandshake]; n > uint64(len(rows)) {
			t.Errorf("%d connections were refused, want %d", n, len(rows))
		}
	})
}

// TestHostile03_PartsOfAClientHelloHoldNoPlace: the only one is free for who has
// said all.
func TestHostile03_PartsOfAClientHelloHoldNoPlace(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		server, config := epitest.Certificates(t)
		hello := clientHello(t, config)
		inRecords := append([]byte{22, 3, 1, 0, 9}, hello[5:14]...) // whole, with a part of the message
		e := m.Engine()
		e.TLS, e.MaxHandshakes, e.HandshakeTimeout = server, 1, noHurry
		s := epitest.StartOn(t, e, "tls://127.0.0.1:0", epitest.EchoHandler)
		var parts []net.Conn
		for _, sent := range [][]byte{hello[:1], hello[:5], hello[:len(hello)-1], inRecords} {
			c := s.Dial()
			epitest.Say(t, c, string(sent))
			parts = append(parts, c)
		}
		epitest.WaitUntil(t, "the parts have arrived", func() bool {
			return e.Stats().BytesIn == uint64(1+5+len(hello)-1+len(inRecords))
		})
		epitest.RoundTrip(t, tls.Client(s.Dial(), config), "hello")
		if st := e.Stats(); st.Refused > 0 || st.Conns != int64(len(parts)+1) {
			t.Errorf("%d connections, %d were refused", st.Conns, st.Refused)
		}
	})
}

// TestHostile03_TheSilentGiveWay: who has said ClientHello and answers nothing
// has a place for as long as nobody else needs it.
//
//	silent   ClientHello ── (nothing) ── cut
//	others      ClientHello ── waits ───── goes on
func TestHostile03_TheSilentGiveWay(t *testing.T) {
	const places = 4
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		server, config := epitest.Certificates(t)
		hello := string(clientHello(t, config))
		e := m.Engine()
		// Who is silent for a fifth of it gives way; who is slow here tries again.
		e.TLS, e.MaxHandshakes, e.HandshakeTimeout = server, places, time.Second
		s := epitest.StartOn(t, e, "tls://127.0.0.1:0", epitest.EchoHandler)
		epitest.WaitUntil(t, "one that was silent was cut", func() bool {
			for range places {
				epitest.Say(t, s.Dial(), hello)
			}
			_ = tls.Client(s.Dial(), config).Handshake()
			return e.Stats().HandshakesCut > 0
		})
		epitest.WaitUntil(t, "another shakes hands", func() bool {
			return tls.Client(s.Dial(), config).Handshake() == nil
		})
	})
}

// TestHostile03_ResetWhileWaitingIsSeen: a connection that waits for its place is
// read from, so that it does not stay when its peer has gone.
//
//	holder  ClientHello ── in GetConfigForClient ............ goes on
//	leaver     ClientHello ── waits ── RST: forgotten
func TestHostile03_ResetWhileWaitingIsSeen(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		server, config := epitest.Certificates(t)
		entered, free := make(chan struct{}, 1), make(chan struct{})
		e := m.Engine()
		e.MaxHandshakes, e.HandshakeTimeout = 1, noHurry
		e.TLS = server.Clone()
		e.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			entered <- struct{}{}
			<-free
			return nil, nil
		}
		s := epitest.StartOn(t, e, "tls://127.0.0.1:0", epitest.EchoHandler)
		holder := tls.Client(s.Dial(), config)
		shaken := make(chan error, 1)
		go func() { shaken <- holder.Handshake() }()
		epitest.Receive(t, entered)

		hello := clientHello(t, config)
		before := e.Stats().BytesIn
		leaver := s.Dial()
		epitest.Say(t, leaver, string(hello))
		epitest.WaitUntil(t, "its ClientHello has arrived", func() bool { return e.Stats().BytesIn == before+uint64(len(hello)) })
		epitest.Reset(t, leaver)
		epitest.WaitUntil(t, "it is forgotten", func() bool { return e.Stats().Conns == 1 })
		close(free)
		if err := epitest.Receive(t, shaken); err != nil {
			t.Error(err)
		}
	})
}

// TestHostile03_BlockedOnesHoldNoSlot: functions of the tls.Config that block do
// not keep those from computing that could.
func TestHostile03_BlockedOnesHoldNoSlot(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		server, config := epitest.Certificates(t, "slow")
		blocked := 2 * slotsPerCPU * runtime.GOMAXPROCS(0)
		entered, free := make(chan struct{}, blocked), make(chan struct{})
		e := m.Engine()
		e.HandshakeTimeout = noHurry
		e.TLS = server.Clone()
		e.TLS.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if hello.ServerName == "slow" {
				entered <- struct{}{}
				<-free
			}
			return nil, nil
		}
		s := epitest.StartOn(t, e, "tls://127.0.0.1:0", epitest.EchoHandler)
		slow := config.Clone()
		slow.ServerName = "slow"
		results := make(chan error, blocked)
		for range blocked {
			c := tls.Client(s.Dial(), slow)
			go func() { results <- c.Handshake() }()
		}
		for range blocked {
			epitest.Receive(t, entered)
		}
		epitest.RoundTrip(t, tls.Client(s.Dial(), config), "hello")
		close(free)
		for range blocked {
			if err := epitest.Receive(t, results); err != nil {
				t.Error(err)
			}
		}
	})
}

// slotsPerCPU is how many handshakes compute at once for each CPU.
const slotsPerCPU = 4

// TestHunt12_TLSNeverBlocks: in OnClose the handshake may still be in a function
// of the tls.Config.
//
//	handshake  VerifyConnection ............................ goes on, for nobody
//	loop          Abort ── OnClose ── TLS() is nil ── others
func TestHunt12_TLSNeverBlocks(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		server, trusting := epitest.Certificates(t)
		e := m.Serial()
		e.TLS = server
		s := epitest.StartOn(t, e, "tls://127.0.0.1:0", epitest.EchoHandler)
		entered, free := make(chan struct{}), make(chan struct{})
		config := trusting.Clone()
		config.VerifyConnection = func(tls.ConnectionState) error { close(entered); <-free; return nil }
		states := make(chan *tls.ConnectionState, 1)
		c, err := e.DialWith(t.Context(), s.Listener.String(), epi.DialOptions{TLS: config}, &epitest.Funcs{
			Close: func(c *epi.Conn, _ error) { states <- c.TLS() },
		})
		if err != nil {
			t.Fatal(err)
		}
		epitest.Receive(t, entered)
		if err := c.Abort(); err != nil {
			t.Fatal(err)
		}
		if state := epitest.Receive(t, states); state != nil {
			t.Errorf("of a handshake that did not end there is %+v", state)
		}
		epitest.RoundTrip(t, tls.Client(s.Dial(), trusting), "hello")
		close(free)
	})
}

// TestHostile03_NobodyIsSilentWhileNobodyLooks: the program is held up for longer
// than a peer may be silent. Who has answered meanwhile is not cut for another.
//
//	answerer  ClientHello ── silent ── | Finished    | ── goes on
//	other                              | ClientHello | ── waits
//	loop                               held up
func TestHostile03_NobodyIsSilentWhileNobodyLooks(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		server, config := epitest.Certificates(t)
		config.MinVersion = tls.VersionTLS13 // in which the client's Finished is the last message
		hello := string(clientHello(t, config))
		e := m.Serial()
		e.TLS, e.MaxHandshakes, e.HandshakeTimeout = server, 1, 2*time.Second
		s := epitest.StartOn(t, e, "tls://127.0.0.1:0", epitest.EchoHandler)
		loop, err := e.Loop(0)
		if err != nil {
			t.Fatal(err)
		}
		// Who is slow here, outside of the time in which the loop is held up, tries again.
		epitest.WaitUntil(t, "the one that has answered goes on", func() bool {
			other := s.Dial()
			kept := &joining{Conn: s.Dial()}
			answerer := tls.Client(kept, config)
			if answerer.Handshake() != nil {
				return false
			}
			release := epitest.Hold(t, loop)
			defer release()
			if _, err := io.WriteString(other, hello); err != nil {
				return false
			}
			if _, err := kept.Conn.Write(kept.kept); err != nil {
				return false
			}
			time.Sleep(e.HandshakeTimeout / 4) // more than a peer may be silent
			release()
			kept.joined = true
			if _, err := answerer.Write([]byte("hello")); err != nil {
				return false
			}
			_, err := io.ReadFull(answerer, make([]byte, 5))
			_ = other.Close()
			return err == nil
		})
	})
}

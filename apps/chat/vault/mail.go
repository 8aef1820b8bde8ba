package vault

import (
	"context"
	"fmt"
	"net"
	netmail "net/mail"
	"strconv"
	"sync"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/epinet/epi/apps/chat/config"
)

// mailTimeout bounds the sending of one message.
const mailTimeout = 20 * time.Second

// A Mailer sends the code that shows whether an address belongs to who named it.
type Mailer interface {
	// Send sends text to an address. It blocks.
	Send(ctx context.Context, to, subject, text string) error
}

// A smtpMailer gives messages to a server of SMTP (RFC 6409).
type smtpMailer struct {
	config config.Mail
	host   string
	port   int
}

// NewMailer returns the mailer of a configuration, which it does not try yet.
func NewMailer(c config.Mail) (Mailer, error) {
	host, port, err := net.SplitHostPort(c.Server)
	number, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || bad != nil || host == "" {
		return nil, fmt.Errorf("mail.server %q: write HOST:PORT, such as smtp.example.org:587", c.Server)
	}
	if _, err := netmail.ParseAddress(c.From); err != nil {
		return nil, fmt.Errorf("mail.from %q is no address: %w", c.From, err)
	}
	if c.TLS != "starttls" && c.TLS != "tls" && c.TLS != "none" {
		return nil, fmt.Errorf("mail.tls %q: write starttls, tls or none", c.TLS)
	}
	if c.TLS == "none" && c.User != "" && !isLoopback(host) {
		return nil, fmt.Errorf("mail.tls is none: mail.password would cross the network as plain text")
	}
	return &smtpMailer{config: c, host: host, port: int(number)}, nil
}

// Send is a method of Mailer.
func (s *smtpMailer) Send(ctx context.Context, to, subject, text string) error {
	m := mail.NewMsg()
	if err := m.From(s.config.From); err != nil {
		return err
	}
	if err := m.To(to); err != nil {
		return err
	}
	m.Subject(subject)
	m.SetBodyString(mail.TypeTextPlain, text)
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: nobody's vacation answers
	options := []mail.Option{mail.WithPort(s.port), mail.WithTimeout(mailTimeout)}
	switch s.config.TLS {
	case "starttls":
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	case "tls":
		options = append(options, mail.WithSSL())
	case "none":
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	}
	if s.config.User != "" {
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(s.config.User), mail.WithPassword(s.config.Password))
	}
	c, err := mail.NewClient(s.host, options...)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	return c.DialAndSendWithContext(ctx, m)
}

// What may be sent: to one address, and in all, within an hour. Whoever makes accounts
// must not make this server write to others without end.
const (
	mailsEach  = 3
	mailsInAll = 100
	mailsPer   = time.Hour
)

// A mailCount counts the messages of the current hour. Its zero value is ready.
type mailCount struct {
	mu    sync.Mutex
	since time.Time      // guarded by mu
	to    map[string]int // guarded by mu; bounded by mailsInAll
	all   int            // guarded by mu
}

// take reports whether another message may go to an address, and counts it.
func (c *mailCount) take(to string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.since) >= mailsPer {
		c.since, c.all, c.to = now, 0, map[string]int{}
	}
	if c.all >= mailsInAll || c.to[to] >= mailsEach {
		return false
	}
	c.all++
	c.to[to]++
	return true
}

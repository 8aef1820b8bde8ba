package vault

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/epinet/epi/apps/chat/config"
)

// ldapTimeout bounds each step of a login at a directory.
const ldapTimeout = 10 * time.Second

// An ldapDirectory checks passwords by a bind as the one who logs in (RFC 4511, 4.2).
type ldapDirectory struct {
	config config.LDAP
	tls    *tls.Config
}

// NewLDAP returns the directory of a configuration, which it does not ask yet.
func NewLDAP(c config.LDAP) (Directory, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "ldap" && u.Scheme != "ldaps" {
		return nil, fmt.Errorf("ldap.url %q: write ldaps://HOST or ldap://HOST", c.URL)
	}
	if u.Scheme == "ldap" && !c.StartTLS && !isLoopback(u.Hostname()) {
		return nil, fmt.Errorf("ldap.url %q: passwords would cross the network as plain text: write ldaps://, or set ldap.start-tls", c.URL)
	}
	if (c.UserDN == "") == (c.SearchBase == "") {
		return nil, errors.New("ldap: set either ldap.user-dn, or ldap.search-base and ldap.search-filter")
	}
	for key, template := range map[string]string{"ldap.user-dn": c.UserDN, "ldap.search-filter": c.SearchFilter} {
		if template != "" && !strings.Contains(template, namePlace) {
			return nil, fmt.Errorf("%s %q has no %s, where the name goes", key, template, namePlace)
		}
	}
	if c.SearchBase != "" {
		if _, err := ldap.CompileFilter(strings.ReplaceAll(c.SearchFilter, namePlace, "x")); err != nil {
			return nil, fmt.Errorf("ldap.search-filter %q: %w", c.SearchFilter, err)
		}
	}
	if c.AdminGroup != "" {
		if _, err := ldap.ParseDN(c.AdminGroup); err != nil {
			return nil, fmt.Errorf("ldap.admin-group %q: %w", c.AdminGroup, err)
		}
	}
	d := &ldapDirectory{config: c, tls: &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}}
	if c.CAFile != "" {
		text, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ldap.ca-file: %w", err)
		}
		d.tls.RootCAs = x509.NewCertPool()
		if !d.tls.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("ldap.ca-file: %s has no certificate", c.CAFile)
		}
	}
	return d, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// namePlace is where a template has the name of the one who logs in.
const namePlace = "{name}"

// Check is a method of Directory. An empty password would be an anonymous bind, which
// succeeds for everybody (RFC 4513, 5.1.2): it is never sent.
func (d *ldapDirectory) Check(ctx context.Context, name, password string) (Identity, error) {
	if name == "" || password == "" {
		return Identity{}, ErrWrong
	}
	c, err := d.connect(ctx)
	if err != nil {
		return Identity{}, err
	}
	defer c.Close() // what was asked is answered
	dn := strings.ReplaceAll(d.config.UserDN, namePlace, ldap.EscapeDN(name))
	who := Identity{Name: name}
	if d.config.SearchBase != "" {
		if dn, who, err = d.search(c, name); err != nil {
			return Identity{}, err
		}
	}
	if err := c.Bind(dn, password); err != nil {
		return Identity{}, wrongOr(err, "bind as the user")
	}
	parsed, err := ldap.ParseDN(dn)
	if err != nil {
		return Identity{}, fmt.Errorf("ldap: the directory's name of a user: %w", err)
	}
	who.Subject = subjectOf("ldap", strings.ToLower(parsed.String()))
	if d.config.AdminGroup == "" {
		return who, nil
	}
	who.Governed = true
	who.Admin, err = d.administers(c, dn, name)
	return who, err
}

// administers reports whether an entry is a member of ldap.admin-group, as groups are
// written (RFC 4519, 3.5 and 3.6; RFC 2307, 4). Who searches must be able to read the group, or the
// entry itself where nobody searches.
func (d *ldapDirectory) administers(c *ldap.Conn, dn, name string) (bool, error) {
	if d.config.SearchDN != "" {
		if err := c.Bind(d.config.SearchDN, d.config.SearchPassword); err != nil {
			return false, fmt.Errorf("ldap: bind as ldap.search-dn: %w", err)
		}
	}
	member := ldap.EscapeFilter(dn)
	filter := fmt.Sprintf("(|(member=%s)(uniqueMember=%s)(memberUid=%s))", member, member, ldap.EscapeFilter(name))
	found, err := c.Search(ldap.NewSearchRequest(d.config.AdminGroup, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 1,
		int(ldapTimeout/time.Second), false, filter, []string{"1.1"}, nil)) // no attributes (RFC 4511, 4.5.1.8)
	if err != nil {
		return false, fmt.Errorf("ldap: look into ldap.admin-group %q: %w", d.config.AdminGroup, err)
	}
	return len(found.Entries) == 1, nil
}

func (d *ldapDirectory) connect(ctx context.Context) (*ldap.Conn, error) {
	dialer := &net.Dialer{Timeout: ldapTimeout}
	if deadline, ok := ctx.Deadline(); ok {
		dialer.Deadline = deadline
	}
	c, err := ldap.DialURL(d.config.URL, ldap.DialWithDialer(dialer), ldap.DialWithTLSConfig(d.tls))
	if err != nil {
		return nil, fmt.Errorf("ldap: %w", err)
	}
	c.SetTimeout(ldapTimeout)
	if d.config.StartTLS {
		if err := c.StartTLS(d.tls); err != nil {
			_ = c.Close() // it is of no use
			return nil, fmt.Errorf("ldap: start TLS: %w", err)
		}
	}
	return c, nil
}

// search finds the one entry that a name has.
func (d *ldapDirectory) search(c *ldap.Conn, name string) (dn string, who Identity, err error) {
	if d.config.SearchDN != "" {
		if err := c.Bind(d.config.SearchDN, d.config.SearchPassword); err != nil {
			return "", who, fmt.Errorf("ldap: bind as ldap.search-dn: %w", err) // never the user's fault
		}
	}
	filter := strings.ReplaceAll(d.config.SearchFilter, namePlace, ldap.EscapeFilter(name))
	const two = 2 // one is wanted; of more, nobody is meant
	request := ldap.NewSearchRequest(d.config.SearchBase, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, two,
		int(ldapTimeout/time.Second), false, filter, []string{d.config.NameAttribute, "mail"}, nil)
	found, err := c.Search(request)
	switch {
	case ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded):
		return "", who, ErrWrong
	case err != nil:
		return "", who, wrongOr(err, "search")
	case len(found.Entries) != 1:
		return "", who, ErrWrong
	}
	entry := found.Entries[0]
	return entry.DN, Identity{
		Name:  cmp.Or(entry.GetAttributeValue(d.config.NameAttribute), name),
		Email: entry.GetAttributeValue("mail"),
	}, nil
}

// wrongOr separates a wrong name or password from what is nobody's fault.
func wrongOr(err error, doing string) error {
	for _, code := range []uint16{ldap.LDAPResultInvalidCredentials, ldap.LDAPResultNoSuchObject, ldap.LDAPResultInvalidDNSyntax, ldap.LDAPResultInappropriateAuthentication} {
		if ldap.IsErrorWithCode(err, code) {
			return ErrWrong
		}
	}
	return fmt.Errorf("ldap: %s: %w", doing, err)
}

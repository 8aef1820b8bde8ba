package vault

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/epinet/epi/apps/chat/config"
)

const (
	// openidTimeout bounds each request to a provider.
	openidTimeout = 10 * time.Second
	// openidRetry is how long a provider that could not be asked is left alone.
	openidRetry = 5 * time.Second
)

// An openID checks tokens that a provider of OpenID Connect has signed: JSON Web
// Tokens of its issuer, for this audience, that have not expired (OpenID Connect Core
// 1.0, 3.1.3.7). A token can be used until it expires.
type openID struct {
	config config.OpenID
	client *http.Client

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier // guarded by mu; nil: the provider was not asked yet
	failed   time.Time             // guarded by mu; when that was tried last
	err      error                 // guarded by mu; what came of it
}

// NewOpenID returns the provider of a configuration, which is asked for its keys when
// the first token comes.
func NewOpenID(c config.OpenID) (Provider, error) {
	u, err := url.Parse(c.Issuer)
	if err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())) {
		return nil, fmt.Errorf("openid.issuer %q: write https://HOST…, as the provider's tokens have it", c.Issuer)
	}
	if c.Audience == "" {
		return nil, fmt.Errorf("openid.audience is empty: write the client's ID that the provider has for this chat; without it, tokens for other programs would do here")
	}
	if c.Claim == "" {
		return nil, fmt.Errorf("openid.claim is empty: write the claim that has the name, such as preferred_username")
	}
	return &openID{config: c, client: &http.Client{Timeout: openidTimeout}}, nil
}

// Check is a method of Provider.
func (o *openID) Check(ctx context.Context, token string) (Identity, error) {
	verifier, err := o.ready(ctx)
	if err != nil {
		return Identity{}, err
	}
	verified, err := verifier.Verify(oidc.ClientContext(ctx, o.client), token)
	if err != nil {
		return Identity{}, ErrWrong
	}
	claims := map[string]any{}
	if err := verified.Claims(&claims); err != nil || verified.Subject == "" {
		return Identity{}, ErrWrong
	}
	who := Identity{Subject: subjectOf(verified.Issuer, verified.Subject)}
	who.Name, _ = claims[o.config.Claim].(string)
	if known, _ := claims["email_verified"].(bool); known {
		who.Email, _ = claims["email"].(string)
	}
	return who, nil
}

// ready returns what checks tokens, for which the provider is asked once.
func (o *openID) ready(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	o.mu.Lock()
	verifier, recent := o.verifier, o.err != nil && time.Since(o.failed) < openidRetry
	err := o.err
	o.mu.Unlock()
	if verifier != nil {
		return verifier, nil
	}
	if recent {
		return nil, err
	}
	// The keys are fetched again for as long as the program runs.
	provider, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), o.client), o.config.Issuer)
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.err, o.failed = fmt.Errorf("openid.issuer: %w", err), time.Now()
		return nil, o.err
	}
	o.verifier = provider.Verifier(&oidc.Config{ClientID: o.config.Audience})
	return o.verifier, nil
}

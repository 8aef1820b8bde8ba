package bots

import (
	"crypto/tls"
	"log/slog"
)

// anyCertificate accepts every certificate: bots play against servers on trial.
func anyCertificate() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// quiet keeps the engine's log away: bots say themselves what is wrong.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// Package config reads the configuration of a world: a TOML file over the defaults of
// world.toml, and single keys over both.
package config

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/epinet/epi/apps/internal/settings"
)

// Default is the configuration with every key, its default and what it means.
//
//go:embed world.toml
var Default string

// A Config is a whole configuration. Its fields are the keys of world.toml, which
// says what they mean.
type Config struct {
	Listen struct {
		Addresses []string `toml:"addresses"`
		Origins   []string `toml:"origins"`
	} `toml:"listen"`
	World struct {
		Seed     int `toml:"seed"`
		Width    int `toml:"width"`
		Height   int `toml:"height"`
		Hz       int `toml:"hz"`
		Monsters int `toml:"monsters"`
		Players  int `toml:"players"`

		Litter settings.Duration `toml:"litter"`
	} `toml:"world"`
	Store struct {
		Address string `toml:"address"`
	} `toml:"store"`
	Sessions struct {
		Lost     settings.Duration `toml:"lost"`
		Grace    settings.Duration `toml:"grace"`
		Hello    settings.Duration `toml:"hello"`
		Frame    int               `toml:"frame"`
		Conflate int               `toml:"conflate"`
		Queue    int               `toml:"queue"`
	} `toml:"sessions"`
	Talk struct {
		Rate  float64 `toml:"rate"`
		Burst int     `toml:"burst"`
	} `toml:"talk"`
	People struct {
		Moderators []string `toml:"moderators"`
		Banned     []string `toml:"banned"`
		Accounts   int      `toml:"accounts"`
	} `toml:"people"`
}

// Read returns the defaults, with the keys of file over them when it is not empty,
// and with sets, each KEY=VALUE, over both.
func Read(file string, sets []string) (*Config, error) {
	c := new(Config)
	from := settings.File{Default: Default, Name: file, Sets: sets, Command: "epi world config"}
	if err := from.Read(c); err != nil {
		return nil, err
	}
	return c, c.check()
}

// Moderators returns the names of people.moderators by the hashes of their keys.
func (c *Config) Moderators() (map[[sha256.Size]byte]string, error) {
	all := map[[sha256.Size]byte]string{}
	for _, entry := range c.People.Moderators {
		name, sum, _ := strings.Cut(entry, ":")
		hash, err := hex.DecodeString(sum)
		if err != nil || name == "" || len(hash) != sha256.Size {
			return nil, fmt.Errorf("people.moderators has %q: write NAME:HASH, with the SHA-256 of the key in hexadecimal", entry)
		}
		all[[sha256.Size]byte(hash)] = name
	}
	return all, nil
}

func (c *Config) check() error {
	within := func(n, least, most int) bool { return least <= n && n <= most }
	for _, rule := range []struct {
		key string
		ok  bool
		say string
	}{
		{"listen.addresses", len(c.Listen.Addresses) > 0, "name at least one address"},
		{"world.seed", within(c.World.Seed, 0, 1<<32-1), "it must be from 0 to 4294967295"},
		{"world.width", within(c.World.Width, 1, 64), "it must be from 1 to 64"},
		{"world.height", within(c.World.Height, 1, 64), "it must be from 1 to 64"},
		{"world.hz", within(c.World.Hz, 10, 60), "it must be from 10 to 60"},
		{"world.monsters", within(c.World.Monsters, 0, 100_000), "it must be from 0 to 100000"},
		{"world.players", within(c.World.Players, 1, 100_000), "it must be from 1 to 100000"},
		{"world.litter", c.World.Litter >= 0, "it cannot be negative"},
		{"sessions.grace", time.Duration(c.Sessions.Grace) <= time.Hour, "it must be at most an hour"},
		{"sessions.hello", c.Sessions.Hello > 0, "it must be above 0"},
		{"sessions.frame", within(c.Sessions.Frame, 1024, 1<<20), "it must be from 1024 to 1048576"},
		{"sessions.conflate", within(c.Sessions.Conflate, 1024, 1<<20), "it must be from 1024 to 1048576"},
		{"sessions.queue", c.Sessions.Queue >= c.Sessions.Conflate+c.Sessions.Frame, "it must be at least sessions.conflate and sessions.frame together"},
		{"talk.rate", c.Talk.Rate >= 0 && !math.IsInf(c.Talk.Rate, 0), "it must be a number from 0"},
		{"people.accounts", c.People.Accounts >= 0, "it cannot be negative; 0 is no limit"},
		{"talk.burst", c.Talk.Burst >= 1, "it must be at least 1"},
	} {
		if !rule.ok {
			value := settings.Key(c, rule.key)
			if d, ok := value.(settings.Duration); ok {
				value = time.Duration(d).String()
			}
			return fmt.Errorf("%s is %v: %s", rule.key, value, rule.say)
		}
	}
	_, err := c.Moderators()
	return err
}

// Command epi runs epi's servers.
package main

import (
	"os"

	"github.com/epinet/epi/apps/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr)) }

package cli

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/epinet/epi/apps/chat/config"
)

const installHelp = `Set a chat up as a service of systemd, for the public name HOST: it writes a unit
and, where there is none, a configuration with a certificate by ACME (Let's
Encrypt), redirection from HTTP, and strict transport security.

As another user than root, or with --dry-run, it prints the two files and writes
nothing.`

const installExample = `  epi chat install chat.example.org
  sudo epi chat install chat.example.org --email me@example.org
  sudo systemctl enable --now epi-chat && journalctl -u epi-chat`

// Where the service has its files. What lasts is where systemd keeps a service's state.
const (
	unitFile     = "/etc/systemd/system/epi-chat.service"
	settingsFile = "/etc/epi-chat/chat.toml"
)

//go:embed chat.service
var chatUnit string

// chatSettings is the configuration of a public server.
const chatSettings = `# epi chat for {{.Host}}. "epi chat config" prints every other key.

[server]
name = "{{.Host}}"

[listen]
addresses = ["wss://:443", "ircs://:6697", "irc://:6667"]
redirect = ":80"

[acme]
hosts = ["{{.Host}}"]
email = "{{.Email}}"

[sts]
port = 6697
`

// An installation is what the files are made of.
type installation struct {
	Host, Email string
	Program     string // absolute
	Settings    string // the file
	root        string // before all paths that are written
}

func chatInstallCommand() *cobra.Command {
	i := installation{Settings: settingsFile}
	dry := os.Geteuid() != 0
	cmd := &cobra.Command{
		Use:     "install HOST",
		Short:   "Set a chat up as a service of systemd",
		Long:    installHelp,
		Example: installExample,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			i.Host = args[0]
			if err := i.check(); err != nil {
				return err
			}
			files, err := i.files()
			if err != nil {
				return failure{err}
			}
			if err := i.install(cmd.OutOrStdout(), files, dry); err != nil {
				return failure{err}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&i.Email, "email", "", "`address` to which the authority writes when something is wrong with a certificate")
	cmd.Flags().StringVar(&i.Program, "program", "", "`file` of the program as the service is to start it (default this one)")
	cmd.Flags().StringVar(&i.root, "root", "", "`directory` that stands for /, for packages (default /)")
	cmd.Flags().BoolVar(&dry, "dry-run", dry, "print the files and write nothing (default where the user is not root)")
	return cmd
}

// check looks for what would make a service that does not start.
func (i *installation) check() error {
	if strings.ContainsAny(i.Email, "\"\\\r\n") {
		return fmt.Errorf("--email %q is no address", i.Email)
	}
	if _, err := config.Read("", []string{"acme.hosts=[\"" + i.Host + "\"]", "server.name=" + i.Host}); err != nil {
		return err
	}
	if i.Program == "" {
		program, err := os.Executable()
		if err != nil {
			return failure{fmt.Errorf("find this program: %w; name it by --program", err)}
		}
		i.Program = program
	}
	if !filepath.IsAbs(i.Program) || strings.ContainsAny(i.Program, " \t\r\n\"'\\%$") {
		return fmt.Errorf("--program %q: write an absolute path without spaces, quotes, %% and $", i.Program)
	}
	if strings.HasPrefix(i.Program, filepath.Clean(os.TempDir())+string(filepath.Separator)) {
		return fmt.Errorf("the program is %s, which will not last: put it into /usr/local/bin and run it from there, or name it by --program", i.Program)
	}
	return nil
}

// A setFile is one file of an installation.
type setFile struct {
	name    string
	content []byte
	keep    bool // one that is there stays
}

func (i *installation) files() ([]setFile, error) {
	unit, err := i.fill("unit", chatUnit)
	if err != nil {
		return nil, err
	}
	settings, err := i.fill("configuration", chatSettings)
	return []setFile{{name: unitFile, content: unit}, {name: settingsFile, content: settings, keep: true}}, err
}

func (i *installation) fill(name, text string) ([]byte, error) {
	var b bytes.Buffer
	err := template.Must(template.New(name).Parse(text)).Execute(&b, i)
	return b.Bytes(), err
}

const installed = `
Now let systemd see it, start it, and open the link that it prints, by which the
administrator's account is made:

  systemctl daemon-reload
  systemctl enable --now epi-chat
  journalctl -u epi-chat
`

// install writes the files, or prints them.
func (i *installation) install(out io.Writer, files []setFile, dry bool) error {
	if !dry && runtime.GOOS != "linux" {
		return errors.New("systemd is of Linux: --dry-run prints the files")
	}
	for _, f := range files {
		if dry {
			if _, err := fmt.Fprintf(out, "# %s\n%s\n", f.name, f.content); err != nil {
				return err
			}
			continue
		}
		done, err := f.write(i.root)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, "%s %s\n", done, filepath.Join(i.root, f.name)); err != nil {
			return err
		}
	}
	if dry {
		return nil
	}
	_, err := io.WriteString(out, installed)
	return err
}

// write puts a file in its place as a whole, and says what it has done.
func (f *setFile) write(root string) (done string, err error) {
	name := filepath.Join(root, f.name)
	if _, err := os.Lstat(name); f.keep && !errors.Is(err, fs.ErrNotExist) {
		return "kept ", err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return "", err
	}
	fresh := name + ".new"
	if err := os.WriteFile(fresh, f.content, 0o644); err != nil {
		return "", err
	}
	return "wrote", os.Rename(fresh, name)
}

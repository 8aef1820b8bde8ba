package store_test

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/epinet/epi/apps/world/store"
	"github.com/epinet/epi/apps/world/store/storetest"
	"github.com/epinet/epi/internal/epitest"
)

// A postgres is a server of PostgreSQL of this test's own, on a socket of its own.
type postgres struct {
	dir string
	cmd *exec.Cmd
	as  *syscall.SysProcAttr
	bin string

	databases int // made
}

// postgresTools returns where initdb and postgres are, or skips the test by name.
func postgresTools(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err == nil && len(found) > 0 {
		return filepath.Dir(slices.Max(found))
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		t.Skip("PostgreSQL is not installed (Debian: postgresql): its store is not tested")
	}
	return filepath.Dir(path)
}

// startPostgres starts a server that ends with the test. It refuses to run as root, so
// root lends it another user.
func startPostgres(t *testing.T) *postgres {
	t.Helper()
	bin := postgresTools(t)
	dir, err := os.MkdirTemp("/tmp", "epi-postgres-") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // what is left is in /tmp
	p := &postgres{dir: dir, bin: bin, as: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}}
	if os.Geteuid() == 0 {
		p.lendUser(t)
	}
	p.run(t, "initdb", "-D", filepath.Join(dir, "data"), "-U", "epi", "-A", "trust", "--no-sync", "--no-instructions", "-E", "UTF8", "--locale=C")
	p.start(t)
	t.Cleanup(p.stop)
	return p
}

func (p *postgres) lendUser(t *testing.T) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.Atoi(u.Uid)
		gid, errGID := strconv.Atoi(u.Gid)
		if errUID != nil || errGID != nil {
			continue
		}
		if err := os.Chown(p.dir, uid, gid); err != nil {
			t.Fatal(err)
		}
		p.as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		return
	}
	t.Skip("PostgreSQL does not run as root, and there is no user postgres or nobody: its store is not tested")
}

func (p *postgres) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bin, name), args...)
	cmd.Dir, cmd.SysProcAttr = p.dir, p.as
	return cmd
}

func (p *postgres) run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := p.command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}

func (p *postgres) start(t *testing.T) {
	t.Helper()
	p.cmd = p.command("postgres", "-D", filepath.Join(p.dir, "data"), "-k", p.dir, "-c", "listen_addresses=", "-c", "shared_buffers=16MB", "-c", "log_min_messages=fatal")
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	epitest.WaitUntil(t, "PostgreSQL has started", func() bool { return p.command("pg_isready", "-q", "-h", p.dir).Run() == nil })
}

// stop ends the server at once, and waits for it.
func (p *postgres) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGQUIT)
	_ = p.cmd.Wait() // its code says that it was told to
}

// each signals the processes of the server that serve connections.
func (p *postgres) each(t *testing.T, sig syscall.Signal) {
	t.Helper()
	out, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, child := range strings.Fields(string(out)) {
		pid, err := strconv.Atoi(child)
		if err != nil {
			t.Fatal(err)
		}
		_ = syscall.Kill(pid, sig) // it may have ended meanwhile
	}
}

// address is that of a schema: making one is quicker than making a database.
func (p *postgres) address(schema string) string {
	u := url.URL{Scheme: "postgres", User: url.User("epi"), Path: "/postgres", RawQuery: url.Values{"host": {p.dir}, "search_path": {schema}}.Encode()}
	return u.String()
}

// create makes room for a store and returns its address.
func (p *postgres) create(t *testing.T) string {
	t.Helper()
	p.databases++
	name := fmt.Sprint("world", p.databases)
	execute(t, "pgx", p.address("public"), "CREATE SCHEMA "+name)
	return p.address(name)
}

// TestPostgres has one server for all that is tested with it.
func TestPostgres(t *testing.T) {
	p := startPostgres(t)
	t.Run("Conforms", func(t *testing.T) {
		storetest.Conform(t, func(t *testing.T) store.Store { return open(t, p.create(t)) })
	})
	t.Run("Agrees", func(t *testing.T) {
		s := open(t, p.create(t))
		defer closeStore(t, s)
		storetest.Agree(t, 18, s, openMemory(t), 20)
	})
	t.Run("StoppedForAWhile", func(t *testing.T) { stoppedDatabase(t, p) })
	t.Run("LostInACommit", func(t *testing.T) { lostConnection(t, p) })
	t.Run("KilledClient", func(t *testing.T) { killAgain(t, p.create(t), 1) })
	t.Run("OneServer", func(t *testing.T) { claims(t, p.create(t)) })
	t.Run("StoppedUnderAWorld", func(t *testing.T) { stoppedUnderAWorld(t, p) })
	t.Run("NotOurs", func(t *testing.T) { foreignDatabases(t, p) })
}

// While the database is stopped nothing is acknowledged, and nobody who writes waits.
func stoppedDatabase(t *testing.T, p *postgres) {
	s := open(t, p.create(t))
	defer closeStore(t, s)
	storetest.Apply(t, s, storetest.Person(1))
	w := store.NewWriter(s, nil)
	p.each(t, syscall.SIGSTOP)
	goOn := sync.OnceFunc(func() { p.each(t, syscall.SIGCONT) })
	defer goOn()
	results := make(chan error, 3*store.MaxWaiting)
	const asked = store.MaxWaiting + 1000
	const gold = 500
	for n := range asked {
		write := store.Write(store.MakeGold{Character: 1, Amount: 1})
		if n >= gold {
			write = store.MakeGold{Character: 1} // which is refused without the database
		}
		w.Write(write, func(err error) { results <- err })
	}
	w.Save(store.Save{Character: 1, Soft: store.Soft{Version: 1, X: 5}})
	busy, done := 0, 0
	for busy == 0 { // the database is stopped until one is refused
		switch err := <-results; {
		case errors.Is(err, store.ErrBusy):
			busy++
		case err == nil: // over a connection that was made since
			done++
		default:
			t.Fatalf("while the database was stopped: %v", err)
		}
	}
	goOn()
	for busy+done < asked {
		switch err := <-results; {
		case err == nil, errors.Is(err, store.ErrAmount):
			done++
		case errors.Is(err, store.ErrBusy):
			busy++
		default:
			t.Fatal(err)
		}
	}
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	_, c, err := s.Account(ctx, "player1")
	if err != nil || c.Gold != gold || c.X != 5 || done < store.MaxWaiting {
		t.Errorf("%d done, %d busy: %+v, %v", done, busy, c, err)
	}
	storetest.Clean(t, s)
}

// The processes that serve connections are killed again and again: what was
// acknowledged is there, and what failed is not.
func lostConnection(t *testing.T, p *postgres) {
	s := open(t, p.create(t))
	defer closeStore(t, s)
	storetest.Apply(t, s, storetest.Person(1))
	w := store.NewWriter(s, nil)
	var done, failed int64
	for round := range 12 {
		const writes = 20
		results := make(chan error, writes)
		for n := range writes {
			if n == 1+round {
				p.each(t, syscall.SIGTERM)
			}
			w.Write(store.MakeGold{Character: 1, Amount: 1}, func(err error) { results <- err })
		}
		for range writes {
			if err := <-results; err == nil {
				done++
			} else {
				failed++
			}
		}
	}
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	_, c, err := s.Account(ctx, "player1")
	for range 50 {
		if err == nil {
			break
		}
		_, c, err = s.Account(ctx, "player1") // a connection of the pool that was killed, too
	}
	if err != nil || c.Gold != done {
		t.Errorf("%d done, %d failed: %+v, %v", done, failed, c, err)
	}
}

func foreignDatabases(t *testing.T, p *postgres) {
	address := p.create(t)
	execute(t, "pgx", address, "CREATE TABLE other (a int)")
	if _, err := store.Open(ctx, address); !errors.Is(err, store.ErrForeign) {
		t.Errorf("another's database: %v", err)
	}
	execute(t, "pgx", address, "DROP TABLE other")
	closeStore(t, open(t, address))
	execute(t, "pgx", address, "UPDATE epi_world SET version = 999")
	if _, err := store.Open(ctx, address); !errors.Is(err, store.ErrNewer) {
		t.Errorf("a newer database: %v", err)
	}
}

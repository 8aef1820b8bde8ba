package hall

import "testing"

func TestOneUser(t *testing.T) {
	w := newWorld(t, Config{})
	alice := w.open("alice", Origin{Host: "a.example", Address: "192.0.2.1"})
	for _, line := range []string{"NICK alice", "USER alice 0 * :Alice", "JOIN #a", "PRIVMSG #a hi", "WHO #a"} {
		w.line(alice, line)
		w.healthy()
	}
	if w.hall.Users() != 1 || w.hall.Channels() != 1 {
		t.Errorf("%d users in %d channels, want 1 in 1", w.hall.Users(), w.hall.Channels())
	}
	w.line(alice, "QUIT")
	w.healthy()
	if w.hall.Users()+w.hall.Channels()+w.hall.Sessions() != 0 {
		t.Error("something is left when everybody has gone")
	}
}

package poll

// CountsMilliseconds reports whether an epoll poller has given up epoll_pwait2.
func CountsMilliseconds(p Poller) bool { return p.(*epoll).msOnly.Load() }

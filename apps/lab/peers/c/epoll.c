/* An echo server on epoll, level triggered: the least that C has to do. It is
   the reference that the others are compared with. */
#define _GNU_SOURCE
#include "listen.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { MAX_EVENTS = 256 };

/* A connection's record is found through the event's pointer. */
struct conn {
	int fd;
	int waiting;  /* for room to write */
	size_t begin; /* pending[begin..end) is still to be written */
	size_t end;
	char *pending; /* NULL when nothing is */
};

static int ep;
static char buffer[BUFFER_SIZE];

static void watch(struct conn *c, int op, unsigned events)
{
	struct epoll_event ev = {.events = events, .data.ptr = c};
	if (epoll_ctl(ep, op, c->fd, &ev) < 0)
		die("epoll_ctl");
}

static void finish(struct conn *c)
{
	close(c->fd);
	free(c->pending);
	free(c);
}

static void accept_all(int listener)
{
	int fd;
	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct conn *c = calloc(1, sizeof *c);
		if (c == NULL)
			die("calloc");
		c->fd = fd;
		watch(c, EPOLL_CTL_ADD, EPOLLIN);
	}
}

/* keep stores what the socket did not take and waits for room; reading waits too. */
static void keep(struct conn *c, const char *rest, size_t size)
{
	c->pending = malloc(size);
	if (c->pending == NULL)
		die("malloc");
	memcpy(c->pending, rest, size);
	c->begin = 0;
	c->end = size;
	c->waiting = 1;
	watch(c, EPOLL_CTL_MOD, EPOLLOUT);
}

/* on_readable returns 0 when the connection has ended. */
static int on_readable(struct conn *c)
{
	ssize_t n = read(c->fd, buffer, sizeof buffer);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		return 0;
	ssize_t sent = write(c->fd, buffer, n);
	if (sent < 0) {
		if (errno != EAGAIN)
			return 0;
		sent = 0;
	}
	if (sent < n)
		keep(c, buffer + sent, n - sent);
	return 1;
}

static int on_writable(struct conn *c)
{
	ssize_t n = write(c->fd, c->pending + c->begin, c->end - c->begin);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->begin += n;
	if (c->begin < c->end)
		return 1;
	free(c->pending);
	c->pending = NULL;
	c->waiting = 0;
	watch(c, EPOLL_CTL_MOD, EPOLLIN);
	return 1;
}

int main(int argc, char **argv)
{
	struct sockaddr_in addr = parse_address(argc, argv);
	struct conn listener = {.fd = listen_at(&addr, SOCK_NONBLOCK)};
	ep = epoll_create1(EPOLL_CLOEXEC);
	if (ep < 0)
		die("epoll_create1");
	watch(&listener, EPOLL_CTL_ADD, EPOLLIN);
	say_listening();

	struct epoll_event events[MAX_EVENTS];
	for (;;) {
		int n = epoll_wait(ep, events, MAX_EVENTS, -1);
		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++) {
			struct conn *c = events[i].data.ptr;
			if (c == &listener)
				accept_all(c->fd);
			else if (!(c->waiting ? on_writable(c) : on_readable(c)))
				finish(c);
		}
	}
}

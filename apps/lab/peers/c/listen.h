/* What the C servers share: the address, the listening socket, the fatal error. */
#ifndef LISTEN_H
#define LISTEN_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BUFFER_SIZE = 64 << 10 };

static inline void die(const char *what)
{
	perror(what);
	exit(1);
}

/* parse_address reads IPv4:PORT, the only argument of every server. */
static inline struct sockaddr_in parse_address(int argc, char **argv)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	char *colon = argc == 2 ? strrchr(argv[1], ':') : NULL;
	if (colon == NULL) {
		fprintf(stderr, "usage: %s IPv4:PORT\n", argv[0]);
		exit(2);
	}
	addr.sin_port = htons(atoi(colon + 1));
	*colon = '\0';
	if (inet_pton(AF_INET, argv[1], &addr.sin_addr) != 1) {
		fprintf(stderr, "%s is not an IPv4 address\n", argv[1]);
		exit(2);
	}
	return addr;
}

/* listen_at returns a listening socket, whose connections have TCP_NODELAY from it. */
static inline int listen_at(const struct sockaddr_in *addr, int flags)
{
	int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (bind(fd, (const struct sockaddr *)addr, sizeof *addr) < 0)
		die("bind");
	if (listen(fd, SOMAXCONN) < 0)
		die("listen");
	return fd;
}

/* say_listening lets the laboratory know that clients may come. */
static inline void say_listening(void)
{
	puts("listening");
	fflush(stdout);
}

#endif

/* An echo server on io_uring, on one thread: multishot accept and receive, into
   buffers that the kernel chooses from one ring, and out of these it sends.
   Needs Linux 6.1. Build: gcc -O2 -o uring uring.c -luring */
#define _GNU_SOURCE
#include "listen.h"

#include <errno.h>
#include <liburing.h>
#include <unistd.h>

/* A buffer holds the largest message of the loads: smaller buffers send it in
   pieces, at several times the cost. More buffers cost no less, nor do buffers
   that are filled one message behind the other (IOU_PBUF_RING_INC). */
enum {
	BUFFERS = 256, /* a power of two */
	SQ_ENTRIES = 1024,
	CQ_ENTRIES = 8192, /* the kernel keeps what has no room */
	MAX_QUEUED = 8,    /* a connection with more to send receives no more */
};

/* What a completion is of; it stands in the low bits of the connection's address. */
enum operation { ACCEPT, RECEIVE, SEND, CANCEL, OPERATIONS };

/* A piece is what one receive gave, as far as it is still to be sent. */
struct piece {
	struct piece *next; /* of the same connection */
	char *bytes;
	int size;
};

/* A connection sends its pieces one by one, in the order of their arrival. When
   the socket has no more room it waits with copies of them and receives no
   more: one whose peer does not read keeps no buffer from the others. */
struct conn {
	int fd;
	int receiving; /* until the kernel says that it has ended */
	int sending;
	int waiting; /* for room to send; then all pieces are copies */
	int starved; /* of buffers to receive into */
	int ended;   /* nothing more is to be received */
	int queued;  /* pieces from first to last */
	struct piece *first;
	struct piece *last;
	struct conn *next_starved;
};

static struct io_uring ring;
static int listener;

static _Alignas(4096) char memory[BUFFERS][BUFFER_SIZE];
static struct piece in_buffer[BUFFERS];   /* the pieces that are no copies */
static struct io_uring_buf_ring *offered; /* what the kernel may choose from */
static int available;                     /* how many these are */
static int returned;                      /* how many come in the next round */

static struct conn *starved;
static struct conn **starved_end = &starved;

static void check(int result, const char *what)
{
	if (result < 0) {
		errno = -result;
		die(what);
	}
}

static void *allocate(size_t size)
{
	void *p = calloc(1, size);
	if (p == NULL)
		die("calloc");
	return p;
}

static struct io_uring_sqe *next_sqe(void)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	if (sqe == NULL) {
		check(io_uring_submit(&ring), "io_uring_submit");
		sqe = io_uring_get_sqe(&ring);
	}
	if (sqe == NULL)
		die("io_uring_get_sqe");
	return sqe;
}

static __u64 tag(struct conn *c, enum operation op) { return (uintptr_t)c | op; }

static void start_accept(void)
{
	struct io_uring_sqe *sqe = next_sqe();
	io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
	io_uring_sqe_set_data64(sqe, tag(NULL, ACCEPT));
}

static void start_receive(struct conn *c)
{
	struct io_uring_sqe *sqe = next_sqe();
	io_uring_prep_recv_multishot(sqe, c->fd, NULL, 0, 0);
	io_uring_sqe_set_flags(sqe, IOSQE_BUFFER_SELECT); /* of group 0 */
	io_uring_sqe_set_data64(sqe, tag(c, RECEIVE));
	c->receiving = 1;
}

static void stop_receive(struct conn *c)
{
	struct io_uring_sqe *sqe = next_sqe();
	io_uring_prep_cancel64(sqe, tag(c, RECEIVE), 0);
	io_uring_sqe_set_data64(sqe, tag(NULL, CANCEL));
}

/* Out of a buffer it sends what has room now; copies may take their time. */
static void start_send(struct conn *c)
{
	struct io_uring_sqe *sqe = next_sqe();
	int flags = MSG_NOSIGNAL | (c->waiting ? 0 : MSG_DONTWAIT);
	io_uring_prep_send(sqe, c->fd, c->first->bytes, c->first->size, flags);
	io_uring_sqe_set_data64(sqe, tag(c, SEND));
	c->sending = 1;
}

static void give_back(int id)
{
	io_uring_buf_ring_add(offered, memory[id], BUFFER_SIZE, id, io_uring_buf_ring_mask(BUFFERS), returned++);
}

static void release(struct piece *p)
{
	if (p >= in_buffer && p < in_buffer + BUFFERS)
		give_back(p - in_buffer);
	else
		free(p);
}

/* push appends a piece; one that is to wait leaves its buffer. */
static void push(struct conn *c, struct piece *p)
{
	if (c->waiting) {
		struct piece *copy = allocate(sizeof *copy + p->size);
		copy->bytes = memcpy(copy + 1, p->bytes, p->size);
		copy->size = p->size;
		release(p);
		p = copy;
	}
	p->next = NULL;
	if (c->first == NULL)
		c->first = p;
	else
		c->last->next = p;
	c->last = p;
	c->queued++;
}

/* pop takes the first piece out, which is still to be released. */
static struct piece *pop(struct conn *c)
{
	struct piece *p = c->first;
	c->first = p->next;
	c->queued--;
	return p;
}

/* wait_for_room copies all pieces. */
static void wait_for_room(struct conn *c)
{
	c->waiting = 1;
	for (int n = c->queued; n > 0; n--)
		push(c, pop(c));
	if (c->receiving)
		stop_receive(c);
}

/* proceed starts what c can do now, or ends it. */
static void proceed(struct conn *c)
{
	if (c->first != NULL && !c->sending)
		start_send(c);
	if (c->receiving || c->sending || c->starved)
		return;
	if (!c->ended) {
		start_receive(c);
		return;
	}
	close(c->fd);
	free(c);
}

static void starve(struct conn *c)
{
	c->starved = 1;
	c->next_starved = NULL;
	*starved_end = c;
	starved_end = &c->next_starved;
}

/* feed lets as many connections receive again as there are buffers. */
static void feed(void)
{
	for (int n = available; n > 0 && starved != NULL; n--) {
		struct conn *c = starved;
		starved = c->next_starved;
		if (starved == NULL)
			starved_end = &starved;
		c->starved = 0;
		proceed(c);
	}
}

static void on_accepted(int fd, unsigned flags)
{
	if (!(flags & IORING_CQE_F_MORE))
		start_accept();
	if (fd < 0)
		return;
	struct conn *c = allocate(sizeof *c);
	c->fd = fd;
	proceed(c);
}

static void on_received(struct conn *c, int result, unsigned flags)
{
	c->receiving = (flags & IORING_CQE_F_MORE) != 0;
	if (flags & IORING_CQE_F_BUFFER) {
		int id = flags >> IORING_CQE_BUFFER_SHIFT;
		available--;
		in_buffer[id].bytes = memory[id];
		in_buffer[id].size = result;
		push(c, &in_buffer[id]);
		if (c->queued == MAX_QUEUED && c->receiving)
			stop_receive(c);
	}
	if (result == -ENOBUFS)
		starve(c);
	else if (result <= 0 && result != -ECANCELED)
		c->ended = 1;
	proceed(c);
}

static void on_sent(struct conn *c, int result)
{
	c->sending = 0;
	if (result < 0 && result != -EAGAIN) {
		while (c->first != NULL)
			release(pop(c));
		c->ended = 1;
		shutdown(c->fd, SHUT_RDWR); /* ends receiving */
		proceed(c);
		return;
	}
	int sent = result > 0 ? result : 0;
	c->first->bytes += sent;
	c->first->size -= sent;
	if (c->first->size == 0)
		release(pop(c));
	else if (!c->waiting)
		wait_for_room(c);
	if (c->first == NULL)
		c->waiting = 0;
	proceed(c);
}

static void on_completion(struct io_uring_cqe *cqe)
{
	struct conn *c = (struct conn *)(uintptr_t)(cqe->user_data & ~(__u64)(OPERATIONS - 1));
	switch (cqe->user_data & (OPERATIONS - 1)) {
	case ACCEPT:
		on_accepted(cqe->res, cqe->flags);
		break;
	case RECEIVE:
		on_received(c, cqe->res, cqe->flags);
		break;
	case SEND:
		on_sent(c, cqe->res);
		break;
	}
}

static void set_up(void)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
		.cq_entries = CQ_ENTRIES,
	};
	check(io_uring_queue_init_params(SQ_ENTRIES, &ring, &params), "io_uring_queue_init_params");
	check(io_uring_register_ring_fd(&ring), "io_uring_register_ring_fd");
	offered = aligned_alloc(4096, BUFFERS * sizeof(struct io_uring_buf));
	if (offered == NULL)
		die("aligned_alloc");
	struct io_uring_buf_reg group = {.ring_addr = (uintptr_t)offered, .ring_entries = BUFFERS, .bgid = 0};
	check(io_uring_register_buf_ring(&ring, &group, 0), "io_uring_register_buf_ring");
	io_uring_buf_ring_init(offered);
	for (int id = 0; id < BUFFERS; id++)
		give_back(id);
}

int main(int argc, char **argv)
{
	struct sockaddr_in addr = parse_address(argc, argv);
	listener = listen_at(&addr, 0);
	set_up();
	start_accept();
	say_listening();
	for (;;) {
		io_uring_buf_ring_advance(offered, returned);
		available += returned;
		returned = 0;
		feed();
		int result = io_uring_submit_and_wait(&ring, 1);
		if (result != -EINTR && result != -EBUSY) /* busy: the completion queue is to be emptied first */
			check(result, "io_uring_submit_and_wait");
		struct io_uring_cqe *cqe;
		unsigned head, n = 0;
		io_uring_for_each_cqe(&ring, head, cqe) {
			on_completion(cqe);
			n++;
		}
		io_uring_cq_advance(&ring, n);
	}
}

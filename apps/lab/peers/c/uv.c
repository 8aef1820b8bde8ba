/* An echo server on libuv. Build: gcc -O2 -o uv uv.c -luv */
#include "listen.h"

#include <uv.h>

/* Every read uses this buffer; a write that does not finish at once gets a
   copy, so the buffer is free again when the callback returns. */
static char buffer[BUFFER_SIZE];

struct pending {
	uv_write_t request;
	char bytes[];
};

static void on_closed(uv_handle_t *handle) { free(handle); }

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	(void)handle;
	(void)suggested;
	*buf = uv_buf_init(buffer, sizeof buffer);
}

static void on_written(uv_write_t *request, int status)
{
	if (status < 0 && !uv_is_closing((uv_handle_t *)request->handle))
		uv_close((uv_handle_t *)request->handle, on_closed);
	free(request);
}

static void write_rest(uv_stream_t *stream, const char *bytes, size_t size)
{
	struct pending *p = malloc(sizeof *p + size);
	if (p == NULL)
		die("malloc");
	memcpy(p->bytes, bytes, size);
	uv_buf_t buf = uv_buf_init(p->bytes, size);
	uv_write(&p->request, stream, &buf, 1, on_written);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	if (n < 0) {
		uv_close((uv_handle_t *)stream, on_closed);
		return;
	}
	if (n == 0)
		return;
	uv_buf_t out = uv_buf_init(buf->base, n);
	int sent = uv_try_write(stream, &out, 1);
	if (sent < 0)
		sent = 0;
	if (sent < n)
		write_rest(stream, buf->base + sent, n - sent);
}

static void on_connection(uv_stream_t *server, int status)
{
	if (status < 0)
		return;
	uv_tcp_t *client = malloc(sizeof *client);
	if (client == NULL)
		die("malloc");
	uv_tcp_init(server->loop, client);
	if (uv_accept(server, (uv_stream_t *)client) < 0) {
		uv_close((uv_handle_t *)client, on_closed);
		return;
	}
	uv_tcp_nodelay(client, 1);
	uv_read_start((uv_stream_t *)client, on_alloc, on_read);
}

int main(int argc, char **argv)
{
	struct sockaddr_in addr = parse_address(argc, argv);
	uv_loop_t *loop = uv_default_loop();
	uv_tcp_t server;
	uv_tcp_init(loop, &server);
	int err = uv_tcp_bind(&server, (const struct sockaddr *)&addr, 0);
	if (err == 0)
		err = uv_listen((uv_stream_t *)&server, SOMAXCONN, on_connection);
	if (err < 0) {
		fprintf(stderr, "listen: %s\n", uv_strerror(err));
		return 1;
	}
	say_listening();
	return uv_run(loop, UV_RUN_DEFAULT);
}

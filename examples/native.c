/*
 * native.get(address, port, path) -> bytes: an HTTP client as extensions have it
 *
 * Connects, sends and receives while other Python threads run. HTTP/1.0, so that the end of the
 * connection is the end of the answer. Compiled by native.sh.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int open_to(const char *address, int port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};

	if (inet_pton(AF_INET, address, &to.sin_addr) != 1) {
		errno = EINVAL;
		return -1;
	}
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Returns how much was received into answer, or -1, also when all of it is used. */
static ssize_t ask(int fd, const char *path, char *answer, size_t size)
{
	char head[1024];
	int length = snprintf(head, sizeof head, "GET %s HTTP/1.0\r\nHost: native\r\n\r\n", path);
	size_t got = 0;
	ssize_t part;

	if (length >= (int)sizeof head) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (send(fd, head, length, MSG_NOSIGNAL) != length)
		return -1;
	while ((part = recv(fd, answer + got, size - got, 0)) > 0)
		got += part;
	if (got == size) {
		errno = EMSGSIZE;
		return -1;
	}
	return part < 0 ? -1 : (ssize_t)got;
}

static PyObject *body_of(const char *answer, size_t length)
{
	const char *end = memmem(answer, length, "\r\n\r\n", 4);

	if (!end) {
		PyErr_SetString(PyExc_ValueError, "not an answer");
		return NULL;
	}
	return PyBytes_FromStringAndSize(end + 4, answer + length - (end + 4));
}

static PyObject *get(PyObject *self, PyObject *args)
{
	const char *address, *path;
	char answer[16384];
	ssize_t length = -1;
	int port;

	if (!PyArg_ParseTuple(args, "sis", &address, &port, &path))
		return NULL;
	Py_BEGIN_ALLOW_THREADS;
	int fd = open_to(address, port);
	if (fd >= 0) {
		length = ask(fd, path, answer, sizeof answer);
		close(fd);
	}
	Py_END_ALLOW_THREADS;
	if (length < 0)
		return PyErr_SetFromErrno(PyExc_OSError);
	return body_of(answer, length);
}

static PyMethodDef methods[] = {
	{"get", get, METH_VARARGS, "get(address, port, path) -> bytes"},
	{0},
};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "native", NULL, -1, methods};

PyMODINIT_FUNC PyInit_native(void)
{
	return PyModule_Create(&module);
}

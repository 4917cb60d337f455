/*
 * A client of HTTP/1.1 on our loop; see client.h.
 *
 * curl tells which sockets it waits for and when it wants a turn; nothing in it waits. It has no
 * signal, no proxy, no login, no cookie and no redirection but what is set here. A request on a
 * connection that turns out to have ended is repeated by curl on its own, unseen; the second
 * attempt is stopped (begin), because then nobody would know that it may arrive twice.
 */
#include "reporter/plugins/http/client.h"

#include <curl/curl.h>
#include <stdio.h>
#include <sys/epoll.h>

#include "preload/sys.h"
#include "reporter/plugins/http/sockets.h"
#include "reporter/plugins/trust.h"

#define TURNS_MAX 16
#define READ_BYTES 4096l
/* Of a body, as much at once: that of a usual batch as a whole, or each part needs an event. */
#define WRITE_BYTES (256l << 10)

struct call {
	CURL *easy; /* Owned */
	bool underway;
	unsigned begun; /* how often a request was about to be sent */
	bool headed;	/* the head of an answer came to its end */
	void *owner;
	size_t size;
	struct curl_slist *addresses; /* Owned; curl reads it in its next turn */
	char error[CURL_ERROR_SIZE];
};

static struct {
	CURLM *multi;		    /* Owned */
	struct curl_slist *headers; /* Owned */
	struct call calls[SW_CLIENT_CALLS];
	unsigned underway;
	uint64_t due_ns; /* curl's timer; 0: none */
	uint64_t stirred_ns;
	struct sw_client_wish wish;
} client;

/* ---- what curl asks for, within its turns ---- */

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	(void)arg, (void)purpose;
	return sw_sockets_open(address->family, address->socktype, address->protocol);
}

static int close_socket(void *arg, curl_socket_t fd)
{
	(void)arg;
	sw_sockets_close(fd);
	return 0;
}

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *more)
{
	static const uint32_t events[] = {
		[CURL_POLL_NONE] = 0,	    [CURL_POLL_IN] = EPOLLIN,
		[CURL_POLL_OUT] = EPOLLOUT, [CURL_POLL_INOUT] = EPOLLIN | EPOLLOUT,
		[CURL_POLL_REMOVE] = 0,
	};

	(void)easy, (void)arg, (void)more;
	sw_sockets_watch(fd, events[what]);
	return 0;
}

static int set_timer(CURLM *multi, long ms, void *arg)
{
	(void)multi, (void)arg;
	client.due_ns = ms < 0 ? 0 : sw_clock_ns(CLOCK_MONOTONIC) + (uint64_t)ms * 1000000u;
	return 0;
}

static int begin(void *arg, char *there, char *here, int port_there, int port_here)
{
	struct call *call = arg;

	(void)there, (void)here, (void)port_there, (void)port_here;
	return call->begun++ ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static size_t swallow(char *bytes, size_t size, size_t count, void *arg)
{
	(void)bytes, (void)arg;
	return size * count;
}

/* A head that breaks off is none; for curl it is one. Each of several begins with its status; lines
 * after the last are a chunked body's. */
static size_t note_head(char *line, size_t size, size_t count, void *arg)
{
	struct call *call = arg;

	if (size * count > 5 && memcmp(line, "HTTP/", 5) == 0)
		call->headed = false;
	else if (line[0] == '\r' || line[0] == '\n')
		call->headed = true;
	return size * count;
}

/* ---- making ---- */

/* A text of ours where there is nobody: curl has a default of its own, which would be a surprise,
 * and says that it cannot read this one. */
#define NOBODY "/etc/ssl/certs/ca-certificates.crt"

static void set_trust(CURL *easy, const struct sw_client_wish *wish)
{
	struct sw_tls_wish given = {
		.ca = wish->ca, .store_file = wish->store_file, .store_folder = wish->store_folder};
	struct sw_trust trust = sw_trust_find(&given);

	/* curl, unlike OpenSSL, wants the file to be there also beside a folder */
	if (trust.folder && trust.file && sw_sys(faccessat, AT_FDCWD, trust.file, R_OK))
		trust.file = NULL;
	if (!trust.folder && !trust.file)
		trust.file = NOBODY;
	curl_easy_setopt(easy, CURLOPT_CAPATH, trust.folder);
	curl_easy_setopt(easy, CURLOPT_CAINFO, trust.file);
}

static void set_tls(CURL *easy)
{
	const struct sw_client_wish *wish = &client.wish;

	set_trust(easy, wish);
	if (wish->chain[0])
		curl_easy_setopt(easy, CURLOPT_SSLCERT, wish->chain);
	if (wish->key[0])
		curl_easy_setopt(easy, CURLOPT_SSLKEY, wish->key);
}

/* An empty proxy is none; that it is set keeps curl from asking the environment. */
static void set_way(CURL *easy)
{
	const struct sw_client_wish *wish = &client.wish;

	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, wish->tls ? "https" : "http");
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_PROXY, wish->proxy);
	curl_easy_setopt(easy, CURLOPT_NOPROXY, "");
	if (wish->proxy_user[0])
		curl_easy_setopt(easy, CURLOPT_PROXYUSERPWD, wish->proxy_user);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)wish->connect_ms);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)wish->call_ms);
	if (wish->tls)
		set_tls(easy);
}

static void set_up(struct call *call)
{
	CURL *easy = call->easy;

	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1l);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error);
	curl_easy_setopt(easy, CURLOPT_POST, 1l);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, client.headers);
	curl_easy_setopt(easy, CURLOPT_PROXYHEADER, NULL);
	curl_easy_setopt(easy, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, READ_BYTES);
	curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, WRITE_BYTES);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, swallow);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, note_head);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, begin);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, call);
	set_way(easy);
}

static bool add_header(const char *line)
{
	struct curl_slist *longer = curl_slist_append(client.headers, line);

	if (longer)
		client.headers = longer;
	return longer != NULL;
}

/* A token is one line: a second one would be a header that nobody meant. */
static bool make_headers(void)
{
	const char *token = client.wish.token;
	char line[1100];

	if (!add_header("Content-Type: application/json; charset=utf-8") || !add_header("Expect:"))
		return false;
	if (!token[0] || strpbrk(token, "\r\n"))
		return true;
	snprintf(line, sizeof(line), "authentication: %s", token);
	return add_header(line);
}

static bool make_multi(void)
{
	client.multi = curl_multi_init();
	if (!client.multi)
		return false;
	curl_multi_setopt(client.multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(client.multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(client.multi, CURLMOPT_MAXCONNECTS, (long)SW_CLIENT_CALLS);
	curl_multi_setopt(client.multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	return true;
}

static bool make_calls(void)
{
	for (int i = 0; i < SW_CLIENT_CALLS; i++) {
		client.calls[i].easy = curl_easy_init();
		if (!client.calls[i].easy)
			return false;
		set_up(&client.calls[i]);
	}
	return true;
}

static void happened(int fd, uint32_t events);

int sw_client_open(struct sw_agent *agent, const struct sw_client_wish *wish)
{
	memset(&client, 0, sizeof(client)); /* a fork may have found the parent's thread in here */
	client.wish = *wish;
	sw_sockets_start(&agent->loop, happened, wish->call_ms);
	if (make_multi() && make_headers() && make_calls())
		return 0;
	sw_client_close();
	return -ENOMEM;
}

/* ---- a call ---- */

static struct call *find_free(void)
{
	for (int i = 0; i < SW_CLIENT_CALLS; i++) {
		if (!client.calls[i].underway)
			return &client.calls[i];
	}
	return NULL;
}

static bool set_request(struct call *call, const struct sw_client_call *wanted)
{
	CURL *easy = call->easy;

	if (wanted->addresses) {
		call->addresses = curl_slist_append(NULL, wanted->addresses);
		if (!call->addresses)
			return false;
	}
	curl_easy_setopt(easy, CURLOPT_RESOLVE, call->addresses);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, wanted->body.at);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)wanted->body.len);
	return curl_easy_setopt(easy, CURLOPT_URL, wanted->url) == CURLE_OK;
}

static void forget_addresses(struct call *call)
{
	curl_easy_setopt(call->easy, CURLOPT_RESOLVE, NULL);
	curl_slist_free_all(call->addresses);
	call->addresses = NULL;
}

bool sw_client_start(const struct sw_client_call *wanted)
{
	struct call *call = find_free();

	if (!call)
		return false;
	call->begun = 0;
	call->headed = false;
	call->owner = wanted->owner;
	call->size = wanted->body.len;
	call->error[0] = '\0';
	if (!set_request(call, wanted) ||
	    curl_multi_add_handle(client.multi, call->easy) != CURLM_OK) {
		forget_addresses(call);
		return false;
	}
	call->underway = true;
	client.underway++;
	client.stirred_ns = sw_clock_ns(CLOCK_MONOTONIC);
	return true;
}

static enum sw_client_outcome outcome_of(const struct call *call, CURLcode result)
{
	switch ((int)result) {
	case CURLE_OK:
		return call->headed ? SW_CLIENT_ANSWERED : SW_CLIENT_CUT;
	case CURLE_ABORTED_BY_CALLBACK:
		return SW_CLIENT_STALE;
	case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9: there was no status line */
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_BAD_CONTENT_ENCODING:
		return SW_CLIENT_STRANGE;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CLIENTCERT:
		return SW_CLIENT_NO_TRUST;
	default:
		return call->begun ? SW_CLIENT_CUT : SW_CLIENT_NO_WAY;
	}
}

/* What the system says about a connection is plainer than what curl makes of it. */
static const char *why(const struct call *call, CURLcode result)
{
	long error = 0;

	if (result == CURLE_OK)
		return "its answer broke off";
	curl_easy_getinfo(call->easy, CURLINFO_OS_ERRNO, &error);
	if (result == CURLE_COULDNT_CONNECT && error)
		return sw_http_host->say_error(-error);
	if (result == CURLE_OPERATION_TIMEDOUT)
		return sw_http_host->say_error(-ETIMEDOUT);
	return call->error[0] ? call->error : curl_easy_strerror(result);
}

static struct sw_client_end describe(const struct call *call, CURLcode result)
{
	struct sw_client_end end = {.outcome = outcome_of(call, result)};
	curl_off_t sent = 0, wait_s = 0;

	curl_easy_getinfo(call->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
	if (end.outcome == SW_CLIENT_ANSWERED) {
		curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &end.status);
		curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &wait_s);
		end.retry_after_s = wait_s > 0 ? (uint64_t)wait_s : 0;
	} else {
		end.perhaps = call->begun > 1 || (call->begun && (uint64_t)sent >= call->size);
		end.why = why(call, result);
	}
	return end;
}

/* The call is free again before its owner hears of it. */
static void finish(struct call *call, const struct sw_client_end *end)
{
	curl_multi_remove_handle(client.multi, call->easy);
	forget_addresses(call);
	call->underway = false;
	client.underway--;
	client.wish.ended(call->owner, end);
}

static void harvest(void)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(client.multi, &left))) {
		struct sw_client_end end;
		struct call *call;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
		end = describe(call, message->data.result);
		finish(call, &end);
	}
}

/* ---- turns ---- */

/* OpenSSL has locks of its own, and libc one for the texts of errors. */
static void turn(curl_socket_t fd, int events)
{
	int running;

	sw_http_host->delicate(true);
	curl_multi_socket_action(client.multi, fd, events, &running);
	sw_http_host->delicate(false);
}

static void happened(int fd, uint32_t events)
{
	int what = 0;

	if (events & (EPOLLIN | EPOLLHUP))
		what |= CURL_CSELECT_IN;
	if (events & EPOLLOUT)
		what |= CURL_CSELECT_OUT;
	if (events & EPOLLERR)
		what |= CURL_CSELECT_ERR;
	client.stirred_ns = sw_clock_ns(CLOCK_MONOTONIC);
	turn(fd, what);
	harvest();
}

uint64_t sw_client_run(void)
{
	for (int i = 0;
	     i < TURNS_MAX && client.due_ns && client.due_ns <= sw_clock_ns(CLOCK_MONOTONIC); i++) {
		client.due_ns = 0;
		turn(CURL_SOCKET_TIMEOUT, 0);
		harvest();
	}
	return client.due_ns;
}

bool sw_client_busy(void)
{
	for (int i = 0; i < SW_CLIENT_CALLS; i++) {
		if (client.calls[i].underway && !client.calls[i].begun)
			return true;
	}
	return client.underway && sw_sockets_writing();
}

unsigned sw_client_calls(void)
{
	return client.underway;
}

uint64_t sw_client_stirred_ns(void)
{
	return client.stirred_ns;
}

/* ---- ending ---- */

static void leave(struct call *call)
{
	struct sw_client_end end = describe(call, CURLE_OPERATION_TIMEDOUT);

	end.outcome = SW_CLIENT_LEFT;
	finish(call, &end);
}

void sw_client_close(void)
{
	for (int i = 0; i < SW_CLIENT_CALLS; i++) {
		if (client.calls[i].underway)
			leave(&client.calls[i]);
		curl_easy_cleanup(client.calls[i].easy);
		client.calls[i].easy = NULL;
	}
	sw_http_host->delicate(true);
	curl_multi_cleanup(client.multi);
	sw_http_host->delicate(false);
	curl_slist_free_all(client.headers);
	client.multi = NULL;
	client.headers = NULL;
	client.due_ns = 0;
}

void sw_client_forget(void)
{
	sw_sockets_forget();
	memset(&client, 0, sizeof(client));
}

/*
 * The plug-in `tls` against a server of OpenSSL's own in memory: no socket, no clock.
 *
 * Certificates are made here, in memory, and written to a folder of the test's for those that want
 * files.
 */
#include <criterion/criterion.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reporter/plugin.h"
#include "reporter/plugins/libc.h"

#define HOUR 3600

static const struct sw_tls *tls;
static struct sw_tls_context *context;
static struct sw_tls_session *session;
static struct sw_buffer plain, cipher;
static char why[300], folder[] = "/tmp/swagent-tls-XXXXXX";

static EVP_PKEY *key;
static X509 *root, *leaf;
static SSL_CTX *server_context;
static SSL *server;
static BIO *to_server, *from_server;
static uint8_t got[1 << 20]; /* plain, by the server */
static size_t got_len;

/* ---- certificates ---- */

static void extend(X509 *certificate, int what, const char *value)
{
	X509V3_CTX about;
	X509_EXTENSION *extension;

	X509V3_set_ctx(&about, root ? root : certificate, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &about, what, value);
	cr_assert(extension);
	X509_add_ext(certificate, extension, -1);
	X509_EXTENSION_free(extension);
}

static X509 *certify(const char *name, const char *names, long from, long until)
{
	static long serial;
	X509 *certificate = X509_new();

	X509_set_version(certificate, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(certificate), from);
	X509_gmtime_adj(X509_getm_notAfter(certificate), until);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
				   (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(certificate, X509_get_subject_name(root ? root : certificate));
	X509_set_pubkey(certificate, key);
	if (names)
		extend(certificate, NID_subject_alt_name, names);
	else
		extend(certificate, NID_basic_constraints, "critical,CA:TRUE");
	cr_assert(X509_sign(certificate, key, EVP_sha256()));
	return certificate;
}

static const char *path_of(const char *name)
{
	static char path[100];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void write_certificate(const char *name, X509 *certificate)
{
	FILE *file = fopen(path_of(name), "w");

	cr_assert(file && PEM_write_X509(file, certificate));
	fclose(file);
}

static void write_key(const char *name, EVP_PKEY *which)
{
	FILE *file = fopen(path_of(name), "w");

	cr_assert(file && PEM_write_PrivateKey(file, which, NULL, NULL, 0, NULL, NULL));
	fclose(file);
}

static void write_text(const char *name, const char *text)
{
	FILE *file = fopen(path_of(name), "w");

	cr_assert(file && fputs(text, file) >= 0);
	fclose(file);
}

/* ---- the two sides ---- */

static int choose(SSL *ssl, const unsigned char **ret_at, unsigned char *ret_len,
		  const unsigned char *in, unsigned in_len, void *arg)
{
	(void)ssl, (void)arg;
	cr_assert(in_len == 3 && memcmp(in, "\2h2", 3) == 0);
	*ret_at = in + 1;
	*ret_len = 2;
	return SSL_TLSEXT_ERR_OK;
}

static void start_server(void)
{
	SSL_free(server);
	server = SSL_new(server_context);
	to_server = BIO_new(BIO_s_mem());
	from_server = BIO_new(BIO_s_mem());
	SSL_set_bio(server, to_server, from_server);
	SSL_set_accept_state(server);
	got_len = 0;
}

static void setup(void)
{
	static const struct sw_host host;

	cr_assert(mkdtemp(folder));
	cr_assert_eq(sw_plugin.start(&host), 0);
	tls = sw_plugin.tls;
	key = EVP_EC_gen("P-256");
	root = certify("root", NULL, -HOUR, HOUR);
	leaf = certify("leaf", "DNS:oap.example,IP:10.0.0.1,IP:::1", -HOUR, HOUR);
	write_certificate("root", root);
	server_context = SSL_CTX_new(TLS_server_method());
	SSL_CTX_set_alpn_select_cb(server_context, choose, NULL);
	SSL_CTX_use_certificate(server_context, leaf);
	SSL_CTX_use_PrivateKey(server_context, key);
	start_server();
}

static void teardown(void)
{
	char command[100];

	tls->session_free(session);
	tls->context_free(context);
	sw_buffer_free(&plain);
	sw_buffer_free(&cipher);
	SSL_free(server);
	SSL_CTX_free(server_context);
	X509_free(root);
	X509_free(leaf);
	EVP_PKEY_free(key);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	cr_assert_eq(system(command), 0);
}

TestSuite(tls, .init = setup, .fini = teardown);

static struct sw_tls_wish wish_for(const char *ca)
{
	return (struct sw_tls_wish){ca, "", "", "", "", "h2"};
}

static void make_context(struct sw_tls_wish wish)
{
	tls->context_free(context);
	context = tls->context_new(&wish, why, sizeof(why));
}

static void start_client(const char *host)
{
	session = tls->session_free(session);
	session = tls->session_new(context, host);
	plain.len = cipher.len = 0;
}

/* The server takes what is sealed, and its answers are left in from_server. */
static void serve(void)
{
	size_t len = 1;

	BIO_write(to_server, cipher.at, (int)cipher.len);
	cipher.len = 0;
	SSL_do_handshake(server);
	while (len) {
		len = 0;
		SSL_read_ex(server, got + got_len, sizeof(got) - got_len, &len);
		got_len += len;
	}
	ERR_clear_error();
}

/* What the server says, `piece` bytes at a time. */
static enum sw_tls_state hear(size_t piece)
{
	uint8_t bytes[64 << 10];
	int len = BIO_read(from_server, bytes, sizeof(bytes));
	enum sw_tls_state state = tls->feed(session, sw_bytes(NULL, 0), &plain, &cipher);

	for (int at = 0; at < len && state <= SW_TLS_OPEN; at += (int)piece)
		state = tls->feed(session, sw_bytes(bytes + at, SW_MIN(piece, (size_t)(len - at))),
				  &plain, &cipher);
	return state;
}

static enum sw_tls_state shake(const char *host, size_t piece)
{
	enum sw_tls_state state;

	start_server();
	start_client(host);
	state = tls->feed(session, sw_bytes(NULL, 0), &plain, &cipher);
	cr_assert_eq(state, SW_TLS_SHAKING);
	for (int i = 0; i < 4 && state <= SW_TLS_OPEN; i++) {
		serve();
		state = hear(piece);
	}
	serve();
	return state;
}

/* ---- handshakes ---- */

Test(tls, shakes_in_pieces_of_any_size)
{
	make_context(wish_for(path_of("root")));
	cr_assert(context, "%s", why);
	for (size_t piece = 1; piece < 1500; piece += piece < 20 ? 1 : 37) {
		cr_assert_eq(shake("oap.example", piece), SW_TLS_OPEN, "%zu %s", piece,
			     tls->why(session));
		cr_assert_eq(SSL_is_init_finished(server), 1);
		cr_assert_str_eq(SSL_get_servername(server, TLSEXT_NAMETYPE_host_name),
				 "oap.example");
	}
}

/* Nothing is said or done before the last byte is there; and the end may come at any of them. */
Test(tls, shakes_cut_anywhere)
{
	uint8_t bytes[16384];
	int len;

	make_context(wish_for(path_of("root")));
	for (int cut = 0;; cut += 7) {
		start_server();
		start_client("oap.example");
		tls->feed(session, sw_bytes(NULL, 0), &plain, &cipher);
		serve();
		len = BIO_read(from_server, bytes, sizeof(bytes));
		if (cut >= len)
			break;
		cr_assert(tls->feed(session, sw_bytes(bytes, (size_t)cut), &plain, &cipher) <=
			  SW_TLS_OPEN);
		cr_assert_eq(plain.len, 0);
	}
	cr_assert_gt(len, 500);
}

/* What comes is somebody else's with one bit turned: never open with plain bytes of his. */
Test(tls, shakes_with_a_bit_turned)
{
	uint8_t bytes[16384];
	int len = 1;

	make_context(wish_for(path_of("root")));
	for (int at = 0; at < len; at += 3) {
		enum sw_tls_state state;

		start_server();
		start_client("oap.example");
		tls->feed(session, sw_bytes(NULL, 0), &plain, &cipher);
		serve();
		len = BIO_read(from_server, bytes, sizeof(bytes));
		bytes[at % len] ^= 1u << at % 8;
		state = tls->feed(session, sw_bytes(bytes, (size_t)len), &plain, &cipher);
		cr_assert_eq(plain.len, 0);
		cr_assert_neq(state, SW_TLS_CLOSED);
		/* the compatibility record (RFC 8446, D.4) is not looked into by all */
		cr_assert(state != SW_TLS_FAILED || tls->why(session)[0]);
	}
}

Test(tls, numbers_have_no_server_name)
{
	make_context(wish_for(path_of("root")));
	cr_assert_eq(shake("10.0.0.1", 4000), SW_TLS_OPEN);
	cr_assert_null(SSL_get_servername(server, TLSEXT_NAMETYPE_host_name));
	cr_assert_eq(shake("::1", 4000), SW_TLS_OPEN);
	cr_assert_eq(shake("::1%lo", 4000), SW_TLS_OPEN);
	cr_assert_eq(shake("oap.example.", 4000), SW_TLS_OPEN, "a last dot is nobody's name");
}

Test(tls, another_name)
{
	static const char *const hosts[] = {"example", "x.oap.example", "10.0.0.2", "::2", "oap"};

	make_context(wish_for(path_of("root")));
	for (size_t i = 0; i < SW_COUNT_OF(hosts); i++) {
		cr_assert_eq(shake(hosts[i], 4000), SW_TLS_FAILED);
		cr_assert(strstr(tls->why(session), "is not one of"), "%s", tls->why(session));
		cr_assert(strstr(tls->why(session), hosts[i]));
	}
}

Test(tls, names_that_are_none)
{
	char long_name[400];

	memset(long_name, 'a', sizeof(long_name));
	long_name[sizeof(long_name) - 1] = 0;
	make_context(wish_for(path_of("root")));
	cr_assert_null(tls->session_new(context, ""));
	cr_assert_null(tls->session_new(context, "."));
	cr_assert_null(tls->session_new(context, long_name));
}

Test(tls, a_wildcard_is_for_one_label)
{
	X509_free(leaf);
	leaf = certify("leaf", "DNS:*.oap.example", -HOUR, HOUR);
	SSL_CTX_use_certificate(server_context, leaf);
	make_context(wish_for(path_of("root")));
	cr_assert_eq(shake("a.oap.example", 4000), SW_TLS_OPEN);
	cr_assert_eq(shake("b.a.oap.example", 4000), SW_TLS_FAILED);
	cr_assert_eq(shake("oap.example", 4000), SW_TLS_FAILED);
}

static void serves_between(long from, long until, const char *text)
{
	X509_free(leaf);
	leaf = certify("leaf", "DNS:oap.example", from, until);
	SSL_CTX_use_certificate(server_context, leaf);
	cr_assert_eq(shake("oap.example", 4000), SW_TLS_FAILED);
	cr_assert_str_eq(tls->why(session), text);
}

Test(tls, times)
{
	make_context(wish_for(path_of("root")));
	serves_between(-2 * HOUR, -HOUR, "its certificate is refused: certificate has expired");
	serves_between(HOUR, 2 * HOUR, "its certificate is refused: certificate is not yet valid");
}

Test(tls, another_authority_of_the_same_name)
{
	EVP_PKEY_free(key);
	X509_free(root);
	root = NULL;
	key = EVP_EC_gen("P-256");
	root = certify("root", NULL, -HOUR, HOUR);
	write_certificate("other", root);
	make_context(wish_for(path_of("other")));
	cr_assert_eq(shake("oap.example", 4000), SW_TLS_FAILED);
	cr_assert(strstr(tls->why(session), "its certificate is refused"));
	cr_assert_gt(SSL_in_init(server), 0);
}

Test(tls, old_versions)
{
	make_context(wish_for(path_of("root")));
	SSL_CTX_set_security_level(server_context, 0);
	SSL_CTX_set_min_proto_version(server_context, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(server_context, TLS1_2_VERSION);
	cr_assert_eq(shake("oap.example", 4000), SW_TLS_OPEN);
	SSL_CTX_set_max_proto_version(server_context, TLS1_1_VERSION);
	cr_assert_eq(shake("oap.example", 4000), SW_TLS_FAILED);
	cr_assert(tls->why(session)[0]);
}

Test(tls, what_is_no_tls)
{
	static const char *const words[] = {"HTTP/1.1 400 Bad Request\r\n\r\n",
					    "220 mail.example\r\n", "SSH-2.0-OpenSSH_9.2\r\n",
					    "\0\0\x12\x04\0\0\0\0\0\0\3\0\0\0\x64"};

	make_context(wish_for(path_of("root")));
	for (size_t i = 0; i < SW_COUNT_OF(words); i++) {
		start_client("oap.example");
		tls->feed(session, sw_bytes(NULL, 0), &plain, &cipher);
		cr_assert_eq(tls->feed(session, sw_bytes(words[i], 15), &plain, &cipher),
			     SW_TLS_FAILED);
		cr_assert_str_eq(tls->why(session), "it does not speak TLS");
	}
}

/* ---- bytes ---- */

Test(tls, bytes_both_ways)
{
	static uint8_t sent[300000];
	size_t wrote, at = 0;

	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (uint8_t)(i * 7 + i / 251);
	make_context(wish_for(path_of("root")));
	cr_assert_eq(shake("oap.example", 4000), SW_TLS_OPEN);
	for (size_t len = 1; at + len <= sizeof(sent); at += len, len = len * 3 + 1)
		cr_assert_eq(tls->seal(session, sw_bytes(sent + at, len), &cipher), SW_TLS_OPEN);
	serve();
	cr_assert_eq(got_len, at);
	cr_assert_arr_eq(got, sent, at);
	for (size_t piece = 1; piece < 20000; piece = piece * 5 + 1) {
		plain.len = 0;
		SSL_write_ex(server, sent, 40000, &wrote);
		cr_assert_eq(hear(piece), SW_TLS_OPEN);
		cr_assert_eq(plain.len, 40000);
		cr_assert_arr_eq(plain.at, sent, 40000);
	}
}

/* Servers may change keys at any time, and want ours changed with what we say next. */
Test(tls, key_update)
{
	make_context(wish_for(path_of("root")));
	cr_assert_eq(shake("oap.example", 4000), SW_TLS_OPEN);
	SSL_key_update(server, SSL_KEY_UPDATE_REQUESTED);
	SSL_do_handshake(server);
	cr_assert_eq(hear(1), SW_TLS_OPEN);
	cr_assert_eq(tls->seal(session, SW_BYTES("after"), &cipher), SW_TLS_OPEN);
	serve();
	cr_assert_eq(got_len, 5);
}

Test(tls, a_damaged_record)
{
	uint8_t bytes[1000];
	size_t wrote;
	int len;

	make_context(wish_for(path_of("root")));
	cr_assert_eq(shake("oap.example", 4000), SW_TLS_OPEN);
	plain.len = 0;
	SSL_write_ex(server, "secret", 6, &wrote);
	len = BIO_read(from_server, bytes, sizeof(bytes));
	bytes[len - 3] ^= 4;
	cr_assert_eq(tls->feed(session, sw_bytes(bytes, (size_t)len), &plain, &cipher),
		     SW_TLS_FAILED);
	cr_assert_eq(plain.len, 0);
	cr_assert(tls->why(session)[0]);
	cr_assert_eq(tls->seal(session, SW_BYTES("more"), &cipher), SW_TLS_FAILED, "for good");
	cr_assert_eq(tls->feed(session, SW_BYTES("more"), &plain, &cipher), SW_TLS_FAILED);
}

Test(tls, the_end)
{
	size_t wrote;

	make_context(wish_for(path_of("root")));
	cr_assert_eq(shake("oap.example", 4000), SW_TLS_OPEN);
	plain.len = 0;
	SSL_write_ex(server, "last", 4, &wrote);
	SSL_shutdown(server);
	cr_assert_eq(hear(1000), SW_TLS_CLOSED);
	cr_assert_eq(plain.len, 4, "what came before it is not lost");
	tls->end(session, &cipher);
	serve();
	cr_assert(SSL_get_shutdown(server) & SSL_RECEIVED_SHUTDOWN);
}

Test(tls, no_goodbye_in_mid_handshake)
{
	make_context(wish_for(path_of("root")));
	start_client("oap.example");
	tls->feed(session, sw_bytes(NULL, 0), &plain, &cipher);
	cipher.len = 0;
	tls->end(session, &cipher);
	cr_assert_eq(cipher.len, 0);
}

/* ---- who we are ---- */

static int judge(int good, X509_STORE_CTX *about)
{
	(void)good, (void)about;
	return 1;
}

Test(tls, our_certificate)
{
	struct sw_tls_wish wish = wish_for("");
	char root_path[100], chain_path[100], key_path[100];
	X509 *seen;

	strcpy(root_path, path_of("root"));
	strcpy(chain_path, path_of("chain"));
	strcpy(key_path, path_of("key"));
	write_certificate("chain", leaf);
	write_key("key", key);
	wish.ca = root_path;
	wish.chain = chain_path;
	wish.key = key_path;
	make_context(wish);
	cr_assert(context, "%s", why);
	SSL_CTX_set_verify(server_context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
			   judge);
	cr_assert_eq(shake("oap.example", 4000), SW_TLS_OPEN);
	seen = SSL_get0_peer_certificate(server);
	cr_assert(seen && X509_cmp(seen, leaf) == 0);
}

Test(tls, it_wants_our_certificate)
{
	make_context(wish_for(path_of("root")));
	SSL_CTX_set_verify(server_context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
			   judge);
	cr_assert_eq(shake("oap.example", 4000), SW_TLS_FAILED);
	cr_assert_str_eq(tls->why(session), "it refuses us: certificate required");
}

/* ---- files ---- */

static void refused(struct sw_tls_wish wish, const char *path, const char *text)
{
	char wanted[300];

	snprintf(wanted, sizeof(wanted), "%s: %s", path, text);
	make_context(wish);
	cr_assert_null(context);
	cr_assert_str_eq(why, wanted);
}

Test(tls, files_of_authorities)
{
	char path[100];

	strcpy(path, path_of("x"));
	refused(wish_for(path), path, "there is no such file");
	write_text("x", "");
	refused(wish_for(path), path, "there is no certificate in PEM format in it");
	write_text("x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
	refused(wish_for(path), path, "a certificate in it is damaged");
	write_text("x", "-----BEGIN CERTIFICATE-----\nAAAA\n");
	refused(wish_for(path), path, "a certificate in it is damaged");
	refused(wish_for(folder), folder, "it is a folder");
	unlink(path);
	cr_assert_eq(mkfifo(path, 0600), 0);
	refused(wish_for(path), path, "it cannot be read");
}

Test(tls, several_authorities_and_text_between_them)
{
	FILE *file = fopen(path_of("all"), "w");

	fputs("# some words\n", file);
	PEM_write_X509(file, leaf);
	fputs("more words\n\n", file);
	PEM_write_X509(file, root);
	fclose(file);
	make_context(wish_for(path_of("all")));
	cr_assert(context, "%s", why);
	cr_assert_eq(shake("oap.example", 4000), SW_TLS_OPEN);
}

Test(tls, stores)
{
	struct sw_tls_wish wish = wish_for("");
	char file[100], hashed[100];

	strcpy(file, path_of("root"));
	wish.store_file = file;
	make_context(wish);
	cr_assert(context, "%s", why);
	cr_assert_eq(shake("oap.example", 4000), SW_TLS_OPEN);

	snprintf(hashed, sizeof(hashed), "%08lx.0", X509_subject_name_hash(root));
	write_certificate(hashed, root);
	wish.store_file = "";
	wish.store_folder = folder;
	make_context(wish);
	cr_assert_eq(shake("oap.example", 4000), SW_TLS_OPEN);

	wish.store_file = "/nonexistent/file";
	make_context(wish);
	cr_assert_eq(shake("oap.example", 4000), SW_TLS_OPEN);
	wish.store_folder = "";
	refused(wish, "/nonexistent/file", "there is no such file");

	wish.store_file = "";
	wish.store_folder = "/nonexistent/folder:/proc";
	make_context(wish);
	cr_assert_eq(shake("oap.example", 4000), SW_TLS_FAILED);
}

/* As certificates are renewed: written beside, and renamed. */
static void rewrite(const char *name, X509 *certificate)
{
	char from[100];

	write_certificate("new", certificate);
	strcpy(from, path_of("new"));
	cr_assert_eq(rename(from, path_of(name)), 0);
}

Test(tls, files_are_read_again_when_they_change)
{
	struct sw_tls_wish wish = wish_for("");
	struct sw_tls_context *before;
	char path[100];

	strcpy(path, path_of("root"));
	wish.ca = path;
	make_context(wish);
	before = context;
	make_context(wish);
	cr_assert_eq(context, before);
	rewrite("root", root);
	make_context(wish);
	cr_assert(context && context != before);
	cr_assert_eq(shake("oap.example", 4000), SW_TLS_OPEN);
	rewrite("root", leaf);
	make_context(wish);
	cr_assert_eq(shake("oap.example", 4000), SW_TLS_OPEN, "the leaf itself is trusted");
	unlink(path);
	refused(wish, path, "there is no such file");
	write_certificate("root", root);
	make_context(wish);
	cr_assert_eq(shake("oap.example", 4000), SW_TLS_OPEN);
}

/* One that is in use lives until its last session; another wish is another context. */
Test(tls, several_contexts)
{
	struct sw_tls_wish wish = wish_for(path_of("root")), other = wish;
	struct sw_tls_context *first, *second;
	char none[100];

	strcpy(none, path_of("root"));
	wish.ca = none;
	other.ca = "";
	other.store_file = none;
	first = tls->context_new(&wish, why, sizeof(why));
	second = tls->context_new(&other, why, sizeof(why));
	cr_assert(first && second && first != second);
	context = tls->context_new(&other, why, sizeof(why));
	cr_assert_eq(context, second);
	tls->context_free(second);
	cr_assert_eq(shake("oap.example", 4000), SW_TLS_OPEN);
	tls->context_free(context);
	context = first;
	cr_assert_eq(shake("oap.example", 4000), SW_TLS_OPEN);
}

Test(tls, keys)
{
	struct sw_tls_wish wish = wish_for("");
	char root_path[100], chain_path[100], key_path[100];
	EVP_PKEY *other = EVP_EC_gen("P-256");
	FILE *file;

	strcpy(root_path, path_of("root"));
	strcpy(chain_path, path_of("chain"));
	strcpy(key_path, path_of("key"));
	write_certificate("chain", leaf);
	wish.ca = root_path;
	wish.chain = chain_path;
	refused(wish, chain_path, "a certificate and its key are needed, both");
	wish.key = key_path;
	refused(wish, key_path, "there is no such file");
	write_key("key", other);
	refused(wish, key_path, "the key does not belong to the certificate");
	file = fopen(key_path, "w");
	PEM_write_PrivateKey(file, key, EVP_aes_128_cbc(), (unsigned char *)"secret", 6, NULL,
			     NULL);
	fclose(file);
	refused(wish, key_path, "the key has a pass phrase; one without is needed");
	wish.chain = "";
	refused(wish, key_path, "a certificate and its key are needed, both");
	EVP_PKEY_free(other);
}

/* ---- memory ---- */

Test(tls, a_buffer_that_fails)
{
	make_context(wish_for(path_of("root")));
	start_client("oap.example");
	cipher.failed = true;
	cr_assert_eq(tls->feed(session, sw_bytes(NULL, 0), &plain, &cipher), SW_TLS_FAILED);
	cr_assert_str_eq(tls->why(session), "no memory");
	cipher.failed = false;
	cr_assert_eq(shake("oap.example", 4000), SW_TLS_OPEN);
	plain.failed = true;
	cr_assert_eq(tls->feed(session, sw_bytes(NULL, 0), &plain, &cipher), SW_TLS_FAILED);
}

/* ---- instead of libc ---- */

Test(libc, dates_are_those_of_gmtime)
{
	for (time_t t = -100000000000; t < 200000000000; t += 7654321 + t % 1000) {
		struct tm ours, theirs;

		gmtime_r(&t, &theirs);
		cr_assert_eq(__wrap_gmtime_r(&t, &ours), &ours);
		cr_assert(ours.tm_year == theirs.tm_year && ours.tm_mon == theirs.tm_mon &&
				  ours.tm_mday == theirs.tm_mday &&
				  ours.tm_hour == theirs.tm_hour && ours.tm_min == theirs.tm_min &&
				  ours.tm_sec == theirs.tm_sec && ours.tm_wday == theirs.tm_wday &&
				  ours.tm_yday == theirs.tm_yday && ours.tm_isdst == 0,
			  "%ld", (long)t);
	}
}

/* ---- fork ---- */

static unsigned refusals;

/* A child that is made while the other is in OpenSSL; it finds that out before it touches anything.
 */
static void fork_now(int signal)
{
	struct sw_tls_wish wish = wish_for("");
	int status = 0;
	pid_t child = _Fork(); /* fork takes malloc's locks, which we may have */

	(void)signal;
	if (child == 0) {
		tls->context_free(NULL); /* as channel.c does */
		tls->session_free(NULL);
		_exit(tls->context_new(&wish, why, sizeof(why)) == NULL &&
		      strcmp(why, "the process forked while TLS was at work") == 0);
	}
	waitpid(child, &status, 0);
	cr_assert(WIFEXITED(status));
	refusals += WEXITSTATUS(status) == 1;
}

Test(tls, a_child_made_in_the_midst_has_none)
{
	write_certificate("again", root); /* by turns, or nothing would be read */
	signal(SIGALRM, fork_now);
	for (int i = 0; i < 5000 && refusals < 5; i++) {
		struct itimerval once = {{0, 0}, {0, 20 + i * 37 % 2000}};

		setitimer(ITIMER_REAL, &once, NULL);
		make_context(wish_for(path_of(i % 2 ? "root" : "again")));
	}
	signal(SIGALRM, SIG_IGN);
	cr_assert_geq(refusals, 5);
	make_context(wish_for(path_of("root")));
	cr_assert_eq(shake("oap.example", 4000), SW_TLS_OPEN, "the parent goes on");
}

/*
 * The `http` protocol as a plug-in, by libcurl.
 *
 * OpenSSL is started before curl starts it, with what a guest needs: no atexit handler, no
 * configuration file of the system's, which could load what it likes.
 */
#include <curl/curl.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/opensslv.h>
#include <openssl/ssl.h>

#include "reporter/plugins/http/http.h"

const struct sw_host *sw_http_host;

/* For the inline functions of preload/sys.h. Ours stays as it is: the library stands down after our
 * thread has ended. */
_Atomic bool sw_stood_down;

/* Half a millisecond is for what only TLS wants: names of algorithms, texts of errors. */
static bool start_openssl(bool tls)
{
	uint64_t wanted = OPENSSL_INIT_NO_ATEXIT | OPENSSL_INIT_NO_LOAD_CONFIG;

	if (!tls)
		wanted |= OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS | OPENSSL_INIT_NO_ADD_ALL_CIPHERS |
			  OPENSSL_INIT_NO_ADD_ALL_DIGESTS | OPENSSL_INIT_NO_LOAD_SSL_STRINGS;
	return OPENSSL_init_crypto(wanted, NULL) && (tls || OPENSSL_init_ssl(wanted, NULL));
}

static int start(const struct sw_host *host)
{
	sw_http_host = host;
	if (!start_openssl(sw_config_wants_tls(host->config)))
		return -EIO;
	return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 0 : -EIO;
}

__attribute__((visibility("default"))) const struct sw_plugin sw_plugin = {
	.version = SW_VERSION,
	.agent_size = sizeof(struct sw_agent),
	.inside = "libcurl " LIBCURL_VERSION ", " OPENSSL_VERSION_TEXT,
	.start = start,
	.transport = &sw_transport_http,
};

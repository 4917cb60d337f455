/* Whom we trust: the file that was given, what SSL_CERT_FILE and SSL_CERT_DIR name, or the
 * system's. */
#pragma once

#include <openssl/ssl.h>

#include "reporter/plugins/tls/why.h"
#include "reporter/tls.h"

/* Either may be NULL; both: nobody is trusted on this system. Borrowed from the wish. */
struct sw_trust {
	const char *folder, *file;
};

struct sw_trust sw_trust_find(const struct sw_tls_wish *wish);
/* False: and why is written. */
bool sw_trust_load(SSL_CTX *ssl, const struct sw_trust *trust, struct sw_why *why);

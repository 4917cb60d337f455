/* Whom we trust: the file that was given, what SSL_CERT_FILE and SSL_CERT_DIR name, or the
 * system's. */
#pragma once

#include <openssl/ssl.h>

#include "reporter/plugins/tls/why.h"
#include "reporter/tls.h"

/* False: there is nobody, and why is written. */
bool sw_trust_load(SSL_CTX *ssl, const struct sw_tls_wish *wish, struct sw_why *why);

/* Gives a context of OpenSSL's the certificates that it is to trust. */
#pragma once

#include <openssl/ssl.h>

#include "reporter/plugins/tls/why.h"
#include "reporter/plugins/trust.h"

/* False: and why is written. */
bool sw_store_load(SSL_CTX *ssl, const struct sw_trust *trust, struct sw_why *why);

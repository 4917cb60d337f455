/*
 * PEM files: what they hold, and what is wrong with them. A file is read whole and closed: no
 * descriptor stays, and a FIFO's writer is not waited for.
 *
 * Each function adds what it found and returns true, or writes why not.
 */
#pragma once

#include <openssl/ssl.h>

#include "reporter/plugins/tls/why.h"

/* Every certificate of the file is trusted from now on. */
bool sw_pem_trust(X509_STORE *store, const char *path, struct sw_why *why);
/* Our certificate, the first of the file, and those between it and an authority. */
bool sw_pem_chain(SSL_CTX *ssl, const char *path, struct sw_why *why);
/* The key of that certificate. */
bool sw_pem_key(SSL_CTX *ssl, const char *path, struct sw_why *why);

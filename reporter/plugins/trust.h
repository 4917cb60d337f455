/* Whom we trust: the file that was given, what SSL_CERT_FILE and SSL_CERT_DIR name, or the
 * system's. */
#pragma once

#include "reporter/tls.h"

/* Either may be NULL; both: nobody is trusted on this system. Borrowed from the wish. A folder may
 * be several, with colons between; with a folder the file may be missing, as OpenSSL has it. */
struct sw_trust {
	const char *folder, *file;
};

/* Of the wish only `ca`, `store_file` and `store_folder` are looked at. */
struct sw_trust sw_trust_find(const struct sw_tls_wish *wish);

/* Trusted certificates for OpenSSL; see store.h. */
#include "reporter/plugins/tls/store.h"

#include "reporter/plugins/tls/pem.h"

/* One folder, or several with colons between. */
static bool ask_folder(X509_STORE *store, const char *path)
{
	X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_hash_dir());

	return lookup && X509_LOOKUP_add_dir(lookup, path, X509_FILETYPE_PEM) == 1;
}

bool sw_store_load(SSL_CTX *ssl, const struct sw_trust *trust, struct sw_why *why)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ssl);

	if (!trust->folder && !trust->file)
		return sw_why(why, "this system has no trusted certificates where we know to look "
				   "(SW_AGENT_SSL_TRUSTED_CA_PATH, SSL_CERT_FILE)");
	if (trust->folder && !ask_folder(store, trust->folder))
		return sw_why(why, "no memory");
	return !trust->file || sw_pem_trust(store, trust->file, why) || trust->folder;
}

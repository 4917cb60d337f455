/*
 * The files of TLS as C core wants them: PEM texts. They are found, read and checked by what the
 * plug-in `tls` is made of, so that both engines trust the same and say the same of a file that
 * cannot be used; and then written out again.
 *
 * A folder of certificates is read whole: C core cannot ask one. The plug-in's OpenSSL is used by
 * our thread here, and by C core's; it brings its own locks.
 */
#include <dirent.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "reporter/plugins/grpc/core.h"
#include "reporter/plugins/tls/engine.h"
#include "reporter/plugins/tls/pem.h"
#include "reporter/plugins/trust.h"

/* Owned by the caller; NULL: no memory, or nothing was written. */
static char *take_text(BIO *bio)
{
	char *bytes, *text = NULL;
	long len = BIO_get_mem_data(bio, &bytes);

	if (len > 0)
		text = strndup(bytes, (size_t)len);
	BIO_free(bio);
	return text;
}

static char *write_store(X509_STORE *store)
{
	STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(store);
	BIO *bio = BIO_new(BIO_s_mem());

	for (int i = 0; bio && i < sk_X509_OBJECT_num(objects); i++) {
		X509 *one = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));

		if (one)
			PEM_write_bio_X509(bio, one);
	}
	return bio ? take_text(bio) : NULL;
}

static char *write_chain(SSL_CTX *ssl)
{
	STACK_OF(X509) *rest = NULL;
	BIO *bio = BIO_new(BIO_s_mem());

	if (!bio)
		return NULL;
	PEM_write_bio_X509(bio, SSL_CTX_get0_certificate(ssl));
	SSL_CTX_get0_chain_certs(ssl, &rest);
	for (int i = 0; i < sk_X509_num(rest); i++)
		PEM_write_bio_X509(bio, sk_X509_value(rest, i));
	return take_text(bio);
}

static char *write_key(SSL_CTX *ssl)
{
	BIO *bio = BIO_new(BIO_s_mem());

	if (!bio)
		return NULL;
	PEM_write_bio_PKCS8PrivateKey(bio, SSL_CTX_get0_privatekey(ssl), NULL, NULL, 0, NULL, NULL);
	return take_text(bio);
}

/* Whatever is no certificate is passed over, as OpenSSL does with a folder. */
static void read_folder(X509_STORE *store, const char *path)
{
	DIR *folder = opendir(path);
	const struct dirent *entry;
	char name[4096], ignored[64];
	struct sw_why why = {ignored, sizeof(ignored)};

	while (folder && (entry = readdir(folder))) {
		if (strspn(entry->d_name, "0123456789abcdef") != 8 || entry->d_name[8] != '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		sw_pem_trust(store, name, &why);
	}
	if (folder)
		closedir(folder);
}

/* One, or several with colons between. */
static void read_folders(X509_STORE *store, const char *paths)
{
	char *list = strdup(paths), *rest = list, *path;

	while (list && (path = strsep(&rest, ":")))
		read_folder(store, path);
	free(list);
}

static bool read_into(SSL_CTX *ssl, const struct sw_tls_wish *files, struct sw_core_wish *wish)
{
	struct sw_trust trust = sw_trust_find(files);
	X509_STORE *store = SSL_CTX_get_cert_store(ssl);

	if (trust.folder)
		read_folders(store, trust.folder);
	wish->trusted = write_store(store);
	if (files->chain[0]) {
		wish->chain = write_chain(ssl);
		wish->key = write_key(ssl);
	}
	return wish->trusted && (!files->chain[0] || (wish->chain && wish->key));
}

bool sw_core_read_files(const struct sw_config *config, struct sw_core_wish *wish, char *ret_why,
			size_t room)
{
	struct sw_tls_wish files = {config->tls_ca,	      config->tls_store_file,
				    config->tls_store_folder, config->tls_chain,
				    config->tls_key,	      "h2"};
	struct sw_why why = {ret_why, room};
	struct sw_tls_context *context = sw_context_get(&files, &why);
	bool ok;

	if (!context)
		return false;
	ok = read_into(context->ssl, &files, wish);
	sw_context_put(context);
	return ok || sw_why(&why, "no trusted certificates were found");
}

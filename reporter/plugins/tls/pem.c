/* What is read from PEM files; see pem.h. */
#include "reporter/plugins/tls/pem.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

/* The system's bundles have a quarter of one. */
#define FILE_MAX (4u << 20)
#define CHUNK 8192

static const char *system_reason(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
		return "there is no such file";
	case EACCES:
	case EPERM:
		return "it may not be read";
	case EISDIR:
		return "it is a folder";
	default:
		return "it cannot be read";
	}
}

/* 0 or an errno. */
static int read_all(int fd, BIO *bio)
{
	char chunk[CHUNK];
	size_t total = 0;
	ssize_t got;
	int error = 0;

	while ((got = read(fd, chunk, sizeof(chunk))) > 0 && !error) {
		total += (size_t)got;
		if (total > FILE_MAX)
			error = EFBIG;
		else if (BIO_write(bio, chunk, (int)got) != got)
			error = ENOMEM;
	}
	if (got < 0)
		error = errno;
	OPENSSL_cleanse(chunk, sizeof(chunk)); /* it may have been a key */
	return error;
}

/* 0 or an errno. A FIFO would be waited for. */
static int read_file(const char *path, BIO *bio)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), error = 0;
	struct stat is;

	if (fd < 0)
		return errno;
	if (fstat(fd, &is))
		error = errno;
	else if (!S_ISREG(is.st_mode))
		error = S_ISDIR(is.st_mode) ? EISDIR : EINVAL;
	else
		error = read_all(fd, bio);
	close(fd);
	return error;
}

/* The file's bytes, or NULL. */
static BIO *open_file(const char *path, struct sw_why *why)
{
	BIO *bio = BIO_new(BIO_s_mem());
	int error = bio ? read_file(path, bio) : ENOMEM;

	if (!error)
		return bio;
	BIO_free(bio);
	sw_why(why, "%s: %s", path, system_reason(error));
	return NULL;
}

/* A pass phrase: there is none, and nobody to be asked on the program's terminal. */
static int no_phrase(char *buffer, int size, int writing, void *arg)
{
	(void)buffer, (void)size, (void)writing;
	*(bool *)arg = true;
	return -1;
}

/* The next certificate of the file, or NULL: none is left, or `ret_bad` and it is broken. */
static X509 *next_certificate(BIO *bio, bool *ret_bad)
{
	bool locked = false;
	X509 *certificate;
	unsigned long error;

	ERR_clear_error();
	certificate = PEM_read_bio_X509_AUX(bio, NULL, no_phrase, &locked);
	error = ERR_peek_last_error();
	*ret_bad = !certificate && (ERR_GET_LIB(error) != ERR_LIB_PEM ||
				    ERR_GET_REASON(error) != PEM_R_NO_START_LINE);
	ERR_clear_error();
	return certificate;
}

static const char *last_reason(void)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	return reason ? reason : "for no known reason";
}

bool sw_pem_trust(X509_STORE *store, const char *path, struct sw_why *why)
{
	BIO *bio = open_file(path, why);
	unsigned count = 0;
	X509 *certificate;
	bool bad;

	if (!bio)
		return false;
	while ((certificate = next_certificate(bio, &bad))) {
		count += X509_STORE_add_cert(store, certificate) == 1;
		X509_free(certificate);
	}
	BIO_free(bio);
	if (bad)
		return sw_why(why, "%s: a certificate in it is damaged", path);
	return count || sw_why(why, "%s: there is no certificate in PEM format in it", path);
}

/* Is today a day of it? */
static bool valid_now(const X509 *certificate, const char *path, struct sw_why *why)
{
	if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
		return sw_why(why, "%s: the certificate has expired", path);
	if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0)
		return sw_why(why, "%s: the certificate is not valid yet", path);
	return true;
}

/* The first one is ours; others go with it. */
static bool take_own(SSL_CTX *ssl, X509 *certificate, bool first, const char *path,
		     struct sw_why *why)
{
	if (first && !valid_now(certificate, path, why))
		return false;
	if (first ? SSL_CTX_use_certificate(ssl, certificate) == 1
		  : SSL_CTX_add1_chain_cert(ssl, certificate) == 1)
		return true;
	return sw_why(why, "%s: the certificate cannot be used: %s", path, last_reason());
}

bool sw_pem_chain(SSL_CTX *ssl, const char *path, struct sw_why *why)
{
	BIO *bio = open_file(path, why);
	bool good = true, bad = false;
	X509 *certificate;
	unsigned count = 0;

	if (!bio)
		return false;
	while (good && (certificate = next_certificate(bio, &bad))) {
		good = take_own(ssl, certificate, count++ == 0, path, why);
		X509_free(certificate);
	}
	BIO_free(bio);
	if (!good)
		return false;
	if (bad)
		return sw_why(why, "%s: a certificate in it is damaged", path);
	return count || sw_why(why, "%s: there is no certificate in PEM format in it", path);
}

bool sw_pem_key(SSL_CTX *ssl, const char *path, struct sw_why *why)
{
	BIO *bio = open_file(path, why);
	bool locked = false, fits;
	EVP_PKEY *key;

	if (!bio)
		return false;
	ERR_clear_error();
	key = PEM_read_bio_PrivateKey(bio, NULL, no_phrase, &locked);
	BIO_free(bio);
	if (locked)
		sw_why(why, "%s: the key has a pass phrase; one without is needed", path);
	else if (!key)
		sw_why(why, "%s: there is no private key in PEM format in it", path);
	if (!key || locked) {
		EVP_PKEY_free(key);
		return false;
	}
	fits = SSL_CTX_use_PrivateKey(ssl, key) == 1 && SSL_CTX_check_private_key(ssl) == 1;
	EVP_PKEY_free(key);
	return fits || sw_why(why, "%s: the key does not belong to the certificate", path);
}

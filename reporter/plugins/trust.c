/*
 * Where trusted certificates come from; see trust.h. Part of every plug-in that asks.
 *
 * A folder of files that are named by hashes is asked for one certificate during a handshake; a
 * bundle is read whole, some hundred certificates. So folders come first where a system has both.
 */
#include "reporter/plugins/trust.h"

#include <dirent.h>
#include <string.h>
#include <unistd.h>

#include "preload/bytes.h"

static const char *const folders[] = {
	"/etc/ssl/certs",				  /* Debian, Alpine, SUSE, Arch */
	"/etc/pki/ca-trust/extracted/pem/directory-hash", /* Fedora */
	"/etc/pki/tls/certs",				  /* Red Hat */
};

static const char *const bundles[] = {
	"/etc/ssl/certs/ca-certificates.crt",		     /* Debian, Alpine, Arch */
	"/etc/pki/tls/certs/ca-bundle.crt",		     /* Red Hat */
	"/etc/ssl/ca-bundle.pem",			     /* SUSE */
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", /* Red Hat, newer */
	"/etc/ssl/cert.pem",				     /* Alpine without ca-certificates */
};

/* Eight hexadecimal digits, a point, a number. */
static bool hashed_name(const char *name)
{
	return strspn(name, "0123456789abcdef") == 8 && name[8] == '.' && name[9] >= '0' &&
	       name[9] <= '9';
}

static bool hashed_folder(const char *path)
{
	DIR *folder = opendir(path);
	const struct dirent *entry;
	bool found = false;

	while (folder && !found && (entry = readdir(folder)))
		found = hashed_name(entry->d_name);
	if (folder)
		closedir(folder);
	return found;
}

static struct sw_trust find_system(void)
{
	for (size_t i = 0; i < SW_COUNT_OF(folders); i++) {
		if (hashed_folder(folders[i]))
			return (struct sw_trust){folders[i], NULL};
	}
	for (size_t i = 0; i < SW_COUNT_OF(bundles); i++) {
		if (access(bundles[i], R_OK) == 0)
			return (struct sw_trust){NULL, bundles[i]};
	}
	return (struct sw_trust){NULL, NULL};
}

static const char *given(const char *text)
{
	return text[0] ? text : NULL;
}

struct sw_trust sw_trust_find(const struct sw_tls_wish *wish)
{
	if (wish->ca[0])
		return (struct sw_trust){NULL, wish->ca};
	if (wish->store_folder[0] || wish->store_file[0])
		return (struct sw_trust){given(wish->store_folder), given(wish->store_file)};
	return find_system();
}

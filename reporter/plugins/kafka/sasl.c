/*
 * In place of Cyrus SASL, which librdkafka asks for Kerberos (GSSAPI) alone: PLAIN, SCRAM and
 * OAUTHBEARER are its own. Cyrus loads modules from the system and has no archive; a configuration
 * that wants Kerberos is refused before any of this is called (conf.c).
 */
#include <stddef.h>

#define SASL_OK 0
#define SASL_NOMECH (-4)

int sasl_client_init(const void *callbacks);
int sasl_client_new(const char *service, const char *server, const char *local, const char *remote,
		    const void *callbacks, unsigned flags, void **ret_connection);
int sasl_client_start(void *connection, const char *mechanisms, void **prompt, const char **ret_out,
		      unsigned *ret_len, const char **ret_mechanism);
int sasl_client_step(void *connection, const char *in, unsigned len, void **prompt,
		     const char **ret_out, unsigned *ret_len);
int sasl_getprop(void *connection, int property, const void **ret_value);
int sasl_listmech(void *connection, const char *user, const char *prefix, const char *separator,
		  const char *suffix, const char **ret_result, unsigned *ret_len, int *ret_count);
const char *sasl_errdetail(void *connection);
const char *sasl_errstring(int error, const char *languages, const char **ret_language);
void sasl_dispose(void **connection);

int sasl_client_init(const void *callbacks)
{
	(void)callbacks;
	return SASL_OK;
}

int sasl_client_new(const char *service, const char *server, const char *local, const char *remote,
		    const void *callbacks, unsigned flags, void **ret_connection)
{
	(void)service, (void)server, (void)local, (void)remote, (void)callbacks, (void)flags;
	*ret_connection = NULL;
	return SASL_NOMECH;
}

int sasl_client_start(void *connection, const char *mechanisms, void **prompt, const char **ret_out,
		      unsigned *ret_len, const char **ret_mechanism)
{
	(void)connection, (void)mechanisms, (void)prompt;
	(void)ret_out, (void)ret_len, (void)ret_mechanism;
	return SASL_NOMECH;
}

int sasl_client_step(void *connection, const char *in, unsigned len, void **prompt,
		     const char **ret_out, unsigned *ret_len)
{
	(void)connection, (void)in, (void)len, (void)prompt, (void)ret_out, (void)ret_len;
	return SASL_NOMECH;
}

int sasl_getprop(void *connection, int property, const void **ret_value)
{
	(void)connection, (void)property, (void)ret_value;
	return SASL_NOMECH;
}

int sasl_listmech(void *connection, const char *user, const char *prefix, const char *separator,
		  const char *suffix, const char **ret_result, unsigned *ret_len, int *ret_count)
{
	(void)connection, (void)user, (void)prefix, (void)separator, (void)suffix;
	(void)ret_result, (void)ret_len, (void)ret_count;
	return SASL_NOMECH;
}

const char *sasl_errdetail(void *connection)
{
	(void)connection;
	return "Kerberos is not built in";
}

const char *sasl_errstring(int error, const char *languages, const char **ret_language)
{
	(void)error, (void)languages, (void)ret_language;
	return "Kerberos is not built in";
}

void sasl_dispose(void **connection)
{
	*connection = NULL;
}

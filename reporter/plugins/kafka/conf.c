/*
 * What the configuration makes of librdkafka's.
 *
 * SW_KAFKA_REPORTER_CONFIG_* takes the names of librdkafka and those of kafka-python, which the
 * Python agent passes to its producer. Letters may be of either case, and `_` stands for `.`, which
 * no shell can put into a variable's name. Of what is wrong each thing is said once; the rest
 * holds.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "reporter/plugins/kafka/kafka.h"

#define PREFIX "SW_KAFKA_REPORTER_CONFIG_"
#define NAME_MAX_BYTES 64
#define TOPIC_MAX 249

/* Ours unless the user says otherwise, and where not marked librdkafka's own default holds. */
static const struct {
	const char *name, *value;
} defaults[] = {
	{"client.id", "swagent"},
	/* the partition that Java's and Python's producers choose for a key */
	{"partitioner", "murmur2_random"},
	/* a batch of ours comes at once; the end of a program would wait for the default, 5 */
	{"linger.ms", "1"},
	/* ours wait with us, where they are counted and limited */
	{"message.timeout.ms", "30000"},
	{"socket.keepalive.enable", "true"},
	/* a statically linked OpenSSL knows only Debian's place for certificates */
	{"ssl.ca.location", "probe"},
};

/* Whatever the user says. */
static const struct {
	const char *name, *value;
} musts[] = {
	{"log.queue", "true"},		 /* it would write to stderr, from its threads */
	{"enable.random.seed", "false"}, /* the program's srand */
};

/* How a value of kafka-python becomes one of librdkafka. */
enum manner {
	AS_IT_IS,
	IN_KILOBYTES, /* from bytes */
	AS_ALGORITHM, /* from whether names are checked */
	WITHOUT,      /* understood, and means nothing here */
	FORBIDDEN,    /* would break what we promise */
	NOT_BUILT,
};

/* In lower case, with underscores. What is not listed is called as in librdkafka. */
static const struct translation {
	const char *given, *name;
	enum manner manner;
} translations[] = {
	{"api_version", NULL, WITHOUT},
	{"api_version_auto_timeout_ms", NULL, WITHOUT},
	{"bootstrap_servers", NULL, FORBIDDEN},
	{"buffer_memory", "queue.buffering.max.kbytes", IN_KILOBYTES},
	{"delivery_report_only_error", NULL, FORBIDDEN},
	{"enable_random_seed", NULL, FORBIDDEN},
	{"internal_termination_signal", NULL, FORBIDDEN},
	{"key_serializer", NULL, FORBIDDEN},
	{"log_queue", NULL, FORBIDDEN},
	{"max_block_ms", NULL, WITHOUT},
	{"max_request_size", "message.max.bytes", AS_IT_IS},
	{"metadata_broker_list", NULL, FORBIDDEN},
	{"metric_reporters", NULL, WITHOUT},
	{"metrics_num_samples", NULL, WITHOUT},
	{"metrics_sample_window_ms", NULL, WITHOUT},
	{"plugin_library_paths", NULL, FORBIDDEN},
	{"receive_buffer_bytes", "socket.receive.buffer.bytes", AS_IT_IS},
	{"sasl_kerberos_domain_name", NULL, NOT_BUILT},
	{"sasl_kerberos_keytab", NULL, NOT_BUILT},
	{"sasl_kerberos_kinit_cmd", NULL, NOT_BUILT},
	{"sasl_kerberos_principal", NULL, NOT_BUILT},
	{"sasl_kerberos_service_name", NULL, NOT_BUILT},
	{"sasl_oauth_token_provider", NULL, NOT_BUILT},
	{"sasl_plain_password", "sasl.password", AS_IT_IS},
	{"sasl_plain_username", "sasl.username", AS_IT_IS},
	{"send_buffer_bytes", "socket.send.buffer.bytes", AS_IT_IS},
	{"ssl_cafile", "ssl.ca.location", AS_IT_IS},
	{"ssl_certfile", "ssl.certificate.location", AS_IT_IS},
	{"ssl_check_hostname", "ssl.endpoint.identification.algorithm", AS_ALGORITHM},
	{"ssl_ciphers", "ssl.cipher.suites", AS_IT_IS},
	{"ssl_crlfile", "ssl.crl.location", AS_IT_IS},
	{"ssl_engine_id", NULL, NOT_BUILT},
	{"ssl_engine_location", NULL, NOT_BUILT},
	{"ssl_keyfile", "ssl.key.location", AS_IT_IS},
	{"ssl_password", "ssl.key.password", AS_IT_IS},
	{"ssl_providers", NULL, NOT_BUILT},
	{"statistics_interval_ms", NULL, FORBIDDEN},
	{"transactional_id", NULL, FORBIDDEN},
	{"value_serializer", NULL, FORBIDDEN},
};

static const char *const refusals[] = {
	[WITHOUT] = NULL,
	[FORBIDDEN] = "it is not for you to set",
	[NOT_BUILT] = "that is not built in",
};

static bool complained; /* kept across fork */

/* An entry NAME=VALUE of the family. */
struct entry {
	const char *given; /* the name as it is written, up to the equals sign */
	int given_len;
	char name[NAME_MAX_BYTES]; /* in lower case, with underscores */
	const char *value;
};

static void refuse(const struct entry *e, const char *why)
{
	if (!complained)
		sw_kafka_host->say(SW_LEVEL_WARNING, PREFIX "%.*s is ignored: %s", e->given_len,
				   e->given, why);
}

static bool read_entry(const char *text, struct entry *ret_entry)
{
	size_t len = strcspn(text, "=");

	*ret_entry = (struct entry){.given = text, .given_len = (int)len, .value = text + len + 1};
	if (len >= sizeof(ret_entry->name))
		return false;
	for (size_t i = 0; i < len; i++)
		ret_entry->name[i] =
			text[i] == '.' || text[i] == '-' ? '_' : (char)sw_lower((uint8_t)text[i]);
	return true;
}

/* Was it there before? As with getenv, the first counts. */
static bool is_repeated(const struct entry *e)
{
	struct entry other;

	for (const char *at = sw_kafka_host->config->kafka_reporter; at != e->given;
	     at += strlen(at) + 1) {
		if (read_entry(at, &other) && strcmp(other.name, e->name) == 0)
			return true;
	}
	return false;
}

static const struct translation *translate(const struct entry *e)
{
	for (size_t i = 0; i < SW_COUNT_OF(translations); i++) {
		if (strcmp(translations[i].given, e->name) == 0)
			return &translations[i];
	}
	return NULL;
}

static void set(rd_kafka_conf_t *conf, const struct entry *e, const char *name, const char *value)
{
	char why[256];

	if (rd_kafka_conf_set(conf, name, value, why, sizeof(why)) != RD_KAFKA_CONF_OK)
		refuse(e, why);
}

static void set_kilobytes(rd_kafka_conf_t *conf, const struct entry *e, const char *name)
{
	char text[24], *end;
	unsigned long long bytes = strtoull(e->value, &end, 10);

	if (*end || end == e->value) {
		refuse(e, "it is not a number");
		return;
	}
	snprintf(text, sizeof(text), "%llu", bytes < 1024 ? 1 : bytes / 1024);
	set(conf, e, name, text);
}

/* Python's spelling of what is true; other values as they are. */
static const char *plain_value(const struct entry *e)
{
	if (strcmp(e->value, "True") == 0)
		return "true";
	return strcmp(e->value, "False") == 0 ? "false" : e->value;
}

/* By librdkafka's name: no property of its has an underscore. */
static void set_plain(rd_kafka_conf_t *conf, const struct entry *e)
{
	char name[NAME_MAX_BYTES];

	for (size_t i = 0; i < sizeof(name); i++)
		name[i] = e->name[i] == '_' ? '.' : e->name[i];
	set(conf, e, name, plain_value(e));
}

static void apply(rd_kafka_conf_t *conf, const struct entry *e)
{
	const struct translation *t = translate(e);
	bool yes = strcmp(plain_value(e), "false") != 0;

	if (!t)
		set_plain(conf, e);
	else if (t->manner == AS_IT_IS)
		set(conf, e, t->name, plain_value(e));
	else if (t->manner == IN_KILOBYTES)
		set_kilobytes(conf, e, t->name);
	else if (t->manner == AS_ALGORITHM)
		set(conf, e, t->name, yes ? "https" : "none");
	else if (refusals[t->manner])
		refuse(e, refusals[t->manner]);
}

static void apply_family(rd_kafka_conf_t *conf)
{
	struct entry e;

	for (const char *at = sw_kafka_host->config->kafka_reporter; *at; at += strlen(at) + 1) {
		if (!read_entry(at, &e))
			refuse(&e, "no property is called so");
		else if (!is_repeated(&e))
			apply(conf, &e);
	}
}

static bool holds(const rd_kafka_conf_t *conf, const char *name, const char *part)
{
	char value[256] = "";
	size_t size = sizeof(value);

	return rd_kafka_conf_get(conf, name, value, &size) == RD_KAFKA_CONF_OK &&
	       strcasestr(value, part);
}

/* Kerberos would start programs (kinit) and load modules. */
static bool wants_kerberos(const rd_kafka_conf_t *conf)
{
	return holds(conf, "security.protocol", "sasl") && holds(conf, "sasl.mechanisms", "gssapi");
}

static bool must_set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
	char why[256];

	if (rd_kafka_conf_set(conf, name, value, why, sizeof(why)) == RD_KAFKA_CONF_OK)
		return true;
	if (!complained)
		sw_kafka_host->say(SW_LEVEL_WARNING, "Kafka cannot be used: %s; nothing is sent",
				   why);
	return false;
}

static bool fill(rd_kafka_conf_t *conf)
{
	bool ok = must_set(conf, "bootstrap.servers", sw_kafka_host->config->kafka_servers);

	for (size_t i = 0; ok && i < SW_COUNT_OF(defaults); i++)
		ok = must_set(conf, defaults[i].name, defaults[i].value);
	if (ok)
		apply_family(conf);
	for (size_t i = 0; ok && i < SW_COUNT_OF(musts); i++)
		ok = must_set(conf, musts[i].name, musts[i].value);
	if (ok && wants_kerberos(conf)) {
		if (!complained)
			sw_kafka_host->say(SW_LEVEL_WARNING,
					   "Kerberos (GSSAPI) to Kafka is not built in; nothing is "
					   "sent (" PREFIX "SASL_MECHANISM: PLAIN, SCRAM-SHA-256 "
					   "or SCRAM-SHA-512)");
		ok = false;
	}
	return ok;
}

rd_kafka_conf_t *sw_kafka_conf(void)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	bool ok = fill(conf);

	complained = true;
	if (ok)
		return conf;
	rd_kafka_conf_destroy(conf);
	return NULL;
}

bool sw_kafka_conf_blames(const rd_kafka_conf_t *conf, char *ret_why, size_t room)
{
	static const char *const files[] = {"ssl.ca.location", "ssl.certificate.location",
					    "ssl.key.location", "ssl.keystore.location",
					    "ssl.crl.location"};
	char path[1024];

	for (size_t i = 0; i < SW_COUNT_OF(files); i++) {
		size_t size = sizeof(path);

		if (rd_kafka_conf_get(conf, files[i], path, &size) != RD_KAFKA_CONF_OK ||
		    !path[0] || strcmp(path, "probe") == 0 || access(path, R_OK) == 0)
			continue;
		snprintf(ret_why, room, "%s cannot be read (%s)", path, files[i]);
		return true;
	}
	return false;
}

/* By the kind's name. */
static const char *topic_of(const char *kind)
{
	const struct sw_config *config = sw_kafka_host->config;

	if (strcmp(kind, "segment") == 0)
		return config->kafka_topic_segment;
	if (strcmp(kind, "log") == 0)
		return config->kafka_topic_log;
	if (strcmp(kind, "meter") == 0)
		return config->kafka_topic_meter;
	return config->kafka_topic_management;
}

bool sw_kafka_topic(enum sw_batch_kind kind, char *ret_name, size_t room)
{
	const char *space = sw_kafka_host->config->kafka_space;
	int len = snprintf(ret_name, room, "%s%s%s", space, space[0] ? "-" : "",
			   topic_of(sw_kafka_host->kinds[kind].name));

	return len > 0 && (size_t)len < room && len <= TOPIC_MAX;
}

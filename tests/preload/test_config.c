/* The table of keys: defaults, each type's good and bad values, other names, limits. */
#include "preload/config.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READ(config, ...) read_lines((const char *const[]){__VA_ARGS__, NULL}, (config))

static void read_lines(const char *const *lines, struct sw_config *ret_config)
{
	sw_config_read((char *const *)(uintptr_t)lines, ret_config); /* environ is not const */
}

static const char default_suffixes[] =
	".jpg,.jpeg,.js,.css,.png,.bmp,.gif,.ico,.mp3,.mp4,.html,.svg";

static void assert_complaint(unsigned i, const char *env, const char *value)
{
	const struct sw_config_complaint *complaint = sw_config_complaint(i);

	cr_assert_not_null(complaint, "no complaint %u of %s", i, env);
	cr_assert_str_eq(complaint->env, env);
	cr_assert_str_eq(complaint->value, value);
	cr_assert(complaint->want && complaint->want[0]);
}

static void assert_defaults(const struct sw_config *config)
{
#define IS_DEFAULT_flag(field, value) cr_assert_eq(config->field, value, #field);
#define IS_DEFAULT_number(field, value) cr_assert_eq(config->field, value, #field);
#define IS_DEFAULT_choice(field, value) cr_assert_eq(config->field, (int)value, #field);
#define IS_DEFAULT_text(field, value) cr_assert_str_eq(config->field, value, #field);
#define IS_DEFAULT_family(field, value) cr_assert_str_eq(config->field, value, #field);
#define SW_ALIAS(alias, env)
#define SW_KEY(type, field, env, value, least, most, doc) IS_DEFAULT_##type(field, value)
#include "preload/config.def"
#undef SW_KEY
#undef SW_ALIAS
}

Test(config, before_it_is_read)
{
	assert_defaults(&sw_config);
}

/* OpenSSL's own names; nothing else that begins so is ours. */
Test(config, names_without_our_prefix)
{
	struct sw_config config;

	READ(&config, "SSL_CERT=x", "SSL_CERT_FILES=x", "SSL_CERT_FILE=/a", "SSL_CERT_DIR=/b:/c");
	cr_assert_str_eq(config.tls_store_file, "/a");
	cr_assert_str_eq(config.tls_store_folder, "/b:/c");
	cr_assert_null(sw_config_complaint(0));
}

/* By its own name or another one; also when the value is its default, or no good. */
Test(config, given_ones)
{
	struct sw_config config;

	READ(&config, "SW_AGENT_METER_REPORTER_ACTIVE=true", "SW_LOGGING_LEVEL=bad", "SW_OTHER=1");
	cr_assert(sw_config_given(&sw_config.meter_active));
	cr_assert(sw_config_given(&sw_config.log_level));
	cr_assert_not(sw_config_given(&sw_config.pvm_active));
	READ(&config, "SW_OTHER=1");
	cr_assert_not(sw_config_given(&sw_config.meter_active));
	cr_assert_not(sw_config_given(&config), "no field of ours");
}

Test(config, empty_environment)
{
	struct sw_config config;

	memset(&config, 0xff, sizeof(config));
	sw_config_read((char *const[]){NULL}, &config);
	assert_defaults(&config);
	cr_assert_null(sw_config_complaint(0));
	memset(&config, 0xff, sizeof(config));
	sw_config_read(NULL, &config);
	assert_defaults(&config);
}

Test(config, other_variables_mean_nothing)
{
	struct sw_config config;

	READ(&config, "PATH=/bin", "SW_=1", "SW_AGENT_NAMES=a", "SW_AGENT_NAM=a",
	     "XSW_AGENT_NAME=a", "SW_AGENT_NAME", "", "=", "SW_AGENT_ENABLE ", "sw_agent_name=a");
	assert_defaults(&config);
	cr_assert_null(sw_config_complaint(0));
}

static void assert_unknown(unsigned count, const char *const *names)
{
	for (unsigned i = 0; i < count; i++) {
		cr_assert_not_null(sw_config_unknown(i));
		cr_assert_str_eq(sw_config_unknown(i), names[i]);
	}
	cr_assert_null(sw_config_unknown(count));
	cr_assert_eq(sw_config_unknown_count(), count);
}

/* Only what is set and begins with SW_; each once, and not its value. */
Test(config, unknown_names)
{
	static const char *const names[] = {"SW_", "SW_AGENT_NAMES", "SW_agent_name"};
	struct sw_config config;

	READ(&config, "PATH=/bin", "SW_=1", "SW_AGENT_NAMES=a", "SW_AGENT_NAME=x", "SW=1",
	     "XSW_AGENT_NAME=a", "SW_AGENT_NOTHING", "SWAGENT_X=1", "", "=", "SW_agent_name=secret",
	     "SW_AGENT_NAMES=b", "sw_agent_name=a", "SW_AGENT_SAMPLE=1", "SW_AGENT_ENABLE=bad");
	assert_unknown(3, names);
	assert_complaint(0, "SW_AGENT_ENABLE", "bad");
	cr_assert_null(sw_config_complaint(1));
	READ(&config, "SW_AGENT_NAME=x", "SW_AGENT_SAMPLE=2", "SW_SAMPLE_N_PER_3_SECS=1");
	assert_unknown(0, NULL);
	sw_config_read(NULL, &config);
	assert_unknown(0, NULL);
}

/* What is kept does not depend on the program's memory, and takes no room from a text. */
Test(config, unknown_names_are_bounded)
{
	static char lines[100][400];
	const char *environment[102] = {NULL};
	struct sw_config config;

	for (int i = 0; i < 100; i++) {
		snprintf(lines[i], sizeof(lines[i]), "SW_%d_%0300d=value", i, 0);
		environment[i] = lines[i];
	}
	environment[100] = "SW_AGENT_NAME=last";
	read_lines(environment, &config);
	memset(lines, 'x', sizeof(lines));
	cr_assert_str_eq(config.service_name, "last");
	cr_assert_eq(sw_config_unknown_count(), 100);
	cr_assert_null(sw_config_unknown(SW_CONFIG_UNKNOWN_MAX));
	for (unsigned i = 0; i < SW_CONFIG_UNKNOWN_MAX; i++) {
		cr_assert_eq(strlen(sw_config_unknown(i)), SW_CONFIG_UNKNOWN_CUT);
		cr_assert_eq(strncmp(sw_config_unknown(i), "SW_", 3), 0);
	}
}

/* Of the Python agent, in each of its forms; what they mean is another test's. */
Test(config, asyncio_in_both_settings)
{
	struct sw_config config;

	READ(&config, "SW_AGENT_ASYNCIO_ENHANCEMENT=True");
	cr_assert(config.asyncio_enhancement);
	cr_assert_null(sw_config_complaint(0));
	READ(&config, "SW_AGENT_ASYNCIO_ENHANCEMENT=false");
	cr_assert_not(config.asyncio_enhancement);
	cr_assert_null(sw_config_complaint(0));
}

/* What others' rows read: each type of the keys that are only accepted. */
Test(config, accepted_keys)
{
	struct sw_config config;

	READ(&config, "SW_AGENT_PROFILE_ACTIVE=False", "SW_AGENT_PROFILE_DURATION=3",
	     "SW_AGENT_LOG_REPORTER_LEVEL=NOTSET", "SW_LOGGING_LEVEL=TRACE",
	     "SW_AGENT_LOG_REPORTER_LAYOUT=%(message)s", "SW_AGENT_DISABLE_PLUGINS=sw_flask,sw_.*",
	     "SW_METER_REPORT_INTERVAL=7", "SW_PLUGIN_MONGODB_TRACE_PARAM=true",
	     "SW_PLUGIN_TOMCAT_COLLECT_HTTP_PARAMS=true");
	cr_assert_not(config.profile_active);
	cr_assert_eq(config.profile_minutes, 3);
	cr_assert_eq(config.log_least, SW_LEVEL_DEBUG);
	cr_assert_eq(config.log_level, SW_LEVEL_DEBUG);
	cr_assert_str_eq(config.log_layout, "%(message)s");
	cr_assert_str_eq(config.disable_plugins, "sw_flask,sw_.*");
	cr_assert_eq(config.meter_period_s, 7);
	cr_assert(config.mongo_parameters);
	cr_assert(config.collect_params);
	cr_assert_null(sw_config_complaint(0));
	cr_assert_eq(sw_config_unknown_count(), 0);
}

Test(config, flags)
{
	struct sw_config config;

	READ(&config, "SW_AGENT_ENABLE=false");
	cr_assert_not(config.enable);
	READ(&config, "SW_AGENT_ENABLE=FALSE");
	cr_assert_not(config.enable);
	READ(&config, "SW_AGENT_ENABLE=True", "SW_AGENT_FORCE_TLS=TRUE");
	cr_assert(config.enable);
	cr_assert(config.force_tls);
	cr_assert_null(sw_config_complaint(0));
	READ(&config, "SW_AGENT_ENABLE=no", "SW_AGENT_FORCE_TLS=1",
	     "SW_AGENT_ASYNCIO_ENHANCEMENT=");
	assert_defaults(&config);
	assert_complaint(0, "SW_AGENT_ENABLE", "no");
	assert_complaint(1, "SW_AGENT_FORCE_TLS", "1");
	assert_complaint(2, "SW_AGENT_ASYNCIO_ENHANCEMENT", "");
	cr_assert_null(sw_config_complaint(3));
}

Test(config, numbers)
{
	struct sw_config config;

	READ(&config, "SW_AGENT_COLLECTOR_HEARTBEAT_PERIOD=1", "SW_AGENT_EXIT_FLUSH_TIMEOUT=0",
	     "SW_AGENT_CONNECTION_MAX=1048576", "SW_AGENT_QUEUE_TIMEOUT=007");
	cr_assert_eq(config.heartbeat_s, 1);
	cr_assert_eq(config.exit_flush_ms, 0);
	cr_assert_eq(config.connections_max, 1048576);
	cr_assert_eq(config.queue_timeout_s, 7);
	cr_assert_null(sw_config_complaint(0));
}

Test(config, bad_numbers_leave_the_default)
{
	static const char *const bad[] = {
		"",
		"-1",
		"+5",
		"5 ",
		" 5",
		"5s",
		"0x10",
		"1e3",
		"1.0",
		"five",
		"0",
		"61",
		"1000000000000000000000000000000",
		"18446744073709551617",
	};

	for (size_t i = 0; i < SW_COUNT_OF(bad); i++) {
		struct sw_config config;
		char line[128] = "SW_AGENT_QUEUE_TIMEOUT=";

		strcat(line, bad[i]);
		READ(&config, line);
		assert_defaults(&config);
		assert_complaint(0, "SW_AGENT_QUEUE_TIMEOUT", bad[i]);
		cr_assert_null(sw_config_complaint(1));
	}
}

Test(config, choices)
{
	struct sw_config config;

	READ(&config, "SW_AGENT_PROTOCOL=file", "SW_AGENT_LOGGING_LEVEL=WARNING");
	cr_assert_eq(config.protocol, SW_PROTOCOL_FILE);
	cr_assert_eq(config.log_level, SW_LEVEL_WARNING);
	READ(&config, "SW_AGENT_PROTOCOL=gRPC", "SW_AGENT_LOGGING_LEVEL=OFF");
	cr_assert_eq(config.protocol, SW_PROTOCOL_GRPC);
	cr_assert_eq(config.log_level, SW_LEVEL_OFF);
	cr_assert_null(sw_config_complaint(0));
	READ(&config, "SW_AGENT_PROTOCOL=fil", "SW_AGENT_LOGGING_LEVEL=debug,info",
	     "SW_AGENT_NAME=a");
	cr_assert_eq(config.protocol, SW_PROTOCOL_GRPC);
	cr_assert_eq(config.log_level, SW_LEVEL_INFO);
	assert_complaint(0, "SW_AGENT_PROTOCOL", "fil");
	assert_complaint(1, "SW_AGENT_LOGGING_LEVEL", "debug,info");
	READ(&config, "SW_AGENT_LOGGING_LEVEL=warn");
	cr_assert_eq(config.log_level, SW_LEVEL_WARNING);
	READ(&config, "SW_AGENT_LOGGING_LEVEL=CRITICAL");
	cr_assert_eq(config.log_level, SW_LEVEL_CRITICAL);
	READ(&config, "SW_AGENT_PROTOCOL=");
	assert_complaint(0, "SW_AGENT_PROTOCOL", "");
}

Test(config, texts_are_copies_kept_as_given)
{
	char name[] = "SW_AGENT_NAME= a=b, c ";
	struct sw_config config;

	READ(&config, name, "SW_AGENT_IGNORE_SUFFIX=");
	memset(name, 'x', sizeof(name) - 1);
	cr_assert_str_eq(config.service_name, " a=b, c ");
	cr_assert_str_eq(config.ignore_suffix, "", "empty is not the default");
	cr_assert_null(sw_config_complaint(0));
}

/* Secrets are kept in files, and files end in a line end: in a header it would be a lie. */
Test(config, a_text_ends_before_its_line_end)
{
	struct sw_config config;

	READ(&config, "SW_AGENT_AUTHENTICATION=a b\r\n", "SW_AGENT_NAME=\n",
	     "SW_AGENT_INSTANCE_NAME=a\nb\n\n");
	cr_assert_str_eq(config.authentication, "a b");
	cr_assert_str_eq(config.service_name, "");
	cr_assert_str_eq(config.instance_name, "a\nb");
}

/* As with flags: who sets SW_AGENT_ENABLE=false will not write this with a capital. */
Test(config, the_letters_of_true_are_of_either_case)
{
	struct sw_config config;

	READ(&config, "SW_AGENT_SW_PYTHON_CLI_DEBUG_ENABLED=true");
	cr_assert_eq(config.log_level, SW_LEVEL_DEBUG);
	READ(&config, "SW_AGENT_SW_PYTHON_CLI_DEBUG_ENABLED=false");
	cr_assert_eq(config.log_level, SW_LEVEL_INFO);
}

Test(config, texts_have_a_longest)
{
	char line[] = "SW_AGENT_SW_PYTHON_BOOTSTRAP_PROPAGATE=0123456789abcdef";
	char longer[] = "SW_AGENT_SW_PYTHON_BOOTSTRAP_PROPAGATE=0123456789abcdefg";
	struct sw_config config;

	READ(&config, line);
	cr_assert_str_eq(config.propagate, "0123456789abcdef");
	READ(&config, longer);
	assert_defaults(&config);
	assert_complaint(0, "SW_AGENT_SW_PYTHON_BOOTSTRAP_PROPAGATE", "(not shown)");
}

Test(config, a_complaint_cuts_the_value)
{
	char line[400] = "SW_AGENT_QUEUE_TIMEOUT=";
	struct sw_config config;

	memset(line + strlen(line), '7', 300);
	READ(&config, line);
	cr_assert_eq(strlen(sw_config_complaint(0)->value), 64);
}

Test(config, other_names)
{
	struct sw_config config;

	READ(&config, "SW_AGENT_SAMPLE=5", "SW_AGENT_SPAN_LIMIT=9",
	     "SW_PLUGIN_DJANGO_COLLECT_HTTP_PARAMS=true");
	cr_assert_eq(config.sample_per_3s, 5);
	cr_assert_eq(config.span_limit, 9);
	cr_assert(config.collect_params);
	READ(&config, "SW_SAMPLE_N_PER_3_SECS=6", "SW_AGENT_SAMPLE=5");
	cr_assert_eq(config.sample_per_3s, 6, "the key itself wins");
	READ(&config, "SW_AGENT_SAMPLE=5", "SW_SAMPLE_N_PER_3_SECS=6");
	cr_assert_eq(config.sample_per_3s, 6, "the key itself wins, whatever the order");
}

Test(config, any_alias_turns_a_switch_on)
{
	struct sw_config config;

	READ(&config, "SW_PLUGIN_FLASK_COLLECT_HTTP_PARAMS=false",
	     "SW_PLUGIN_SANIC_COLLECT_HTTP_PARAMS=true",
	     "SW_PLUGIN_TOMCAT_COLLECT_HTTP_PARAMS=false");
	cr_assert(config.collect_params);
	READ(&config, "SW_PLUGIN_SANIC_COLLECT_HTTP_PARAMS=true",
	     "SW_PLUGIN_FLASK_COLLECT_HTTP_PARAMS=false");
	cr_assert(config.collect_params);
	READ(&config, "SW_PLUGIN_SANIC_COLLECT_HTTP_PARAMS=perhaps",
	     "SW_PLUGIN_FLASK_COLLECT_HTTP_PARAMS=true");
	cr_assert(config.collect_params);
	READ(&config, "SW_PLUGIN_SANIC_COLLECT_HTTP_PARAMS=false",
	     "SW_PLUGIN_FLASK_COLLECT_HTTP_PARAMS=false");
	cr_assert_not(config.collect_params);
	READ(&config, "SW_PLUGIN_SANIC_COLLECT_HTTP_PARAMS=true",
	     "SW_PLUGIN_HTTP_COLLECT_HTTP_PARAMS=false");
	cr_assert_not(config.collect_params, "the key itself wins");
	READ(&config, "SW_PLUGIN_FLASK_COLLECT_HTTP_PARAMS=false",
	     "SW_PLUGIN_FLASK_COLLECT_HTTP_PARAMS=true");
	cr_assert_not(config.collect_params, "of one name the first counts");
	READ(&config, "SW_PLUGIN_FLASK_COLLECT_HTTP_PARAMS=maybe",
	     "SW_PLUGIN_FLASK_COLLECT_HTTP_PARAMS=perhaps");
	cr_assert(sw_config_complaint(0) && !sw_config_complaint(1),
		  "and it alone is complained of");
}

Test(config, every_alias_leads_to_a_key)
{
	static const char *const lines[] = {
#define SW_ALIAS(alias, env) alias "=\x01",
#define SW_KEY(type, field, env, value, least, most, doc)
#include "preload/config.def"
#undef SW_KEY
#undef SW_ALIAS
	};

	for (size_t i = 0; i < SW_COUNT_OF(lines); i++) {
		struct sw_config config;
		char line[128];

		strcpy(line, lines[i]);
		READ(&config, line);
		cr_assert(sw_config_complaint(0) ||
				  memcmp(&config, &sw_config, sizeof(config)) != 0,
			  "%s is read by nobody", lines[i]);
	}
}

/* All keys at their longest at once: nothing may be refused for want of room. */
Test(config, everything_at_its_longest)
{
	static const struct {
		const char *env;
		size_t most;
	} texts[] = {
#define LONGEST_flag(env, most)
#define LONGEST_number(env, most)
#define LONGEST_choice(env, most)
#define LONGEST_text(env, most) {env, most},
#define LONGEST_family(env, most)
#define SW_ALIAS(alias, env)
#define SW_KEY(type, field, env, value, least, most, doc) LONGEST_##type(env, most)
#include "preload/config.def"
#undef SW_KEY
#undef SW_ALIAS
	};
	char *environment[SW_COUNT_OF(texts) + 1] = {NULL};
	struct sw_config config;

	for (size_t i = 0; i < SW_COUNT_OF(texts); i++) {
		size_t len = strlen(texts[i].env);

		environment[i] = calloc(1, len + texts[i].most + 2);
		memcpy(environment[i], texts[i].env, len);
		environment[i][len] = '=';
		memset(environment[i] + len + 1, 'x', texts[i].most);
	}
	sw_config_read(environment, &config);
	cr_assert_null(sw_config_complaint(0));
	cr_assert_eq(strlen(config.instance_properties), 2048);
	cr_assert_eq(strlen(config.service_name), 128);
	for (size_t i = 0; i < SW_COUNT_OF(texts); i++)
		free(environment[i]);
}

Test(config, a_family)
{
	struct sw_config config;
	const char *at;

	READ(&config, "SW_KAFKA_REPORTER_CONFIG_acks=1", "SW_KAFKA_REPORTER_CONFIG_",
	     "SW_KAFKA_REPORTER_CONFIG_=x", "SW_KAFKA_REPORTER_CONFIG=y",
	     "SW_KAFKA_REPORTER_CONFIG_SSL.CAFILE=/a=b", "SW_KAFKA_REPORTER_CONFIG_acks=2",
	     "SW_KAFKA_REPORTER_CONFIG_none", "SW_KAFKA_REPORTER_CONFIG_e=");
	cr_assert_str_eq(at = config.kafka_reporter, "acks=1");
	cr_assert_str_eq(at += strlen(at) + 1, "SSL.CAFILE=/a=b");
	cr_assert_str_eq(at += strlen(at) + 1, "acks=2");
	cr_assert_str_eq(at += strlen(at) + 1, "e=");
	cr_assert_str_eq(at += strlen(at) + 1, "");
	cr_assert_null(sw_config_complaint(0));
	READ(&config, "SW_AGENT_NAME=a");
	cr_assert_str_eq(config.kafka_reporter, "");
}

/* Whole entries are left out, the others stay. */
Test(config, a_family_that_is_too_large)
{
	static char long_one[9000] = "SW_KAFKA_REPORTER_CONFIG_a=";
	struct sw_config config;

	memset(long_one + strlen(long_one), 'x', 8190);
	READ(&config, "SW_KAFKA_REPORTER_CONFIG_b=1", long_one, long_one,
	     "SW_KAFKA_REPORTER_CONFIG_c=1");
	cr_assert_str_eq(config.kafka_reporter, "b=1");
	cr_assert_str_eq(config.kafka_reporter + 4, "c=1");
	assert_complaint(0, "SW_KAFKA_REPORTER_CONFIG_*", "(not shown)");
	cr_assert_null(sw_config_complaint(1));
	long_one[strlen("SW_KAFKA_REPORTER_CONFIG_a=") + 8189] = 0;
	READ(&config, long_one, "SW_KAFKA_REPORTER_CONFIG_c=1");
	cr_assert_eq(strlen(config.kafka_reporter), 8191);
}

Test(config, complaints_are_bounded)
{
	static char lines[64][128];
	const char *environment[65] = {NULL};
	struct sw_config config;
	unsigned count = 0;

#define SW_ALIAS(alias, env)
#define SW_KEY(type, field, env, value, least, most, doc)                                          \
	if (strcmp(#type, "text") != 0 && strcmp(#type, "family") != 0)                            \
		environment[count] = strcat(strcpy(lines[count], env), "=a bad one"), count++;
#include "preload/config.def"
#undef SW_KEY
#undef SW_ALIAS
	cr_assert_gt(count, 8);
	read_lines(environment, &config);
	assert_defaults(&config);
	for (count = 0; sw_config_complaint(count);)
		count++;
	cr_assert_eq(count, 8);
}

/* As with getenv, also when it is no good. */
Test(config, of_two_entries_the_first_counts)
{
	struct sw_config config;

	READ(&config, "SW_AGENT_NAME=first", "SW_AGENT_NAME=second");
	cr_assert_str_eq(config.service_name, "first");
	READ(&config, "SW_AGENT_QUEUE_TIMEOUT=bad", "SW_AGENT_QUEUE_TIMEOUT=7");
	assert_defaults(&config);
	assert_complaint(0, "SW_AGENT_QUEUE_TIMEOUT", "bad");
	READ(&config, "SW_AGENT_QUEUE_TIMEOUT=7", "SW_AGENT_QUEUE_TIMEOUT=bad");
	cr_assert_eq(config.queue_timeout_s, 7);
	cr_assert_null(sw_config_complaint(0));
	READ(&config, "SW_AGENT_SAMPLE=5", "SW_SAMPLE_N_PER_3_SECS=bad");
	assert_defaults(&config);
	assert_complaint(0, "SW_SAMPLE_N_PER_3_SECS", "bad");
	READ(&config, "SW_AGENT_SAMPLE=bad", "SW_SAMPLE_N_PER_3_SECS=5");
	cr_assert_eq(config.sample_per_3s, 5);
	cr_assert_null(sw_config_complaint(0));
}

/* They were copied all, and the first, which counts, found no room. */
Test(config, many_of_one_name_take_no_room)
{
	static const char *environment[1001];
	struct sw_config config;

	for (size_t i = 0; i < SW_COUNT_OF(environment) - 1; i++)
		environment[i] = i ? "SW_AGENT_NAME=one of those that count for nothing"
				   : "SW_AGENT_NAME=shop";
	read_lines(environment, &config);
	cr_assert_str_eq(config.service_name, "shop");
	cr_assert_null(sw_config_complaint(0));
}

Test(config, a_second_read_begins_afresh)
{
	struct sw_config config;

	READ(&config, "SW_AGENT_PROTOCOL=x", "SW_AGENT_NAME=first", "SW_AGENT_ENABLE=false");
	READ(&config, "SW_AGENT_IGNORE_SUFFIX=.x");
	cr_assert_null(sw_config_complaint(0));
	cr_assert_str_eq(config.service_name, "");
	cr_assert_str_eq(config.ignore_suffix, ".x");
	cr_assert(config.enable);
	READ(&config, "A=b");
	cr_assert_str_eq(config.ignore_suffix, default_suffixes);
}

/* Names that are nobody's: which key is meant, and whose they are otherwise. */
#include "reporter/unknown.h"

#include <criterion/criterion.h>

static void assert_near(const char *name, const char *want)
{
	const char *nearest = sw_unknown_nearest(sw_bytes_text(name));

	cr_assert_eq(!nearest, !want, "%s: %s", name, nearest ? nearest : "none");
	if (want)
		cr_assert_str_eq(nearest, want, "%s: %s", name, nearest);
}

Test(unknown, the_key_that_is_meant)
{
	assert_near("SW_AGENT_COLLECTOR_BACKEND_SERVICE", "SW_AGENT_COLLECTOR_BACKEND_SERVICES");
	assert_near("SW_AGENT_COLLECTOR_BACKENDS_SERVICES", "SW_AGENT_COLLECTOR_BACKEND_SERVICES");
	assert_near("SW_AGENT_COLLECTOR_BAKCEND_SERVICES", "SW_AGENT_COLLECTOR_BACKEND_SERVICES");
	assert_near("SW_COLLECTOR_BACKEND_SERVICES", "SW_AGENT_COLLECTOR_BACKEND_SERVICES");
	assert_near("SW_AGNET_NAME", "SW_AGENT_NAME");
	assert_near("SW_AGENT_NAMES", "SW_AGENT_NAME");
	assert_near("SW_agent_NAME", NULL); /* five letters of thirteen */
	assert_near("SW_AGENT_INSTANCENAME", "SW_AGENT_INSTANCE_NAME");
	assert_near("SW_AGENT_PROTOKOL", "SW_AGENT_PROTOCOL");
	assert_near("SW_AGENT_SAMPEL", "SW_AGENT_SAMPLE"); /* another name of a key */
	assert_near("SW_AGENT_LOGING_LEVEL", "SW_AGENT_LOGGING_LEVEL");
}

Test(unknown, none_is_near)
{
	assert_near("SW_", NULL);
	assert_near("SW_X", NULL);
	assert_near("SW_FAVOURITE_COLOUR", NULL);
	assert_near("SW_AGENT_FAVOURITE_COLOUR", NULL);
	assert_near("", NULL);
}

/* No key at all is a mistake for another one. */
Test(unknown, each_key_is_nearest_to_itself)
{
#define SW_ALIAS(alias, env) assert_near(alias, alias);
#define SW_KEY(type, field, env, value, least, most, doc) assert_near(env, env);
#include "preload/config.def"
#undef SW_KEY
#undef SW_ALIAS
}

Test(unknown, long_names)
{
	static char name[5000];

	memset(name, 'S', sizeof(name) - 1);
	assert_near(name, NULL);
	memcpy(name, "SW_AGENT_NAME", 13);
	assert_near(name, NULL);
}

Test(unknown, whose_they_are)
{
	cr_assert(sw_unknown_is_others(SW_BYTES("SW_AGENT_KEEP_TRACING")));
	cr_assert(sw_unknown_is_others(SW_BYTES("SW_PLUGIN_JEDIS_TRACE_REDIS_PARAMETERS")));
	cr_assert_not(sw_unknown_is_others(SW_BYTES("SW_AGENT_KEEP_TRACINGS")));
	cr_assert_not(sw_unknown_is_others(SW_BYTES("SW_AGENT_KEEP_")));
	cr_assert_not(sw_unknown_is_others(SW_BYTES("SW_")));
	cr_assert_not(sw_unknown_is_others(SW_BYTES("")));
}

/* A key that is also said to be somebody else's would be a row too many. */
Test(unknown, no_key_is_another_s)
{
#define SW_ALIAS(alias, env) cr_assert_not(sw_unknown_is_others(SW_BYTES(alias)), alias);
#define SW_KEY(type, field, env, value, least, most, doc)                                          \
	cr_assert_not(sw_unknown_is_others(SW_BYTES(env)), env);
#include "preload/config.def"
#undef SW_KEY
#undef SW_ALIAS
}

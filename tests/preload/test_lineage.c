/* Whose image this one follows: what stands in environments, and what does not. */
#include "preload/lineage.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static char preload[] = "LD_PRELOAD=/x/libswagent.so", other[] = "PATH=/bin";

static void tell(void)
{
	sw_lineage_tell(SW_BYTES("instance"), SW_BYTES("my service"));
}

static char *const *with(char *const *environment)
{
	static struct sw_lineage_env env;

	sw_lineage_env(environment, &env);
	return env.environment;
}

Test(lineage, an_entry_is_taken_out_and_remembered)
{
	char entry[] = "SW_AGENT_EXEC_OF=one\ttwo words";
	char *environment[] = {other, entry, preload, NULL};
	struct sw_bytes instance, service;

	sw_lineage_load(environment);
	cr_assert_eq(environment[0], other);
	cr_assert_eq(environment[1], preload);
	cr_assert_null(environment[2]);
	cr_assert(sw_lineage_of(&instance, &service));
	cr_assert(sw_bytes_equal(instance, SW_BYTES("one")));
	cr_assert(sw_bytes_equal(service, SW_BYTES("two words")));
}

Test(lineage, what_is_broken_is_taken_out_and_forgotten)
{
	char none[] = "SW_AGENT_EXEC_OF=no separator", longer[400] = "SW_AGENT_EXEC_OF=a\t";
	char *environment[] = {none, longer, NULL};
	struct sw_bytes instance, service;

	memset(longer + 19, 'x', sizeof(longer) - 20);
	sw_lineage_load(environment);
	cr_assert_null(environment[0]);
	cr_assert_not(sw_lineage_of(&instance, &service));
	sw_lineage_load(NULL);
}

Test(lineage, only_who_reports_tells)
{
	char *environment[] = {preload, other, NULL};
	struct sw_lineage_env env;

	sw_lineage_env(environment, &env);

	cr_assert_eq(env.environment, environment);
	tell();
	sw_lineage_env(environment, &env);
	cr_assert_neq(env.environment, environment);
	cr_assert_eq(env.environment[0], preload);
	cr_assert_eq(env.environment[1], other);
	cr_assert_str_eq(env.environment[2], "SW_AGENT_EXEC_OF=instance\tmy service");
	cr_assert_null(env.environment[3]);
	sw_lineage_done(&env);
}

Test(lineage, heirs_pass_it_on)
{
	char entry[] = "SW_AGENT_EXEC_OF=one\ttwo";
	char *mine[] = {entry, NULL}, *theirs[] = {preload, NULL};
	struct sw_lineage_env env;

	sw_lineage_load(mine);
	sw_lineage_env(theirs, &env);
	cr_assert_str_eq(env.environment[1], entry);
	sw_lineage_done(&env);
}

Test(lineage, an_environment_without_us_is_left_alone)
{
	char foreign[] = "LD_PRELOAD=/x/libother.so", ours[] = "SW_AGENT_EXEC_OF=x\ty";
	char *bare[] = {other, NULL}, *others[] = {foreign, NULL}, *twice[] = {preload, ours, NULL};
	char *const *const all[] = {NULL, bare, others, twice};

	tell();
	for (size_t i = 0; i < SW_COUNT_OF(all); i++)
		cr_assert_eq(with(all[i]), all[i]);
}

Test(lineage, very_many_entries_are_left_alone)
{
	char *environment[2000];

	tell();
	for (size_t i = 0; i < SW_COUNT_OF(environment); i++)
		environment[i] = i ? other : preload;
	environment[1023] = NULL;
	cr_assert_eq(with(environment), environment);
	environment[1022] = NULL;
	cr_assert_neq(with(environment), environment);
}

Test(lineage, slots_of_the_dead_are_taken_over)
{
	static struct sw_lineage_env env[17];
	char *environment[200];

	tell();
	for (size_t i = 0; i < SW_COUNT_OF(environment); i++)
		environment[i] = i ? other : preload;
	environment[SW_COUNT_OF(environment) - 1] = NULL;
	if (vfork() == 0) { /* ends by exec, and gives nothing back */
		sw_lineage_env(environment, &env[0]);
		_exit(0);
	}
	wait(NULL);
	for (int i = 0; i < 17; i++)
		sw_lineage_env(environment, &env[i]);
	cr_assert_neq(env[15].environment, environment);
	cr_assert_eq(env[16].environment, environment); /* sixteen at once */
	cr_assert_not(sw_lineage_done(&env[16]));
	for (int i = 0; i < 16; i++)
		cr_assert(sw_lineage_done(&env[i]));
	cr_assert_neq(with(environment), environment);
}

/* What a service's children are: started by vfork, and alive for long. */
Test(lineage, children_that_live_on_hold_no_slot)
{
	static struct sw_lineage_env env;
	char *environment[200];
	static volatile bool told = true; /* not in a register of the parent's */
	int ends[2];

	tell();
	for (size_t i = 0; i < SW_COUNT_OF(environment); i++)
		environment[i] = i ? other : preload;
	environment[SW_COUNT_OF(environment) - 1] = NULL;
	cr_assert_eq(pipe(ends), 0);
	for (int i = 0; i < 40; i++) {
		if (vfork() == 0) {
			char *argv[] = {"cat", NULL};

			sw_lineage_env(environment, &env);
			told = told && env.environment != environment;
			dup2(ends[0], STDIN_FILENO);
			close(ends[1]);
			execv("/bin/cat", argv);
			_exit(1);
		}
	}
	cr_assert(told);
	close(ends[1]);
	while (wait(NULL) > 0)
		;
}

/* Nothing to tell: its slot was given back at once, and once more when its call was done. */
Test(lineage, a_slot_is_given_back_once)
{
	static struct sw_lineage_env foreign, env[16];
	char *theirs[200], *ours[200];

	tell();
	for (size_t i = 0; i < SW_COUNT_OF(ours); i++) {
		theirs[i] = other;
		ours[i] = i ? other : preload;
	}
	theirs[199] = ours[199] = NULL;
	sw_lineage_env(theirs, &foreign);
	cr_assert_eq(foreign.environment, theirs);
	sw_lineage_env(ours, &env[0]);
	cr_assert_not(sw_lineage_done(&foreign));
	sw_lineage_env(ours, &env[1]);
	cr_assert_neq(env[0].environment, env[1].environment);
	cr_assert(sw_lineage_done(&env[0]));
	cr_assert(sw_lineage_done(&env[1]));
}

Test(lineage, half_of_one_is_nobody)
{
	static const char *const broken[] = {"\t", "one\t", "\ttwo", "one\ttwo\tthree"};
	struct sw_bytes instance, service;

	for (size_t i = 0; i < SW_COUNT_OF(broken); i++) {
		char entry[64] = "SW_AGENT_EXEC_OF=", *environment[] = {entry, NULL};

		strcat(entry, broken[i]);
		sw_lineage_load(environment);
		cr_assert_null(environment[0]);
		cr_assert_not(sw_lineage_of(&instance, &service), "%zu", i);
	}
}

Test(lineage, a_name_with_a_tab_is_not_told)
{
	char *environment[] = {preload, NULL};

	sw_lineage_tell(SW_BYTES("one\ttwo"), SW_BYTES("service"));
	cr_assert_eq(with(environment), environment);
}

Test(lineage, too_long_a_name_is_not_told)
{
	char *environment[] = {preload, NULL};
	char name[400];

	memset(name, 'n', sizeof(name));
	sw_lineage_tell(sw_bytes(name, sizeof(name)), SW_BYTES("s"));
	cr_assert_eq(with(environment), environment);
}

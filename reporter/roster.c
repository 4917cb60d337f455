/* Whose turn it is; see roster.h. */
#include "reporter/roster.h"

#include <netdb.h>

#include "preload/sys.h"
#include "reporter/backoff.h"

#define RESOLVED_NS (60 * SW_SECOND_NS)
/* So many periods a home is left alone at most that is there and no good, time and again. */
#define PATIENCE_TIMES 16

/* Beginning anywhere, but always there: who is away from home shall find it again. */
static int resolve_all(struct sw_roster *r, const char *list, char ret_authority[SW_AUTHORITY_MAX])
{
	int hosts = sw_address_check(list), error = 0;

	r->count = 0;
	for (int i = 0; i < hosts; i++) {
		unsigned n = (r->dice + (unsigned)i) % (unsigned)hosts;
		int failed = sw_address_resolve(list, n, r->dice, r->address, &r->count);

		if (failed)
			error = failed;
		if (failed && !r->count)
			sw_address_authority(list, n, ret_authority);
	}
	return r->count ? 0 : error;
}

int sw_roster_resolve(struct sw_roster *r, const char *list, uint64_t now_ns,
		      char ret_authority[SW_AUTHORITY_MAX])
{
	int error;

	if (r->count && (r->failed || now_ns - r->resolved_ns < RESOLVED_NS))
		return 0;
	if (!r->drawn)
		r->dice = sw_backoff_dice();
	r->drawn = true;
	error = resolve_all(r, list, ret_authority);
	r->at = 0;
	r->resolved_ns = now_ns;
	return error;
}

bool sw_roster_more(const struct sw_roster *r)
{
	return r->failed + 1 < r->count;
}

bool sw_roster_fail(struct sw_roster *r, uint64_t now_ns, uint64_t period_ns)
{
	if (r->at == 0)
		sw_roster_stay(r, now_ns, period_ns);
	r->failed = sw_roster_more(r) ? r->failed + 1 : 0;
	r->at = r->count ? (r->at + 1) % r->count : 0;
	return r->failed;
}

void sw_roster_good(struct sw_roster *r)
{
	r->failed = 0;
	if (r->at == 0)
		r->patience_ns = 0;
}

bool sw_roster_homesick(const struct sw_roster *r, uint64_t now_ns)
{
	return r->at && now_ns >= r->home_ns;
}

void sw_roster_stay(struct sw_roster *r, uint64_t now_ns, uint64_t period_ns)
{
	r->home_ns = now_ns + (r->patience_ns ? r->patience_ns : period_ns);
}

void sw_roster_return(struct sw_roster *r, uint64_t period_ns)
{
	uint64_t patience_ns = r->patience_ns ? r->patience_ns : period_ns;

	r->patience_ns = SW_MIN(patience_ns * 2, period_ns * PATIENCE_TIMES);
	r->failed = 0;
	r->at = 0;
}

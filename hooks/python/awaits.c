/*
 * Which of a request's tasks stands for it; see awaits.h.
 *
 * The first that was made. A server that gives each connection a task has the request's own tasks
 * begin later, and is first: its handler (aiohttp, asyncio's streams). But one that only waits for
 * what the connection brings next (hypercorn) has others do the work, and comes last.
 */
#include "hooks/python/awaits_at.h"
#include "hooks/python/code.h"

#define TRIED_MAX 8

static bool reads_connection(const struct sw_awaits *awaits)
{
	struct sw_code code;
	size_t len;

	if (!sw_code_read(&awaits->frames.at[0], &code))
		return false;
	len = strlen(code.name);
	return len >= 14 && strcmp(code.name + len - 14, "_wait_for_data") == 0;
}

/* Before, and when it was read last, it is a pending task of that request. */
static const struct sw_awaits *chain_of(const struct sw_awaits_task *one,
					const struct sw_awaits_request *request)
{
	const struct sw_awaits *awaits;

	if (!sw_awaits_still(one, request->entry))
		return NULL;
	awaits = sw_awaits_chain(one->task, request);
	return awaits && sw_awaits_still(one, request->entry) ? awaits : NULL;
}

static bool has_own(const struct sw_awaits_request *request)
{
	for (uint32_t i = 0; i < request->count; i++) {
		if (request->at[i].own && sw_awaits_still(&request->at[i], request->entry))
			return true;
	}
	return false;
}

/* The task of its connection; with `reading` also one that waits for what comes next. *ret_moves:
 * there is one, but it could not be read. */
static const struct sw_awaits *of_connection(const struct sw_awaits_request *request, bool reading,
					     bool *ret_moves)
{
	const struct sw_awaits *awaits;

	*ret_moves = false;
	for (uint32_t i = 0; i < request->count && !*ret_moves; i++) {
		const struct sw_awaits_task *one = &request->at[i];

		if (one->own || !sw_awaits_still(one, request->entry))
			continue;
		awaits = chain_of(one, request);
		if (awaits && (reading || !reads_connection(awaits)))
			return awaits;
		*ret_moves = !awaits;
	}
	return NULL;
}

/* Where it is not known which was made first, the one that waits for most others; of several such
 * it is not known which. */
static const struct sw_awaits *of_itself(const struct sw_awaits_request *request)
{
	const struct sw_awaits_task *best = NULL;
	const struct sw_awaits *awaits;
	uint32_t most = 0, tried = 0;
	bool certain = true;

	for (uint32_t i = 0; i < request->count && tried < TRIED_MAX; i++) {
		const struct sw_awaits_task *one = &request->at[i];

		if (!one->own || (best && one->number != UINT64_MAX) ||
		    !sw_awaits_still(one, request->entry))
			continue;
		tried++;
		awaits = chain_of(one, request);
		if (!best || (awaits && awaits->count > most)) {
			best = one;
			most = awaits ? awaits->count : 0;
			certain = true;
		} else if (best->number == UINT64_MAX && (!awaits || awaits->count == most)) {
			certain = false;
		}
	}
	return best && certain && tried < TRIED_MAX ? chain_of(best, request) : NULL;
}

static const struct sw_awaits *of_tasks(sw_ref entry, bool (*wanted)(sw_ref entry))
{
	const struct sw_awaits_request *request = sw_awaits_tasks(entry, wanted);
	const struct sw_awaits *awaits;
	bool own, moves;

	if (!request || !sw_awaits_anew())
		return NULL;
	own = has_own(request);
	awaits = of_connection(request, !own, &moves);
	if (awaits || moves)
		return awaits;
	return own ? of_itself(request) : NULL;
}

const struct sw_awaits *sw_awaits_of(sw_ref entry, bool (*wanted)(sw_ref entry))
{
	const struct sw_awaits *awaits;

	if (!sw_python_ready() || !sw_frames_ready() || !sw_frames_api.Py_IsInitialized())
		return NULL;
	awaits = sw_awaits_ready() ? of_tasks(entry, wanted) : NULL;
	return awaits ? awaits : sw_awaits_greenlet(entry);
}

/* Choosing a loop, sleeping and being woken; see loop.h. */
#include "reporter/loop.h"

#include "preload/bytes.h"
#include "preload/sys.h"

#define SW_LOOP(name, doc) extern const struct sw_loop_backend sw_loop_##name;
#include "reporter/loops.def"
#undef SW_LOOP

static const struct sw_loop_backend *const backends[] = {
#define SW_LOOP(name, doc) &sw_loop_##name,
#include "reporter/loops.def"
#undef SW_LOOP
};

int sw_loop_open(struct sw_loop *loop)
{
	int error = -ENOSYS;

	for (size_t i = 0; i < SW_COUNT_OF(backends); i++) {
		loop->backend = backends[i];
		error = loop->backend->open(loop);
		if (error == 0)
			return 0;
	}
	return error;
}

void sw_loop_close(struct sw_loop *loop)
{
	loop->backend->close(loop);
}

void sw_loop_sleep(struct sw_loop *loop, int64_t timeout_ns)
{
	if (!atomic_load(&loop->woken) && timeout_ns > 0)
		sw_sys_futex_wait(&loop->woken, 0, (uint64_t)timeout_ns);
	atomic_store(&loop->woken, 0);
}

/* Pairs with sw_loop_sleep: either it sees the word, or it sleeps on it and is woken. */
void sw_loop_wake(struct sw_loop *loop)
{
	if (!atomic_exchange(&loop->woken, 1))
		sw_sys_futex_wake(&loop->woken);
}

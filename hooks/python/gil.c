/*
 * Which condition is the GIL's: threads of CPython that wait for it are seen there.
 *
 * The GIL lies in the state of the runtime, 3.7 to 3.11, or in that of the main interpreter, which
 * from 3.12 on is a part of it. Nothing else there is waited for with an end in time, but for the
 * GIL itself, in steps of its interval. A build without a GIL never waits; of 3.6 the symbol is
 * missing, and nothing is measured.
 */
#include <dlfcn.h>
#include <link.h>

#include "hooks/python/frames_at.h"
#include "hooks/python/internal.h"

_Atomic uintptr_t sw_python_runtime, sw_python_runtime_size;

void sw_python_find_gil(void)
{
	const void *runtime = sw_frames_runtime();
	const ElfW(Sym) * symbol;
	void *found = NULL;
	Dl_info info;

	if (!runtime || !dladdr1(runtime, &info, &found, RTLD_DL_SYMENT) || !found ||
	    info.dli_saddr != runtime)
		return;
	symbol = found;
	atomic_store(&sw_python_runtime, (uintptr_t)runtime);
	atomic_store(&sw_python_runtime_size, symbol->st_size);
}

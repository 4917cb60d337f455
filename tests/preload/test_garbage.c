/* Collections are counted by generation, and none that a newer interpreter invents is out of range.
 */
#include <criterion/criterion.h>

#include "preload/garbage.h"

Test(garbage, generations)
{
	sw_garbage_ran(0, 5);
	sw_garbage_ran(0, 7);
	sw_garbage_ran(2, 100);
	sw_garbage_ran(3, 1);
	sw_garbage_ran(UINT64_MAX, 1);
	cr_assert(sw_garbage.runs[0] == 2 && sw_garbage.runs[1] == 0 && sw_garbage.runs[2] == 3);
	cr_assert_eq(sw_garbage.pause_ns, 114);
}

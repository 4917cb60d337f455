/* Two libraries of the same layout, made from this file: NAME is what the function is called. */
#include <stdint.h>

void NAME(void (*call)(void *), void *arg);

void NAME(void (*call)(void *), void *arg)
{
	for (volatile int i = 0; i < 2000; i++)
		;
	call(arg);
	for (volatile int i = 0; i < 2000; i++)
		;
}

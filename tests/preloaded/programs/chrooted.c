/* Waits in a folder that has no /proc: chrooted FOLDER. */
#define _GNU_SOURCE
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc < 2 || chroot(argv[1]) || chdir("/"))
		return 1;
	usleep(800000);
	return 0;
}

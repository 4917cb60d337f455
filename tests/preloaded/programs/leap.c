/*
 * A jump out of a process's first request, at every moment of it: leap PORT COUNT. Each child is
 * interrupted a little later, leaves the call by siglongjmp, makes three requests and exits. Says how
 * many ended how, and what the thread's state was after the jump.
 */
#include "ask.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>

static sigjmp_buf back;

static void jump(int signal)
{
	(void)signal;
	siglongjmp(back, 1);
}

static int child(int us)
{
	int state = 0;
	sigset_t mask;

	alarm(0);
	signal(SIGALRM, jump);
	signal(SIGVTALRM, SIG_DFL);
	if (sigsetjmp(back, 1) == 0) {
		setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, us}}, NULL);
		for (;;)
			ask("leap");
	}
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	for (int i = 1; i < 65; i++) {
		if (sigismember(&mask, i) == 1)
			return 2;
	}
	if (state != PTHREAD_CANCEL_ENABLE)
		return 3;
	for (int i = 0; i < 3; i++) {
		if (ask("landed"))
			return 4;
	}
	usleep(5000);
	return 0;
}

int main(int argc, char **argv)
{
	int count = argc > 2 ? atoi(argv[2]) : 100, ended[8] = {0};

	ask_port = atoi(argv[1]);
	for (int i = 0; i < count; i++) {
		int status = 0, result = 5;
		pid_t pid = fork();

		if (pid == 0)
			exit(child(100 + i * 2 % 900));
		for (int ms = 0; ms < 3000; ms++) {
			if (waitpid(pid, &status, WNOHANG) == pid) {
				result = WIFEXITED(status) ? WEXITSTATUS(status) : 6;
				break;
			}
			usleep(1000);
			result = 7; /* hangs */
		}
		if (result == 7) {
			fprintf(stderr, "%d hangs after %d us\n", pid, 100 + i * 2 % 900);
			if (getenv("LEAP_STOP"))
				pause();
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
		}
		ended[result & 7]++;
	}
	printf("well %d, signals blocked %d, not to be cancelled %d, failed %d, died %d, hung %d\n", ended[0],
	       ended[2], ended[3], ended[4], ended[6], ended[7]);
	return 0;
}

/* The plug-in `grpc`: gRPC C core as the second engine of the `grpc` protocol. */
#include <grpc/grpc.h>
#include <grpc/support/log.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#include "preload/sys.h"
#include "reporter/plugins/grpc/core.h"
#include "reporter/plugins/grpc/grpc.h"

const struct sw_host *sw_grpc_host;

/* For the inline functions of preload/sys.h. Ours stays as it is: the library stands down after our
 * thread has ended. */
_Atomic bool sw_stood_down;

/* Any thread of C core's; what matters is told by calls. */
static void hear_line(gpr_log_func_args *line)
{
	(void)line;
}

/* OpenSSL is told to leave the program's end and the system's configuration alone, before C core
 * begins with it. */
static int start(const struct sw_host *host)
{
	sw_grpc_host = host;
	gpr_set_log_function(hear_line);
	gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
	if (!OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT | OPENSSL_INIT_NO_LOAD_CONFIG, NULL))
		return -EIO;
	return 0;
}

__attribute__((visibility("default"))) extern const struct sw_plugin sw_plugin;

const struct sw_plugin sw_plugin = {
	.version = SW_VERSION,
	.agent_size = sizeof(struct sw_agent),
	.inside = "gRPC C core, " OPENSSL_VERSION_TEXT ", c-ares, zlib, abseil, libstdc++",
	.start = start,
	.transport = &sw_grpc_transport,
};

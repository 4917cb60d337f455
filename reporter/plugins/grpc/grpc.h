/* The two ends of the plug-in `grpc`: plugin.c shows what transport.c does. */
#pragma once

#include "reporter/plugin.h"

extern const struct sw_transport sw_grpc_transport;

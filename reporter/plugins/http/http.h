/* What the files of the plug-in `http` share. */
#pragma once

#include "reporter/plugin.h"

/* What the library lends us; set before anything else of ours runs. */
extern const struct sw_host *sw_http_host;

extern const struct sw_transport sw_transport_http;

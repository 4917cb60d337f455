/* What an OAP needs for meters that have names of ours; see oap.c. */
#pragma once

/* Writes DIRECTORY/swagent.yaml and DIRECTORY/swagent-dashboard.json. 0, or 1 after a complaint. */
int write_oap(const char *directory);

/* SPDX-License-Identifier: MIT */
#ifndef TICKSTATE_TESTS_PEERS_H
#define TICKSTATE_TESTS_PEERS_H

/** Kill and reap what a failed test left running. */
void api_end_peers(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What the members of a case tell each other beside the group, also as processes, and how soon they knew of an end. */
#ifndef LOCKSTEP_TESTS_CONFORMANCE_BOARD_H
#define LOCKSTEP_TESTS_CONFORMANCE_BOARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct board {
    _Atomic int ready, rounds, ended;
    _Atomic uint64_t event_ns;   /* when the case's mishap happened */
    _Atomic uint64_t slowest_ns; /* from there to the member that knew of it last */
};

/* One for the program, shared with the processes that it starts later. */
extern struct board *board;

/* false: no memory. */
bool board_open(void);
/* For the next case. */
void board_clear(void);
/* The mishap happens now. */
void board_mark(void);
/* Returns when the value has come so far; ctest's time limit ends it otherwise. */
void board_until(_Atomic int *value, int wanted);
/* The member knows of the mishap: 0, or 1 where it took too long, with a line. */
int board_soon(int rank);
/* ", slowest 1.20 ms" where a member has told. */
void board_print(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The seam for time: everything that waits or measures asks here, and tests put a virtual clock in. */
#ifndef LOCKSTEP_CORE_BASE_CLOCK_H
#define LOCKSTEP_CORE_BASE_CLOCK_H

#include <stdint.h>
#include <sys/types.h>

/* Nanoseconds of a clock that never goes back. */
uint64_t ls_clock_now_ns(void);
/* Seconds since 1970. */
double ls_clock_wall_s(void);
/* Nanoseconds between the start of a process (0: this one), as the system counts it, and now; 0 where it is gone. */
uint64_t ls_clock_since_start_of_ns(pid_t pid);
/* Tests: a function that gives the time of ls_clock_now_ns; NULL puts the system's clock back. */
void ls_clock_set(uint64_t (*now_ns)(void *state), void *state);

#endif

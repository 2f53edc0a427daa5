/* SPDX-License-Identifier: Apache-2.0 */
/* How many files and sockets the process may have open (ulimit -n): asked ahead of the need, raised where it may be. */
#ifndef LOCKSTEP_CORE_BASE_DESCRIPTORS_H
#define LOCKSTEP_CORE_BASE_DESCRIPTORS_H

#include <stdbool.h>
#include <stdint.h>

/* Raises the limit to its hard one where it is below number. A limit that stays too low shows when it is met. */
void ls_descriptors_allow(uint64_t number);
/* Whether count more can be had now, with a limit that is raised where that is needed. Opens and closes them. */
bool ls_descriptors_spare(int count);

#endif

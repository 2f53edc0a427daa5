/* SPDX-License-Identifier: Apache-2.0 */
/* The name of a machine, as members tell it to each other. */
#ifndef LOCKSTEP_CORE_BASE_HOST_H
#define LOCKSTEP_CORE_BASE_HOST_H

#define LS_HOST_NAME_MOST 63                      /* letters */
#define LS_HOST_NAME_TEXT (LS_HOST_NAME_MOST + 1) /* bytes with the end */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Inside core/ckpt: an open, verified checkpoint. */
#ifndef LOCKSTEP_CORE_CKPT_CKPT_OPEN_H
#define LOCKSTEP_CORE_CKPT_CKPT_OPEN_H

#include "core/ckpt/ckpt_internal.h"

struct ls_ckpt {
    char *path;
    struct lsi_manifest manifest;
    struct ls_file **files; /* per part */
};

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of the reference's element-wise family that have a file of their own. */
#ifndef LOCKSTEP_CORE_DEVICE_REF_ELEMENTS_H
#define LOCKSTEP_CORE_DEVICE_REF_ELEMENTS_H

#include "core/device/device_impl.h"

/* CAST and AFFINE (cast.c). */
void lsi_ref_cast(struct lsi_kernel *table);

#endif
